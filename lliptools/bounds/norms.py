"""Norms of matrices with rows and columns struck; each says which way it errs."""

import torch
from torch import Tensor

from lliptools.bounds.record import errs
from lliptools.nets.linear import LinearMap

__all__ = ["exact_norm"]


@errs("exact")
def exact_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """‖D_row^½ W D_column^½‖ per sample: row_slope (batch, rows), column_slope (batch, columns) -> (batch,).

    Dead rows and columns are removed; the root of the largest eigenvalue of the smaller Gram matrix of what is left is
    the norm. Samples with the same slopes share the work. An all-zero mask gives 0 exactly.
    """
    slopes = torch.cat([row_slope, column_slope], dim=1).detach()
    distinct, which = torch.unique(slopes, dim=0, return_inverse=True)
    row_slopes, column_slopes = distinct.split([row_slope.shape[1], column_slope.shape[1]], dim=1)
    norms = [_norm(linear.weight, rows, columns) for rows, columns in zip(row_slopes, column_slopes, strict=True)]
    return torch.stack(norms)[which]


def _norm(weight: Tensor, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    rows, columns = row_slope.nonzero()[:, 0], column_slope.nonzero()[:, 0]
    kept = weight[rows][:, columns] * row_slope[rows, None].sqrt() * column_slope[columns].sqrt()
    largest = kept.detach().abs().max() if kept.numel() else 0.0
    if largest == 0:
        return weight.new_zeros(())
    kept = kept / largest  # the Gram matrix of 1e-200 or 1e200 would not be a number
    gram = kept @ kept.T if len(rows) <= len(columns) else kept.T @ kept
    return largest * torch.linalg.eigvalsh(gram)[-1].sqrt()
