"""The cheapest norm of a masked layer that is an upper bound: what bounds use by default."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.nets.blocks import Block, normed_maps
from lliptools.nets.checks import check_probability, check_tolerance
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Dense
from lliptools.norms.aposteriori import AposterioriNorm, is_dear
from lliptools.norms.exact import exact_norm
from lliptools.norms.fourier import torus_norm
from lliptools.norms.joint import Joint
from lliptools.norms.kinds import errs
from lliptools.norms.sums import sums_norm

SMALL = 256  # rows or columns up to which the eigenvalues of a Gram matrix are cheap
LARGE_MATRIX = 2**22
CLOSE, DEARER = 1e-3, 1.5e-2  # tolerances
KEPT = 0.9  # of a matrix; where less of it is left, the norm of the whole says little


@errs("upper", encloses=True)
@dataclass(frozen=True)
class UpperNorm:
    """The exact norm where the matrix is small, else the smaller of two upper bounds.

    A large layer has the smaller of the Fourier bound of the whole and the a-posteriori bound of what is not masked.

    - delta: the most that the bound of a network may fail with, for the whole batch; its layers share it (begin).
    - tolerance: how close, relatively, the norms of large layers come to the truth, which costs time. Unless given
      1e-3, and 1.5e-2 for those layers of a product that cost a million multiplications at each application.
    - rough: row and column sums instead, for layers whose norm hardly matters. joint: of a pass (begin).
    - Raises InvalidInput for a delta or a tolerance out of range.
    """

    delta: float = 1e-9
    tolerance: float | None = None
    rough: bool = False
    joint: Joint | None = None

    def __post_init__(self) -> None:
        check_probability(self.delta)
        check_tolerance(CLOSE if self.tolerance is None else self.tolerance)

    def begin(self, blocks: tuple[Block, ...]) -> "UpperNorm":
        """The norm for one pass through a network of these blocks: its large layers share delta (joint.py)."""
        large = [linear for linear, _ in normed_maps(blocks) if not self.is_exact(linear)]
        shared = replace(self, delta=self.delta / max(1, len(large)), joint=None)  # never that of another pass
        if any(block.inner or math.isfinite(block.linear.lipschitz) for block in blocks) or len(large) < 2:
            return shared  # no product of these norms alone, and those behind a sum are asked for out of turn
        return replace(shared, joint=Joint(len(large), self.delta))

    def growth(self, norm: Tensor) -> Tensor:
        """By how much the bound of the product grows at the layer whose norm was found last: (batch,) -> (batch,)."""
        return norm if self.joint is None else self.joint.growth(norm)

    def is_exact(self, linear: LinearMap) -> bool:
        """Whether the layer is small enough for the exact norm."""
        return min(linear.rows, linear.columns) <= SMALL and linear.rows * linear.columns <= LARGE_MATRIX

    def failure_probability(self, linear: LinearMap) -> float:
        """That of one call."""
        return 0.0 if self.rough or self.is_exact(linear) else self.delta

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        if self.is_exact(linear):
            return exact_norm(linear, row_slope, column_slope)
        if self.rough:
            return sums_norm(linear, row_slope, column_slope)
        whole = self._whole(linear, row_slope, column_slope)
        close = self.tolerance or (DEARER if self.joint and is_dear(linear) else CLOSE)
        local = AposterioriNorm(self.delta, close)
        found = torch.minimum(whole, local.bracket(linear, row_slope, column_slope, whole, self.joint)[1:])
        if self.joint is not None:
            self.joint.note(found)
        return found[0]

    def _whole(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        """The norm of the whole layer; inf where it takes a large matrix's Gram matrix to say little: (batch,)."""
        rows, columns = ((slope > 0).flatten(1).double().mean(dim=1) for slope in (row_slope, column_slope))
        if any(isinstance(each, Dense) for each in linear.operators) and (rows * columns).max() < KEPT:
            return row_slope.new_full((len(row_slope),), torch.inf)
        return torus_norm(linear, row_slope, column_slope)
