"""What rounding to float64 can cost, added outward: one switch, and the running error of every step.

A sum of n products errs by at most γ_n Σ|w||h| with γ_n = n·u/(1 − n·u), u = 2⁻⁵³ (Higham, "Accuracy and Stability of
Numerical Algorithms", 2002, section 3.1). Everything here only ever widens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from lliptools.nets.linear import LinearMap

__all__ = ["absolute_with_slack", "gamma", "inflated", "is_outward", "matrix_slack", "outward_rounding", "unit"]

TINY = torch.finfo(torch.float64).tiny
_OUTWARD: ContextVar[bool] = ContextVar("outward", default=False)


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


def unit(like: Tensor) -> float:
    """u, the unit roundoff of a tensor's precision."""
    return torch.finfo(like.dtype).eps / 2


def gamma(terms: int, like: Tensor) -> float:
    """γ_n for sums of so many products in a tensor's precision."""
    size = (terms + 16) * unit(like)  # a few operations around the sum are counted in
    return size / (1 - size) if size < 0.5 else torch.inf


def inflated(value: Tensor, operations: int = 4) -> Tensor:
    """A value >= 0 that so many operations have rounded, not below what exact arithmetic gives."""
    return value * (1 + 2 * (operations + 1) * unit(value)) if is_outward() else value


def absolute_with_slack(linear: LinearMap, moved: Tensor, size: Tensor) -> Tensor:
    """|W| moved, and how far the computed W h + b may be from the exact one for |h| <= size, in one application.

    moved, size: (batch, *in_shape) -> (batch, *out_shape).
    """
    share = gamma(linear.terms, size)
    reach = linear.apply_absolute(moved * (1 + 4 * share) + (share + linear.relative_error) * size)
    if linear.matrix_error is not None:
        reach = reach + (size.flatten(1) @ linear.matrix_error.T).reshape(reach.shape)
    slack = share * linear.bias.abs() + linear.bias_error + linear.underflow
    return (reach + slack) * (1 + 4 * share)


def matrix_slack(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """Norm of what the computed D_row^½ W D_column^½ may lack of the exact one, (batch,); slopes (batch, …) each."""
    # The entries are sums where there are several layers, and where a kernel on a small torus meets itself.
    sums = len(linear.operators) > 1 or any(operator.copies > 1 for operator in linear.operators)
    summed = sums and linear.matrix_error is None
    share = linear.relative_error + (gamma(linear.terms, linear.bias) if summed else 0.0)
    slack = share * linear.largest_size()
    if linear.matrix_error is not None:
        slack = slack + torch.linalg.vector_norm(linear.matrix_error) * (1 + gamma(linear.rows * linear.columns, slack))
    steepest = row_slope.detach().flatten(1).amax(dim=1) * column_slope.detach().flatten(1).amax(dim=1)
    return slack * steepest.sqrt() * (1 + gamma(linear.terms, slack))
