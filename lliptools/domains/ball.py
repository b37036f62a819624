"""The ball: no unit moves further from its value at the centre than its row allows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.domains.block import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import over_rows
from lliptools.nets.rows import row_norms
from lliptools.norms.kinds import errs, product_above, steepest
from lliptools.norms.rounding import enclosed, gamma, inflated, times_above


@errs("upper", encloses=True)
@dataclass(frozen=True, eq=False)
class Ball(Domain):
    """The change of the units is D^½ times a vector of length at most radius; D = diag(columns).

    radius: (batch,). columns: (batch, *units), slopes of the units. reach: (batch, *units), how far each unit can move
    after a linear map, radius · ‖row of W D^½‖; None where no linear map is pending.
    """

    radius: Tensor
    columns: Tensor
    reach: Tensor | None = None

    @classmethod
    def start(cls, center: Tensor, eps: Tensor) -> Ball:
        return cls(eps, torch.ones_like(center))

    def linear(self, linear: LinearMap) -> Ball:
        norms = row_norms(linear, self.columns)
        norms = norms * (1 + 2 * gamma(linear.terms, norms) + enclosed(linear.relative_error))
        if linear.matrix_error is not None:
            wrong = torch.linalg.vector_norm(linear.matrix_error, dim=1).reshape(norms.shape[1:])
            norms = norms + enclosed(wrong)
        reach = product_above(over_rows(self.radius, norms.dim()), norms)
        return replace(self, reach=reach + (reach > 0).to(reach.dtype) * linear.underflow)

    def box(self, center: Center) -> Box:
        reach = self.reach
        if reach is None:
            reach = times_above(over_rows(self.radius, center.value.dim()), self.columns.sqrt())
        return Box.around(center.value, inflated(reach + center.doubt))

    def after(self, block: BlockBound, radius: Tensor) -> Ball:
        return Ball(radius, block.slope)

    def add(self, earlier: Ball) -> Ball:
        radius = [times_above(ball.radius, steepest(ball.columns)) for ball in (self, earlier)]
        return Ball(inflated(radius[0] + radius[1]), torch.ones_like(self.columns))

    def within(self, radius: Tensor) -> Ball:
        whole = times_above(self.radius, steepest(self.columns))
        return Ball(torch.minimum(whole, radius), torch.ones_like(self.columns))
