"""Norms and sums of the rows of a linear map, never below the true ones by overflow or underflow."""

from math import prod

import torch
from torch import Tensor

from lliptools.nets.linear import SAFE, TINY, LinearMap, or_one, through
from lliptools.nets.operators import Gather, Operator, over_rows


def row_norms(linear: LinearMap, column_slope: Tensor) -> Tensor:
    """‖row_j(W) D^½‖ for every row j, D = diag(column_slope): (batch, *in_shape) -> (batch, *out_shape).

    Where layers are kept apart, the sum of |entries of the later| times the norms of the rows of the first: more.
    """
    if not linear.operators:
        return column_slope.sqrt().reshape(len(column_slope), *linear.out_shape)
    (first, *rest), slope = _unpadded(linear, column_slope)
    scale = or_one(first.weight.detach().abs().reshape(len(first.weight), -1).amax(dim=1))
    # Where several entries of a kernel meet in one of the matrix, (a + b)² <= 2(a² + b²).
    squared = first.copies * first.scaled_rows(1 / scale).with_entries(torch.square)(slope)
    ordinary = (slope.detach() <= 0).logical_or(slope.detach() >= SAFE)  # not what is no number
    if linear.has_tiny_entries or not ordinary.all():
        alive = first.with_entries(lambda w: (w != 0).to(w.dtype))((~(slope <= 0)).to(slope.dtype)) > 0
    else:
        alive = squared != 0  # NaN, of a zero weight and an endless slope, stays NaN
    # Squares that underflow are made up for; the root has no finite gradient at 0.
    squared = squared.clamp_min(first.terms * torch.finfo(squared.dtype).tiny)
    norms = over_rows(scale, squared.dim() - 1) * torch.where(alive, squared, 1.0).sqrt()
    norms = norms.clamp_min(torch.finfo(squared.dtype).tiny) * alive  # √2 · 5e-324 is rounded to 5e-324
    norms = through(linear.absolute[len(linear.operators) - len(rest) :], norms).reshape(len(norms), *linear.out_shape)
    if len(linear.operators) > 1:  # what underflow has taken of the products
        norms = norms + linear.underflow * linear.reached(column_slope > 0)
    return norms


def whole_row_norms(linear: LinearMap) -> Tensor:
    """The same with every column, (1, *out_shape), for entries whose squares are ordinary numbers."""
    if not linear.operators:
        return linear.bias.new_ones(1, *linear.out_shape)
    (first, *rest), slope = _unpadded(linear, linear.bias.new_ones(1, *linear.in_shape))
    squared = first.copies * first.with_entries(torch.square)(slope)
    norms = squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()
    return through(linear.absolute[len(linear.operators) - len(rest) :], norms).reshape(1, *linear.out_shape)


def _unpadded(linear: LinearMap, slope: Tensor) -> tuple[tuple[Operator, ...], Tensor]:
    """The operators whose norms of rows are sought, and slopes of what they read: (batch, *in_shape of the first).

    What only repeats inputs, as a padding does, is left out: where several of n repetitions meet in one entry of the
    matrix, (a + b + …)² <= n(a² + b² + …).
    """
    first, *rest = linear.operators
    slope = slope.reshape(len(slope), *first.in_shape)
    if not (rest and isinstance(first, Gather) and first.terms == 1):
        return linear.operators, slope
    pattern = first.with_entries(lambda w: (w != 0).to(w.dtype))
    repeated = pattern.adjoint(slope.new_ones(1, *first.out_shape))
    return tuple(rest), first.with_entries(torch.square)(slope * repeated.clamp_min(1.0))


def row_distances(linear: LinearMap, y: Tensor, column_slope: Tensor) -> Tensor:
    """‖(row_y − row_j) D^½‖ for every row j: y (batch,), column_slope (batch, *in_shape) -> (batch, rows)."""
    difference = times_root(linear.weight[y, None, :] - linear.weight, column_slope.flatten(1).sqrt()[:, None, :])
    largest = difference.detach().abs().amax(dim=2)
    scale = or_one(largest)
    found = scale * torch.linalg.vector_norm(difference / scale[:, :, None], dim=2)
    return torch.where(largest > 0, found.clamp_min(TINY), found)  # √2 · 5e-324 is rounded to 5e-324


def largest_size(linear: LinearMap) -> Tensor:
    """Upper bound of the norm of |W|, layers kept apart one by one: the root of row sums times column sums."""
    ones = linear.bias.new_ones(())
    if not linear.operators:
        return ones
    rows = through(linear.absolute, ones.expand(1, *linear.in_shape)).flatten() + linear.underflow.flatten()
    columns = ones.expand(1, *linear.operators[-1].out_shape)
    for operator in reversed(linear.absolute):
        columns = operator.adjoint(columns.reshape(1, *operator.out_shape)) + prod(operator.out_shape) * TINY
    return (rows.amax().sqrt() * columns.amax().sqrt()).detach()


def times_root(weight: Tensor, root: Tensor) -> Tensor:
    """weight · root, whose size is never below the true one by underflow: for norms and largest changes."""
    found = weight * root
    if ((root >= 1) | (root == 0)).all():
        return found
    lost = (found.detach().abs() < TINY) & (weight.detach() != 0) & (root > 0)
    return torch.where(lost, TINY * weight.detach().sign(), found)
