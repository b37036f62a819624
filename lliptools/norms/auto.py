"""The cheapest norm of a masked layer that is an upper bound: what bounds use by default."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.nets.blocks import Block, masked_behind
from lliptools.nets.checks import check_probability, check_tolerance
from lliptools.nets.linear import LinearMap
from lliptools.norms.aposteriori import AposterioriNorm
from lliptools.norms.exact import exact_norm
from lliptools.norms.fourier import torus_norm
from lliptools.norms.kinds import errs
from lliptools.norms.sums import sums_norm

__all__ = ["UpperNorm", "whole_norm"]

SMALL = 256  # rows or columns up to which the eigenvalues of a Gram matrix are cheap
LARGE_MATRIX = 2**22


@errs("upper", encloses=True)
@dataclass(frozen=True)
class UpperNorm:
    """The exact norm where the matrix is small, else the smaller of two upper bounds.

    A large layer has the smaller of the Fourier bound of the whole and the a-posteriori bound of what is not masked.

    - delta: the most that the bound of a network may fail with, for the whole batch; its layers share it (begin).
    - tolerance: how close, relatively, the norms of large layers come to the truth, which costs time.
    - rough: row and column sums instead, for layers whose norm hardly matters.
    - Raises InvalidInput for a delta or a tolerance out of range.
    """

    delta: float = 1e-9
    tolerance: float = 1e-3
    rough: bool = False

    def __post_init__(self) -> None:
        check_probability(self.delta)
        check_tolerance(self.tolerance)

    def begin(self, blocks: tuple[Block, ...]) -> "UpperNorm":
        """The norm for a network of these blocks: delta is shared by all of its layers."""
        return replace(self, delta=self.delta / max(1, _count(blocks)))

    def is_exact(self, linear: LinearMap) -> bool:
        """Whether the layer is small enough for the exact norm."""
        return min(linear.rows, linear.columns) <= SMALL and linear.rows * linear.columns <= LARGE_MATRIX

    def failure_probability(self, linear: LinearMap) -> float:
        """That of one call."""
        return 0.0 if self.rough or self.is_exact(linear) else self.delta

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        """Per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,)."""
        if self.is_exact(linear):
            return exact_norm(linear, row_slope, column_slope)
        if self.rough:
            return sums_norm(linear, row_slope, column_slope)
        whole = torus_norm(linear, row_slope, column_slope)
        local = AposterioriNorm(self.delta, self.tolerance).bracket(linear, row_slope, column_slope, whole)[1]
        return torch.minimum(whole, local)


def _count(blocks: tuple[Block, ...]) -> int:
    twice = len(list(masked_behind(blocks)))
    return twice + sum(_count(block.inner + block.shortcut) if block.inner else 1 for block in blocks)


@errs("upper", encloses=True)
def whole_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """The cheapest upper bound without chance: exact where the matrix is small, else the Fourier bound of the whole."""
    stage = exact_norm if UpperNorm().is_exact(linear) else torus_norm
    return stage(linear, row_slope, column_slope)
