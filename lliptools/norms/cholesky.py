"""The norm of a masked layer from above, with a Cholesky factor as its proof."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.nets.linear import LinearMap
from lliptools.norms.eigenvalues import proved_above
from lliptools.norms.kinds import errs
from lliptools.norms.masked import scaled_matrices
from lliptools.norms.rounding import inflated


@errs("upper", encloses=True)
@dataclass(frozen=True)
class CholeskyNorm:
    """A number s just above an estimate, by the margin, for which s²I − WWᵀ has a Cholesky factor: then ‖W‖ <= s."""

    margin: float = 1e-9

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        return scaled_matrices(linear, row_slope, column_slope, self._of)

    def _of(self, kept: Tensor) -> Tensor:
        gram = kept @ kept.mT
        mean = gram.diagonal(dim1=1, dim2=2).mean(dim=1)
        estimate = torch.linalg.eigvalsh(gram)[:, -1].maximum(mean)
        return inflated(proved_above(gram, kept.shape[2], estimate, 2 * self.margin * estimate).sqrt())
