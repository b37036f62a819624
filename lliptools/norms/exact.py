"""The norm of a masked layer by the eigenvalues of a Gram matrix."""

import torch
from torch import Tensor

from lliptools.nets.linear import LinearMap, or_one
from lliptools.nets.rows import times_root
from lliptools.norms.eigenvalues import norms_of_wide, root_of_largest_eigenvalue
from lliptools.norms.kinds import errs
from lliptools.norms.masked import ENTRIES, kept_first, scaled_matrices
from lliptools.norms.rounding import matrix_slack

FAINT = 1e-50  # numbers between it and its inverse have squares, and products of four, that are ordinary
TOGETHER = 64  # samples at most, which keep about as many rows


@errs("exact", encloses=True)
def exact_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """‖D_row^½ W D_column^½‖ per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,).

    Masked rows and columns are removed; the root of the largest eigenvalue of the smaller Gram matrix of what is left
    is the norm. Samples with the same slopes share the work. An all-zero mask gives 0 exactly.
    """
    columns, root = column_slope.flatten(1), row_slope.flatten(1).sqrt()
    if linear.rows <= linear.columns and (columns == columns[:1]).all() and _ordinary(root):
        wide = times_root(linear.weight, columns[0].sqrt())
        largest = or_one(wide.detach().abs().amax())
        wide = wide / largest
        if _ordinary(largest) and _ordinary(wide.detach().abs().amax(dim=1)):
            gram, order = wide @ wide.mT, root.count_nonzero(dim=1).argsort()
            at_once = max(1, min(TOGETHER, ENTRIES // linear.rows**2))
            norms = [_of_rows(gram, root[index], linear.columns) for index in order.split(at_once)]
            return largest * torch.cat(norms)[order.argsort()] + matrix_slack(linear, row_slope, column_slope)
    return scaled_matrices(linear, row_slope, column_slope, norms_of_wide)


def _ordinary(values: Tensor) -> bool:
    """Whether all that is not 0 is neither tiny nor huge."""
    return bool(((values == 0) | ((values > FAINT) & (values < 1 / FAINT))).all())


def _of_rows(gram: Tensor, root: Tensor, terms: int) -> Tensor:
    """Norms of the rows of one matrix, scaled by root (samples, rows), from its Gram matrix (rows, rows)."""
    rows, _ = kept_first(root != 0)
    if not rows.shape[1]:
        return root.new_zeros(len(root))
    scale = root.gather(1, rows)
    kept = gram[rows[:, :, None], rows[:, None, :]]
    return root_of_largest_eigenvalue(kept * scale[:, :, None] * scale[:, None, :], terms)
