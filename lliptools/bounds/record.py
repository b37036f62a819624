"""What a bound leaves behind: frozen, batched, printable."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TypeVar

import torch
from torch import Tensor

from lliptools.bounds.checks import check_labels
from lliptools.nets.linear import LinearMap

__all__ = ["BlockBound", "Bound", "Box", "errs", "product_above", "round_up"]

ARITHMETIC = "computed in float64 as if its arithmetic were exact"


Stage = TypeVar("Stage", bound=Callable[..., object])


def errs(kind: str) -> Callable[[Stage], Stage]:
    """Mark a stage of the bound with the way it errs: "exact", "upper", "lower" or "estimate".

    A stage without the mark counts as an estimate, and no certificate is issued on one.
    """

    def mark(stage: Stage) -> Stage:
        vars(stage)["kind"] = kind
        return stage

    return mark


def product_above(one: Tensor, other: Tensor) -> Tensor:
    """A product of factors >= 0 that rounding never lowers to nothing: 0 only where a factor is 0, inf on overflow."""
    product = one * other
    product = torch.where((one > 0) & (other > 0), product.clamp_min(torch.finfo(product.dtype).tiny), product)
    nothing = ((one == 0) & ~other.isnan()) | ((other == 0) & ~one.isnan())  # 0 · inf is 0 here: the 0 is exact
    return torch.where(nothing, 0.0, product.nan_to_num(nan=torch.inf, posinf=torch.inf))


def round_up(value: float, digits: int = 4) -> str:
    """Value in at most so many significant digits, never below it: what is printed of an upper bound still holds."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exact = Decimal(value)
    return (
        f"{float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), rounding=ROUND_CEILING)):.{digits}g}"
    )


@dataclass(frozen=True, eq=False)
class Box:
    """Elementwise bounds lower <= value <= upper over the ball; each (batch, *unit shape)."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def outward(cls, lower: Tensor, upper: Tensor) -> "Box":
        """The box, left open wherever overflow has left no finite number: such a number says nothing about a value."""
        nothing = torch.full_like(lower, torch.inf)
        return cls(torch.where(lower.isfinite(), lower, -nothing), torch.where(upper.isfinite(), upper, nothing))

    def intersect(self, other: "Box") -> "Box":
        """The box of what lies in both."""
        return Box(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))


@dataclass(frozen=True, eq=False)
class BlockBound:
    """One block of the bound.

    linear: its linear map. box: pre-activations, (batch, *unit shape). output: box of the activation's outputs.
    slope: (batch, *unit shape) in [0, 1]; 0 where the output is provably constant.
    norm: (batch,) norm of the linear map with rows and columns scaled by the root of their slopes.
    radius: (batch,) radius of the ball around the centre that holds the block's input.
    """

    linear: LinearMap
    box: Box
    output: Box
    slope: Tensor
    norm: Tensor
    radius: Tensor


@dataclass(frozen=True, eq=False)
class Bound:
    """A bound of the Lipschitz constant of the network on the ball of radius eps around each of a batch of points.

    value: (batch,), in units of the output over units of the input.
    kind: "upper" (a theorem), "lower" or "estimate"; certificates take only "upper".
    eps: (batch,) radius of the ball, in the network's input units.
    failure_probability: 0.0 where every norm is deterministic.
    """

    value: Tensor
    kind: str
    eps: Tensor
    blocks: tuple[BlockBound, ...]
    failure_probability: float = 0.0
    arithmetic: str = ARITHMETIC

    def pairwise(self, y: Tensor) -> Tensor:
        """Bound of the Lipschitz constant of f_y − f_j for every class j: labels y (batch,) -> (batch, classes).

        The hidden blocks' norms times ‖(w_y − w_j) D^½‖, with D the slopes of the last hidden layer: never more than
        √2 times the bound itself. It is 0 for j = y. Raises InvalidInput where y does not fit.
        """
        last = self.blocks[-1]
        classes = last.slope.shape[1]
        y = check_labels(y, len(self.value), classes, last.slope.device)
        columns = (
            self.blocks[-2].slope
            if len(self.blocks) > 1
            else torch.ones_like(last.linear.weight[:1]).expand(len(y), -1)
        )
        hidden = torch.ones_like(self.value)
        for block in self.blocks[:-1]:
            hidden = product_above(hidden, block.norm)
        return product_above(hidden[:, None], last.linear.between_rows(y, columns))

    def __str__(self) -> str:
        """A blackboard's table: of the one point, or of the mean over the batch."""
        many = "" if len(self.value) == 1 else f", mean over {len(self.value)} points"
        lines = [f"{self.kind} bound {round_up(self.value.mean().item())} at eps = {self.eps.mean():.4g}{many}"]
        lines.append(f"{'block':>5}  {'rows × columns kept':<22}{'norm':>10}")
        for index, block in enumerate(self.blocks):
            rows, columns = block.linear.weight.shape
            kept_rows = block.slope.count_nonzero(dim=1).double().mean()
            before = self.blocks[index - 1].slope.count_nonzero(dim=1).double().mean() if index else columns
            kept = f"{kept_rows:.4g}×{before:.4g} of {rows}×{columns}"
            lines.append(f"{index + 1:>5}  {kept:<22}{round_up(block.norm.mean().item()):>10}")
        return "\n".join(lines)
