"""What rounding to float64 can cost, added outward: one switch, and the running error of every step.

A sum of n products errs by at most γ_n Σ|w||h| with γ_n = n·u/(1 − n·u), u = 2⁻⁵³ (Higham, "Accuracy and Stability of
Numerical Algorithms", 2002, section 3.1). Everything here only ever widens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.nets.blocks import Block
from lliptools.nets.linear import LinearMap
from lliptools.nets.rules import Rule

__all__ = [
    "Center",
    "absolute_with_slack",
    "at_center",
    "gamma",
    "inflated",
    "is_outward",
    "matrix_slack",
    "outward_rounding",
    "unit",
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


@dataclass(frozen=True)
class Center:
    """What the network computes at the centre of the ball, and how far from it the exact value may be."""

    value: Tensor
    doubt: Tensor

    def through(self, block: Block) -> tuple["Center", "Center"]:
        """The pre-activations and the outputs of a block without blocks inside; the doubt is 0 unless asked for."""
        z = block.linear.apply(self.value)
        outward, size = is_outward(), self.value.abs() + self.doubt
        before = Center(z, absolute_with_slack(block.linear, self.doubt, size) if outward else torch.zeros_like(z))
        if block.activation is None:
            return before, before
        h = block.activation(z)
        return before, Center(h, _image_doubt(block.activation, before) if outward else torch.zeros_like(h))

    def plus(self, other: "Center") -> "Center":
        """The sum of both, in the other's shape."""
        value = self.value.reshape(other.value.shape) + other.value
        doubt = self.doubt.reshape(other.doubt.shape) + other.doubt
        if is_outward():
            doubt = doubt * (1 + 4 * unit(value)) + 2 * unit(value) * value.abs()
        return Center(value, doubt)


def at_center(blocks: tuple[Block, ...], start: Center) -> list[Center]:
    """The outputs of every block, in order."""
    found = []
    for block in blocks:
        if block.inner:
            inside = at_center(block.inner, start)[-1]
            start = start.plus(inside) if block.skip else inside
        else:
            start = start.through(block)[1]
        found.append(start)
    return found


def _image_doubt(activation: Rule, before: Center) -> Tensor:
    value = activation(before.value)
    infinite = torch.full_like(value, torch.inf)
    low, high = activation.image(
        (before.value - before.doubt).nextafter(-infinite), (before.value + before.doubt).nextafter(infinite)
    )
    return torch.maximum(high - value, value - low) * (1 + 4 * unit(value))


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
