"""The ball for training, without what only a theorem needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from lliptools.domains.block import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import over_rows
from lliptools.nets.rows import whole_row_norms
from lliptools.norms.kinds import errs


@errs("estimate")
@dataclass(frozen=True, eq=False)
class Light(Domain):
    """The ball for training: its radius, (batch,). Finite numbers only, no care for underflow or rounding, whole rows.

    Leaving masked columns in the norms of the rows spares a convolution with W∘W. Interval arithmetic, two convolutions
    more, would not mask a unit in a thousand beside the ball.
    reach: (batch, *units), how far each unit can move after a linear map; None where no linear map is pending.
    """

    radius: Tensor
    reach: Tensor | None = None

    @classmethod
    def start(cls, center: Tensor, eps: Tensor) -> Light:
        return cls(eps)

    def linear(self, linear: LinearMap) -> Light:
        norms = whole_row_norms(linear)
        return replace(self, reach=over_rows(self.radius, norms.dim()) * norms)

    def box(self, center: Center) -> Box:
        value = center.value
        reach = over_rows(self.radius, value.dim()) if self.reach is None else self.reach
        return Box(value - reach, value + reach)

    def after(self, block: BlockBound, radius: Tensor) -> Light:
        return Light(radius)

    def add(self, earlier: Light) -> Light:
        """The ball of the sum is told by `within`."""
        return self

    def within(self, radius: Tensor) -> Light:
        return Light(radius)
