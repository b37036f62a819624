"""Interval and ball for training: finite numbers only, no care for underflow or rounding, whole rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lliptools.domains.block import BlockBound
from lliptools.domains.box import Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain
from lliptools.nets.linear import LinearMap
from lliptools.nets.rows import whole_row_norms
from lliptools.norms.kinds import errs

__all__ = ["Light"]


@errs("estimate")
@dataclass(frozen=True, eq=False)
class Light(Domain):
    """The IBP box of the units, and the radius of their ball, each (batch, ...).

    Leaving masked columns in the norms of the rows spares a convolution with W∘W.
    reach: (batch, *units), how far each unit can move after a linear map; None where no linear map is pending.
    """

    known: Box
    radius: Tensor
    reach: Tensor | None = None

    @classmethod
    def start(cls, center: Tensor, eps: Tensor) -> Light:
        """The box around the ball, and the ball."""
        return cls(Box(center - eps[:, None], center + eps[:, None]), eps)

    def linear(self, linear: LinearMap) -> Light:
        """Interval arithmetic, and norms of whole rows."""
        middle = linear.linear((self.known.lower + self.known.upper) / 2) + linear.bias
        half_width = linear.apply_absolute((self.known.upper - self.known.lower) / 2)
        reach = self.radius.view(-1, *[1] * (middle.dim() - 1)) * whole_row_norms(linear)
        return replace(self, known=Box(middle - half_width, middle + half_width), reach=reach)

    def box(self, center: Center) -> Box:
        """What lies in both boxes."""
        value, known = center.value, self.known
        reach = self.radius.view(-1, *[1] * (value.dim() - 1)) if self.reach is None else self.reach
        return Box(*_InBoth.apply(known.lower, known.upper, value - reach, value + reach))

    def after(self, block: BlockBound, radius: Tensor) -> Light:
        """The image of the box, and the ball of the outputs."""
        return Light(block.output, radius)

    def add(self, earlier: Light) -> Light:
        """The sum of the boxes. The ball of the sum is told by `within`."""
        shape, one, other = self.known.lower.shape, self.known, earlier.known
        known = Box(one.lower + other.lower.reshape(shape), one.upper + other.upper.reshape(shape))
        return replace(self, known=known)

    def within(self, radius: Tensor) -> Light:
        """The ball that is told."""
        return replace(self, radius=radius)


class _InBoth(torch.autograd.Function):
    """Box.intersect of two boxes, (lower, upper, lower, upper) -> (lower, upper), with a faster backward pass.

    The gradient goes to the end that is taken, where they are equal to that of the second box.
    """

    @staticmethod
    def forward(ctx: Any, *ends: Tensor) -> tuple[Tensor, Tensor]:
        low, high, other_low, other_high = ends
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(low - other_low, other_high - high)  # half as much to keep
        return torch.maximum(low, other_low), torch.minimum(high, other_high)

    @staticmethod
    def backward(ctx: Any, of_lower: Tensor, of_upper: Tensor) -> tuple[Tensor, ...]:
        above, below = ctx.saved_tensors
        to_low = torch.ops.aten.threshold_backward(of_lower, above, 0)
        to_high = torch.ops.aten.threshold_backward(of_upper, below, 0)
        return to_low, to_high, of_lower - to_low, of_upper - to_high
