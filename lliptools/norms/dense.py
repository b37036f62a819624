"""Norms of a layer as a matrix with rows and columns scaled by the roots of their slopes; each says how it errs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lliptools.nets.linear import LinearMap, times_root
from lliptools.norms.kinds import errs, product_above
from lliptools.norms.rounding import gamma, inflated, matrix_slack, outward_rounding, unit

__all__ = [
    "CholeskyNorm",
    "GramNorm",
    "PowerNorm",
    "exact_norm",
    "root_of_largest_eigenvalue",
    "scaled_matrices",
    "sums_norm",
]

OfMatrices = Callable[[Tensor], Tensor]
# Samples that keep about as many rows and columns, counted in steps of this, are worked on together.
STEP = 16
ENTRIES = 2**25  # of masked matrices that are held at a time


@errs("exact", encloses=True)
def exact_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """‖D_row^½ W D_column^½‖ per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,).

    Dead rows and columns are removed; the root of the largest eigenvalue of the smaller Gram matrix of what is left is
    the norm. Samples with the same slopes share the work. An all-zero mask gives 0 exactly.
    """
    return scaled_matrices(linear, row_slope, column_slope, root_of_largest_eigenvalue)


def scaled_matrices(linear: LinearMap, row_slope: Tensor, column_slope: Tensor, norm_of: OfMatrices) -> Tensor:
    """norm_of(matrices (samples, kept rows, kept columns), largest entry 1) for all samples, in groups: (batch,).

    Samples of equal slopes share the work, and samples that keep about as much of the matrix are stacked.
    """
    row_slope, column_slope = row_slope.flatten(1), column_slope.flatten(1)
    slopes = torch.cat([row_slope, column_slope], dim=1).detach()
    distinct, which = torch.unique(slopes, dim=0, return_inverse=True)
    samples = torch.arange(len(slopes), device=slopes.device)
    first = samples.new_full((len(distinct),), len(slopes)).scatter_reduce(0, which, samples, "amin")
    row_slope, column_slope = row_slope[first], column_slope[first]  # one of each, its graph kept
    sizes = torch.stack([row_slope.count_nonzero(dim=1), column_slope.count_nonzero(dim=1)], dim=1)
    groups, group = torch.unique((sizes + STEP - 1) // STEP, dim=0, return_inverse=True)
    found, norms = [], []
    for number, size in enumerate(groups):
        at_once = max(1, ENTRIES // max(1, int(size.prod()) * STEP * STEP))
        for index in (group == number).nonzero()[:, 0].split(at_once):
            found.append(index)
            norms.append(_norms(linear, row_slope[index], column_slope[index], norm_of))
    every = torch.cat(norms)[torch.cat(found).argsort()] + matrix_slack(linear, row_slope, column_slope)
    return every[which]


def _norms(linear: LinearMap, row_slope: Tensor, column_slope: Tensor, norm_of: OfMatrices) -> Tensor:
    """The norms of samples that keep about as many rows and columns."""
    weight = linear.weight
    rows, columns = _kept_first(row_slope), _kept_first(column_slope)
    if not rows.shape[1] or not columns.shape[1]:
        return weight.new_zeros(len(row_slope))
    kept = weight[rows[:, :, None], columns[:, None, :]]
    kept = times_root(kept, row_slope.gather(1, rows).sqrt()[:, :, None])
    kept = times_root(kept, column_slope.gather(1, columns).sqrt()[:, None])
    largest = kept.detach().abs().amax(dim=(1, 2))
    known, alive = largest.isfinite(), largest > 0
    kept = torch.where(known[:, None, None], kept, 0.0)
    kept = kept / torch.where(known & alive, largest, 1.0)[:, None, None]  # the square of 1e200 is not a number
    if kept.shape[1] > kept.shape[2]:
        kept = kept.mT
    # Entries next to 0 have been made larger, each by less than the smallest ordinary number.
    underflow = torch.finfo(kept.dtype).tiny * math.sqrt(kept[0].numel())
    return torch.where(known, torch.where(alive, largest * norm_of(kept) + underflow, 0.0), torch.inf)


def _kept_first(slope: Tensor) -> Tensor:
    """Indices of the units that are not struck, for as many as the sample with most of them keeps."""
    most = int(slope.count_nonzero(dim=1).max())
    return (slope != 0).byte().argsort(dim=1, descending=True, stable=True)[:, :most]


def root_of_largest_eigenvalue(kept: Tensor) -> Tensor:
    """Norms of wide matrices, largest entry 1, by the Gram matrix: (batch, rows, columns) -> (batch,)."""
    gram = kept @ kept.mT
    squared = squared_above(torch.linalg.eigvalsh(gram)[:, -1], gram, kept.shape[2])
    alive = ~(squared <= 0)  # NaN stays NaN
    return inflated(torch.where(alive, squared, 1.0).sqrt() * alive)


def squared_above(squared: Tensor, gram: Tensor, terms: int) -> Tensor:
    """Largest eigenvalues (…,) of Gram matrices (…, n, n), real or complex, with the rounding of solver and entries.

    The eigenvalue solver is backward stable, and the entries are sums of so many rounded products.
    """
    trace = gram.diagonal(dim1=-2, dim2=-1).real.sum(dim=-1)
    products = (8 if gram.is_complex() else 2) * gamma(terms, squared)
    return squared * (1 + 32 * gram.shape[-1] * unit(squared)) + products * trace


@errs("upper", encloses=True)
def sums_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """Root of the largest row sum times the largest column sum of |W|, and of the largest slopes: quick and loose.

    Slopes (batch, …) twice -> (batch,). Source: Schur's test, ‖W‖² <= ‖W‖₁ ‖W‖_∞.
    """
    steepest = row_slope.detach().flatten(1).amax(dim=1).sqrt() * column_slope.detach().flatten(1).amax(dim=1).sqrt()
    found = product_above(linear.largest_size().expand(len(steepest)), steepest)
    return found * (1 + 4 * gamma(linear.terms, found)) + matrix_slack(linear, row_slope, column_slope)


@errs("upper", encloses=True)
class GramNorm:
    """Gram iteration: ‖W‖ <= ‖(WᵀW)^(2^(t−1))‖_F^(1/2^t) after t squarings, a bound from above that falls quickly.

    Source: Delattre, Barthélemy, Araujo, Allauzen, "Efficient bound of Lipschitz constant for convolutional layers by
    Gram iteration" (ICML 2023).
    """

    def __init__(self, steps: int = 6) -> None:
        self.steps = steps

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        """Per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,)."""
        return scaled_matrices(linear, row_slope, column_slope, self._of)

    def _of(self, kept: Tensor) -> Tensor:
        terms = len(kept[0])
        gram, logarithm = kept @ kept.mT, kept.new_zeros(len(kept))
        error = 2 * gamma(kept.shape[2], kept) * gram.diagonal(dim1=1, dim2=2).sum(dim=1)  # of its Frobenius norm
        for step in range(self.steps):
            size = torch.linalg.vector_norm(gram, dim=(1, 2))
            size = (size + error) * (1 + 2 * gamma(terms, size))
            if step == self.steps - 1:
                return inflated(((logarithm + size.log()) / 2 ** (step + 1)).exp(), 64)
            gram = gram / size[:, None, None]
            # Scaled to Frobenius norm 1, a square errs by its own rounding and twice the relative error carried in.
            error = 2 * error / size + 2 * gamma(terms, size)
            logarithm = 2 * (logarithm + size.log())
            gram = gram @ gram
        raise AssertionError("at least one step")


@errs("upper", encloses=True)
class CholeskyNorm:
    """A number s just above an estimate for which s²I − WWᵀ has a Cholesky factor: a proof of ‖W‖ <= s.

    The factorisation succeeds in floating point only where the matrix is positive definite up to a known shift; the
    shift is taken off before (Rump, "Verification of positive definiteness", BIT 2006).
    """

    def __init__(self, margin: float = 1e-9) -> None:
        self.margin = margin

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        """Per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,)."""
        return scaled_matrices(linear, row_slope, column_slope, self._of)

    @outward_rounding()  # a proof, whether the rounding of other stages is enclosed or not
    def _of(self, kept: Tensor) -> Tensor:
        gram = kept @ kept.mT
        size = len(gram[0])
        trace = gram.diagonal(dim1=1, dim2=2).sum(dim=1)
        estimate = torch.linalg.eigvalsh(gram)[:, -1].clamp_min(trace / size)
        shift = 2 * (size + 2) * gamma(size, gram) * estimate + 2 * gamma(kept.shape[2], gram) * trace
        proved = torch.full_like(trace, torch.inf)
        for growth in range(20):
            squared = estimate * (1 + self.margin * 4**growth) ** 2 + 2 * shift
            eye = torch.eye(size, dtype=gram.dtype, device=gram.device)
            failed = torch.linalg.cholesky_ex((squared - shift)[:, None, None] * eye - gram).info
            proved = torch.where((failed == 0) & proved.isinf(), inflated(squared.sqrt()), proved)
            if proved.isfinite().all():
                break
        return proved


@errs("lower")
class PowerNorm:
    """Power iteration from a random start: never above the norm, and how far below it cannot be told. For teaching."""

    def __init__(self, steps: int = 20) -> None:
        self.steps = steps

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        """Per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,)."""
        row, column = row_slope.sqrt(), column_slope.sqrt().reshape(len(column_slope), *linear.in_shape)
        v = _unit(torch.randn_like(column) * (column > 0))
        for _ in range(self.steps):
            v = _unit(column * linear.adjoint(row_slope * linear.linear(column * v)))
        return torch.linalg.vector_norm((row * linear.linear(column * v)).flatten(1), dim=1)


def _unit(v: Tensor) -> Tensor:
    """Every sample at length 1; one that is 0 stays so."""
    v = v / v.flatten(1).abs().amax(dim=1).clamp_min(TINY).view(-1, *[1] * (v.dim() - 1))
    length = torch.linalg.vector_norm(v.flatten(1), dim=1).clamp_min(TINY)
    return v / length.view(-1, *[1] * (v.dim() - 1))


TINY = 1e-300
