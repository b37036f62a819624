"""How a stage of a bound errs, and what a norm is to the stages that use it."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from lliptools.nets.linear import LinearMap

# (linear, row_slope (batch, *rows), column_slope (batch, *columns)) -> norms (batch,), per sample
Norm = Callable[[LinearMap, Tensor, Tensor], Tensor]

Stage = TypeVar("Stage", bound=Callable[..., object])


def errs(kind: str, *, encloses: bool = False) -> Callable[[Stage], Stage]:
    """Mark a stage of the bound, a function or a class, with the way it errs: "exact", "upper", "lower" or "estimate".

    A stage without it counts as an estimate, which certifies nothing. encloses: rounding in bounds.outward_rounding().
    """

    def mark(stage: Stage) -> Stage:
        for name, value in (("kind", kind), ("encloses", encloses), ("marked", stage)):
            setattr(stage, name, value)
        return stage

    return mark


def mark_of(stage: object, name: str) -> object:
    """A mark of errs: of a function, or of an object's own class; None where there is none.

    A class that derives from a marked one has to be marked itself, and so has a function that wraps a marked one.
    """
    for owner in (stage, type(stage)):
        own = getattr(owner, "__dict__", {})
        if own.get("marked") is owner:
            return own.get(name)
    return None


def product_above(one: Tensor, other: Tensor) -> Tensor:
    """A product of factors >= 0 that rounding never lowers to nothing: 0 only where a factor is 0, inf on overflow."""
    product = one * other
    product = torch.where((one > 0) & (other > 0), product.clamp_min(torch.finfo(product.dtype).tiny), product)
    nothing = ((one == 0) & ~other.isnan()) | ((other == 0) & ~one.isnan())  # 0 · inf is 0 here: the 0 is exact
    return torch.where(nothing, 0.0, product.nan_to_num(nan=torch.inf, posinf=torch.inf))


def steepest(slope: Tensor) -> Tensor:
    """‖D^½‖ for D = diag(slope): (batch, *units) -> (batch,)."""
    return slope.flatten(1).amax(dim=1).sqrt()


def root(squared: Tensor) -> Tensor:
    """The square root, whose gradient is 0 at 0."""
    return squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt() * (squared != 0)
