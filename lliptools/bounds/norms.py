"""Norms of matrices with rows and columns struck; each says which way it errs."""

import torch
from torch import Tensor

from lliptools.bounds.record import errs
from lliptools.nets.linear import LinearMap

__all__ = ["exact_norm"]

# Samples that keep about as many rows and columns, counted in steps of this, are worked on together.
STEP = 16


@errs("exact")
def exact_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """‖D_row^½ W D_column^½‖ per sample: row_slope (batch, rows), column_slope (batch, columns) -> (batch,).

    Dead rows and columns are removed; the root of the largest eigenvalue of the smaller Gram matrix of what is left is
    the norm. Samples with the same slopes share the work. An all-zero mask gives 0 exactly.
    """
    slopes = torch.cat([row_slope, column_slope], dim=1).detach()
    distinct, which = torch.unique(slopes, dim=0, return_inverse=True)
    row_slope, column_slope = distinct.split([row_slope.shape[1], column_slope.shape[1]], dim=1)
    sizes = torch.stack([row_slope.count_nonzero(dim=1), column_slope.count_nonzero(dim=1)], dim=1)
    groups, group = torch.unique((sizes + STEP - 1) // STEP, dim=0, return_inverse=True)
    found = [(group == number).nonzero()[:, 0] for number in range(len(groups))]
    norms = torch.cat([_norms(linear.weight, row_slope[index], column_slope[index]) for index in found])
    return norms[torch.cat(found).argsort()[which]]


def _norms(weight: Tensor, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """The norms of samples that keep about as many rows and columns."""
    rows, columns = _kept_first(row_slope), _kept_first(column_slope)
    kept = weight[rows[:, :, None], columns[:, None, :]]
    kept = kept * row_slope.gather(1, rows).sqrt()[:, :, None] * column_slope.gather(1, columns).sqrt()[:, None]
    if not kept[0].numel():
        return weight.new_zeros(len(row_slope))
    largest = kept.detach().abs().amax(dim=(1, 2))
    alive = largest > 0
    kept = kept / torch.where(alive, largest, 1.0)[:, None, None]  # the square of 1e-200 or 1e200 is not a number
    gram = kept @ kept.mT if rows.shape[1] <= columns.shape[1] else kept.mT @ kept
    squared = torch.linalg.eigvalsh(gram)[:, -1]
    return largest * torch.where(alive, squared, 1.0).sqrt()


def _kept_first(slope: Tensor) -> Tensor:
    """Indices of the units that are not struck, for as many as the sample with most of them keeps."""
    most = int(slope.count_nonzero(dim=1).max())
    return (slope > 0).byte().argsort(dim=1, descending=True, stable=True)[:, :most]
