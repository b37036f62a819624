"""What one pass finds of one block of the network, and the box of its units."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lliptools.nets.activations import Activation, Limits
from lliptools.nets.linear import LinearMap
from lliptools.norms.rounding import unit


@dataclass(frozen=True, eq=False)
class Box:
    """Elementwise bounds lower <= value <= upper over the ball; each (batch, *unit shape)."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def outward(cls, lower: Tensor, upper: Tensor) -> "Box":
        """The box, left open wherever overflow has left no finite number: such a number says nothing about a value."""
        # One look at all of them is cheaper than one at each, unless a GPU has to be waited for.
        if lower.is_cpu and (lower.detach().sum() + upper.detach().sum()).isfinite():
            return cls(lower, upper)
        nothing = torch.full_like(lower, torch.inf)
        return cls(torch.where(lower.isfinite(), lower, -nothing), torch.where(upper.isfinite(), upper, nothing))

    @classmethod
    def around(cls, middle: Tensor, half_width: Tensor) -> "Box":
        """middle ± half_width, widened by the rounding of both and of this sum."""
        half_width = half_width * (1 + 8 * unit(middle)) + 4 * unit(middle) * middle.abs()
        return cls.outward(middle - half_width, middle + half_width)

    @classmethod
    def of_ball(cls, center: Tensor, radius: Tensor) -> "Box":
        """The smallest box around the ball: center (batch, features), radius (batch,)."""
        reach = radius[:, None].expand_as(center)
        far = torch.full_like(center, torch.inf)
        # One step outward, so that a radius below the spacing of the numbers around the centre is not rounded away.
        lower, upper = (center - reach).nextafter(-far), (center + reach).nextafter(far)
        return cls.outward(torch.where(reach == 0, center, lower), torch.where(reach == 0, center, upper))

    def intersect(self, other: "Box") -> "Box":
        """The box of what lies in both."""
        return Box(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))


@dataclass(frozen=True, eq=False)
class BlockBound:
    """One block of the bound.

    - linear: its linear map. activation: its rule, or None for the identity.
    - box: of the pre-activations, (batch, *unit shape).
    - slope: (batch, *unit shape), how much an output can move with its input; 0 where it is provably constant.
    - row_slope: the same of the inputs of the activation, which scales the rows.
    - norm: (batch,) norm of the linear map with rows and columns scaled by the roots of their slopes.
    - growth: (batch,), at most the norm: by how much the bound of the product of norms grows here, where several of
      them may fail by chance, but not all at once (norms.joint).
    - radius: (batch,) radius of the ball around the centre that contains the block's input.
    - inner: of a residual block h + inner(h), or of inner(h) where skip is False, the blocks inside; its norm is that
      of the whole. shortcut: of shortcut(h) + inner(h), those of the other branch.
    - center: ends of the pre-activations at the centre, from which slopes are secants; None: between any two points.
    """

    linear: LinearMap
    activation: Activation | None
    box: Box
    slope: Tensor
    row_slope: Tensor
    norm: Tensor
    growth: Tensor
    radius: Tensor
    inner: tuple["BlockBound", ...] = ()
    skip: bool = True
    shortcut: tuple["BlockBound", ...] = ()
    center: Limits | None = None

    @cached_property
    def output(self) -> Box:
        """The box of the activation's outputs, with a graph where that of its inputs has one."""
        if self.activation is None:
            return self.box
        with torch.set_grad_enabled(self.box.lower.requires_grad):
            return Box(*self.activation.image(self.box.lower, self.box.upper))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "BlockBound":
        """The block of other samples: change takes a tensor over the samples, (batch, …), to one over others."""
        names = "slope", "row_slope", "norm", "growth", "radius"
        parts: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        parts |= {name: tuple(each.mapped(change) for each in getattr(self, name)) for name in ("inner", "shortcut")}
        return replace(self, box=Box(change(self.box.lower), change(self.box.upper)), center=None, **parts)
