"""The norm of a masked layer by power iteration, from below."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.errors import check_whole
from lliptools.nets.linear import LinearMap
from lliptools.norms.kinds import errs
from lliptools.norms.scaled import length, unit_vectors


@errs("lower")
@dataclass(frozen=True)
class PowerNorm:
    """Power iteration from a random start: never above the norm, and how far below it cannot be told. For teaching."""

    steps: int = 20

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1, "a norm instead of a number of steps", "leave it at its default")

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        row, column = row_slope.sqrt(), column_slope.sqrt().reshape(len(column_slope), *linear.in_shape)
        v = unit_vectors(torch.randn_like(column) * (column > 0))
        for _ in range(self.steps):
            v = unit_vectors(column * linear.adjoint(row_slope * linear.linear(column * v)))
        return length((row * linear.linear(column * v)).flatten(1), dim=1)
