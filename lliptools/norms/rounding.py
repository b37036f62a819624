"""What rounding to float64 can cost, added outward: one switch, and helpers that are neutral while it is off.

A sum of n products errs by at most γ_n Σ|w||h| with γ_n = n·u/(1 − n·u), u = 2⁻⁵³ (Higham, "Accuracy and Stability of
Numerical Algorithms", 2002, section 3.1). Everything here only ever widens.

Outside outward_rounding() every helper is neutral: unit, gamma and enclosed are 0.0, inflated returns its value,
absolute_with_slack is |W| moved, running_error and matrix_slack are 0. So formulas need no branch on the switch. What
is always proved, whatever the caller does, stands in a function with the decorator @outward_rounding().
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from lliptools.nets.linear import LinearMap, matrix_terms
from lliptools.nets.rows import largest_size
from lliptools.norms.kinds import product_above, steepest

_OUTWARD: ContextVar[bool] = ContextVar("outward", default=False)
Amount = TypeVar("Amount", float, Tensor)


@contextmanager
def outward_rounding(on: bool = True) -> Iterator[None]:
    """Inside this context every bound encloses the rounding of its own arithmetic; certificates are computed in it.

    Off by default elsewhere: then bounds are computed as if float64 were exact, and known constants come out exactly.
    """
    token = _OUTWARD.set(on)
    try:
        yield
    finally:
        _OUTWARD.reset(token)


def is_outward() -> bool:
    """Whether rounding is to be enclosed."""
    return _OUTWARD.get()


def enclosed(amount: Amount) -> Amount | float:
    """What is to be added for rounding: the amount, or 0.0 where rounding is not enclosed."""
    return amount if is_outward() else 0.0


def unit(like: Tensor) -> float:
    """u, the unit roundoff of a tensor's precision; 0.0 where rounding is not enclosed."""
    return enclosed(torch.finfo(like.dtype).eps / 2)


def gamma(terms: int, like: Tensor) -> float:
    """γ_n for sums of so many products in a tensor's precision; 0.0 where rounding is not enclosed."""
    size = (terms + 16) * unit(like)  # a few operations around the sum are counted in
    return size / (1 - size) if size < 0.5 else torch.inf


def inflated(value: Tensor, operations: int = 4) -> Tensor:
    """A value >= 0 that so many operations have rounded, not below what exact arithmetic gives."""
    return value * (1 + 2 * (operations + 1) * unit(value)) if is_outward() else value


def times_above(one: Tensor, other: Tensor) -> Tensor:
    """A product of bounds >= 0 that is one itself: not below the exact product, and 0 only where a factor is 0."""
    return inflated(product_above(one, other))


def absolute_with_slack(linear: LinearMap, moved: Tensor, size: Tensor) -> Tensor:
    """|W| moved, and how far the computed W h + b may be from the exact one for |h| <= size, in one application.

    moved, size: (batch, *in_shape) -> (batch, *out_shape). Only |W| moved where rounding is not enclosed.
    """
    if not is_outward():
        return linear.apply_absolute(moved)
    share = gamma(linear.terms, size)
    reach = linear.apply_absolute(moved * (1 + 4 * share) + (share + linear.relative_error) * size)
    if linear.matrix_error is not None:
        reach = reach + (size.flatten(1) @ linear.matrix_error.T).reshape(reach.shape)
    slack = share * linear.bias.abs() + linear.bias_error + linear.underflow
    return (reach + slack) * (1 + 4 * share)


def running_error(linear: LinearMap, error: Tensor, size: Tensor) -> Tensor:
    """How far the computed W h + b may be from the exact one, where h is off by at most error, and |h| <= size.

    error, size: (batch, *in_shape) -> (batch, *out_shape). 0, without work, where rounding is not enclosed.
    """
    return absolute_with_slack(linear, error, size) if is_outward() else error.new_zeros(len(error), *linear.out_shape)


def matrix_slack(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """Norm of what the computed D_row^½ W D_column^½ may lack of the exact one, (batch,); slopes (batch, …) each."""
    if not is_outward():
        return linear.bias.new_zeros(len(row_slope))
    slack = _entry_share(linear) * largest_size(linear)
    if linear.matrix_error is not None:
        slack = slack + torch.linalg.vector_norm(linear.matrix_error) * (1 + gamma(linear.rows * linear.columns, slack))
    slopes = steepest(row_slope.detach()) * steepest(column_slope.detach())
    return slack * slopes * (1 + gamma(linear.terms, slack))


def entry_error(linear: LinearMap) -> Tensor | None:
    """How far rounding may have moved the entries, (rows, columns); None: not at all, or rounding is not enclosed."""
    if not is_outward():
        return None
    if linear.matrix_error is not None:
        return linear.matrix_error.detach()
    share = _entry_share(linear)
    if share == 0:
        return None
    absolute = tuple(operator.with_entries(torch.abs) for operator in linear.operators)
    return share * replace(linear, operators=absolute).weight.detach()


def _entry_share(linear: LinearMap) -> float:
    """How far rounding may have moved the entries, beside matrix_error, in relation to those of |W|."""
    # The entries are sums where there are several layers, and where a kernel on a small torus meets itself.
    sums = len(linear.operators) > 1 or any(operator.copies > 1 for operator in linear.operators)
    summed = sums and linear.matrix_error is None
    return linear.relative_error + (gamma(matrix_terms(linear.operators), linear.bias) if summed else 0.0)
