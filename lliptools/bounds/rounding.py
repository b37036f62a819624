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
from lliptools.nets.rules import Rule

__all__ = [
    "apply_slack",
    "center_doubt",
    "gamma",
    "image_doubt",
    "inflated",
    "is_outward",
    "matrix_slack",
    "outward_rounding",
]

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


def apply_slack(linear: LinearMap, size: Tensor) -> Tensor:
    """How far the computed W h + b may be from the exact one, for |h| <= size: (batch, *in) -> (batch, *out)."""
    share = gamma(linear.terms, size)
    slack = (share + linear.relative_error) * linear.apply_absolute(size)
    if linear.matrix_error is not None:
        slack = slack + (size.flatten(1) @ linear.matrix_error.T).reshape(slack.shape)
    slack = slack + share * linear.bias.abs() + linear.bias_error + linear.terms * TINY
    return slack * (1 + 2 * share)


def center_doubt(linear: LinearMap, center: Tensor, doubt: Tensor) -> Tensor:
    """How far the computed pre-activation at the centre may be from the exact one, the centre itself in doubt."""
    return (linear.apply_absolute(doubt) + apply_slack(linear, center.abs())) * (1 + 2 * gamma(linear.terms, center))


def image_doubt(activation: Rule | None, center: Tensor, doubt: Tensor) -> Tensor:
    """How far the computed activation at the centre may be from the exact one."""
    if activation is None:
        return doubt
    value = activation(center)
    low, high = activation.image(center - doubt, center + doubt)
    return torch.maximum(high - value, value - low) + 8 * unit(value) * (center.abs() + value.abs() + doubt)


def matrix_slack(linear: LinearMap, frobenius: Tensor) -> Tensor:
    """Norm of what the computed matrix may lack of the exact one, given its Frobenius norm per sample: (batch,)."""
    slack = (linear.relative_error + 8 * unit(frobenius)) * frobenius
    if linear.matrix_error is not None:
        slack = slack + torch.linalg.vector_norm(linear.matrix_error) * (1 + gamma(linear.rows * linear.columns, slack))
    return slack
