"""The box of what the units may be."""

from dataclasses import dataclass

import torch
from torch import Tensor

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

    def intersect(self, other: "Box") -> "Box":
        """The box of what lies in both."""
        return Box(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))
