"""The norm of a masked layer by Gram iteration, from above."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.errors import check_whole
from lliptools.nets.linear import LinearMap
from lliptools.norms.kinds import errs
from lliptools.norms.masked import scaled_matrices
from lliptools.norms.rounding import gamma, inflated


@errs("upper", encloses=True)
@dataclass(frozen=True)
class GramNorm:
    """Gram iteration: ‖W‖ <= ‖(WᵀW)^(2^(t−1))‖_F^(1/2^t) after t squarings, a bound from above that falls quickly.

    Source: Delattre, Barthélemy, Araujo, Allauzen, "Efficient bound of Lipschitz constant for convolutional layers by
    Gram iteration" (ICML 2023).
    """

    steps: int = 6

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1, "a norm instead of a number of steps", "leave it at its default")

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        return scaled_matrices(linear, row_slope, column_slope, self._of)

    def _of(self, kept: Tensor) -> Tensor:
        terms, gram = len(kept[0]), kept @ kept.mT
        error = 2 * gamma(kept.shape[2], kept) * gram.diagonal(dim1=1, dim2=2).sum(dim=1)  # of its Frobenius norm
        size = _frobenius(gram, error)
        logarithm = size.log()
        for _ in range(1, self.steps):
            # Scaled to Frobenius norm 1, a square errs by its own rounding and twice the relative error carried in.
            error = 2 * error / size + 2 * gamma(terms, size)
            gram = gram / size[:, None, None]
            gram = gram @ gram
            size = _frobenius(gram, error)
            logarithm = 2 * logarithm + size.log()
        return inflated((logarithm / 2**self.steps).exp(), 64)


def _frobenius(gram: Tensor, error: Tensor) -> Tensor:
    """Frobenius norms, (batch, n, n) -> (batch,), of matrices that are off by so much in it."""
    size = torch.linalg.vector_norm(gram, dim=(1, 2)) + error
    return size * (1 + 2 * gamma(len(gram[0]), size))
