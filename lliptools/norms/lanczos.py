"""The norm of a masked layer by Lanczos steps, from below, with a gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.errors import check_whole
from lliptools.nets.linear import LinearMap
from lliptools.norms.kinds import errs, product_above
from lliptools.norms.krylov import GolubKahan, ScaledMap, fresh_start


@errs("lower")
@dataclass(frozen=True)
class LanczosNorm:
    """The largest Ritz value after some steps of Golub–Kahan: never above the norm, close to it after 10 to 20 steps.

    Differentiable in the weights: σ = uᵀ A v with the vectors held fixed, which is the exact gradient at convergence.
    """

    steps: int = 10

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1, "a norm instead of a number of steps", "leave it at its default")

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        scaled = ScaledMap(linear, row_slope.detach(), column_slope.detach())
        with torch.no_grad():
            start = fresh_start(scaled)
            process = GolubKahan(scaled, start)
            process.advance(max(1, min(self.steps, start.shape[1])))
            value, v = process.largest()
        if torch.is_grad_enabled():
            u = (scaled.forth(v) / torch.where(value > 0, value, 1.0)[:, None]).detach()
            value = (u * scaled.forth(v)).sum(dim=1)
        return product_above(value, scaled.scale)
