"""The matrix of a layer, without its masked rows and columns, scaled by the roots of the slopes."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lliptools.nets.linear import TINY, LinearMap
from lliptools.nets.rows import times_root
from lliptools.norms.rounding import matrix_slack

# Samples that keep about as many rows and columns, counted in steps of this, are worked on together.
STEP = 16
ENTRIES = 2**25  # of masked matrices that are in memory at a time


def scaled_matrices(
    linear: LinearMap, row_slope: Tensor, column_slope: Tensor, norm_of: Callable[[Tensor], Tensor]
) -> Tensor:
    """norm_of(wide matrices (samples, kept, kept), largest entry 1) for all samples, in groups: (batch,).

    row_slope: (batch, *rows), column_slope: (batch, *columns). Samples of equal slopes share the work, and samples that
    keep about as much of the matrix are stacked. An all-zero mask gives 0 exactly.
    """
    row_slope, column_slope = row_slope.flatten(1), column_slope.flatten(1)
    slopes = torch.cat([row_slope, column_slope], dim=1).detach()
    distinct, which = torch.unique(slopes, dim=0, return_inverse=True)
    samples = torch.arange(len(slopes), device=slopes.device)
    first = samples.new_full((len(distinct),), len(slopes)).scatter_reduce(0, which, samples, "amin")
    row_slope, column_slope = row_slope[first], column_slope[first]  # one of each, its graph kept
    sizes = torch.stack([row_slope.count_nonzero(dim=1), column_slope.count_nonzero(dim=1)], dim=1)
    groups, group = torch.unique((sizes + STEP - 1) // STEP, dim=0, return_inverse=True)
    # Where no product can underflow nothing has to be looked for.
    least = _least(linear.weight) * _least(row_slope).sqrt() * _least(column_slope).sqrt()
    times = torch.mul if least > TINY else times_root
    found, norms = [], []
    for number, size in enumerate(groups):
        at_once = max(1, ENTRIES // max(1, int(size.prod()) * STEP * STEP))
        for index in (group == number).nonzero()[:, 0].split(at_once):
            found.append(index)
            norms.append(_norms(_kept(linear.weight, row_slope[index], column_slope[index], times), norm_of))
    every = torch.cat(norms)[torch.cat(found).argsort()] + matrix_slack(linear, row_slope, column_slope)
    return every[which]


def _least(values: Tensor) -> Tensor:
    """The smallest size of what is not 0; NaN where a number is none."""
    size = values.detach().abs()
    return torch.where(size == 0, torch.inf, size).amin().clamp_max(1.0)


def _kept(weight: Tensor, row_slope: Tensor, column_slope: Tensor, times: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What samples that keep about as much of the matrix keep of it, times the roots of the slopes."""
    (rows, _), (columns, _) = kept_first(row_slope != 0), kept_first(column_slope != 0)
    kept = times(weight[rows[:, :, None], columns[:, None, :]], row_slope.gather(1, rows).sqrt()[:, :, None])
    return times(kept, column_slope.gather(1, columns).sqrt()[:, None])


def _norms(kept: Tensor, norm_of: Callable[[Tensor], Tensor]) -> Tensor:
    """The norms of matrices, (samples, rows, columns) -> (samples,)."""
    if not kept.numel():
        return kept.new_zeros(len(kept))
    largest = kept.detach().abs().amax(dim=(1, 2))
    known, alive = largest.isfinite(), largest > 0
    kept = torch.where(known[:, None, None], kept, 0.0)
    kept = kept / torch.where(known & alive, largest, 1.0)[:, None, None]  # the square of 1e200 is not a number
    if kept.shape[1] > kept.shape[2]:
        kept = kept.mT
    # Entries next to 0 have been made larger, each by less than the smallest ordinary number.
    underflow = torch.finfo(kept.dtype).tiny * math.sqrt(kept[0].numel())
    return torch.where(known, torch.where(alive, largest * norm_of(kept) + underflow, 0.0), torch.inf)


def kept_first(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the units that a mask, (batch, units), keeps, before others: (batch, most), and whether it does."""
    most = int(mask.count_nonzero(dim=1).max()) if mask.numel() else 0
    which = mask.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    return which, mask.gather(1, which)
