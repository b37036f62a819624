"""Hidden units one by one: where each stands in its ball, and under which name."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.bounds import BlockBound
from lliptools.nets import Activation

__all__ = [
    "AT_THETA",
    "AT_ZERO",
    "ON",
    "UNDECIDED",
    "Station",
    "constants",
    "is_clipped",
    "states",
    "stations",
    "thresholds",
    "unit_box",
]

# States of a unit over the ball. The first two are constant, the last two varying: linear all over it, or undecided.
AT_ZERO, AT_THETA, ON, UNDECIDED = range(4)


@dataclass(frozen=True, eq=False)
class Station:
    """One linear map with the activation after it, as the pass meets them.

    name: "2", or "2.1" for the first inside of block 2. columns: slopes of the units that its columns read,
    (batch, *units), or (1, *units) for the input.
    """

    name: str
    block: BlockBound
    columns: Tensor


def stations(blocks: tuple[BlockBound, ...], columns: Tensor | None = None, within: str = "") -> Iterator[Station]:
    """Every linear map in order, those inside of residual blocks included."""
    for number, block in enumerate(blocks, start=1):
        name = f"{within}{number}"
        if columns is None:
            columns = block.norm.new_ones(1, *block.linear.in_shape)
        if block.inner:
            yield from stations(block.inner, columns, f"{name}.")
        else:
            yield Station(name, block, columns)
        columns = block.slope


def states(block: BlockBound, index: int) -> Tensor:
    """State of every unit of one sample of the batch, by its output: (*units,)."""
    activation, box = block.activation, block.box
    slope, lower, upper = (part[index : index + 1] for part in (block.slope, box.lower, box.upper))
    if activation is None:
        return torch.full_like(slope[0], ON, dtype=torch.int64)
    least, greatest = activation.slopes(lower, upper)
    low, high = (side[index : index + 1] for side in thresholds(block))
    low = torch.where(low.isinf() & high.isinf(), 0.0, low)
    constant = torch.where(block.output.upper[index : index + 1] <= low, AT_ZERO, AT_THETA)
    return torch.where(slope > 0, torch.where(least == greatest, ON, UNDECIDED), constant)[0]


def unit_box(block: BlockBound, index: int) -> tuple[Tensor, Tensor]:
    """What every unit is clipped from, (1, *units) twice: its pre-activation's box, or the larger or smaller of two."""
    lower, upper = block.box.lower[index : index + 1], block.box.upper[index : index + 1]
    return (lower, upper) if block.activation is None else block.activation.clipped_from(lower, upper)


def thresholds(block: BlockBound) -> tuple[Tensor, Tensor]:
    """Below which value and above which every unit is flat, (batch, *units) each; infinite where it never is."""
    like = block.box.lower
    limits = (-torch.inf, torch.inf) if block.activation is None else block.activation.thresholds(like)
    low, high = (torch.as_tensor(limit).detach().to(like).expand_as(like) for limit in limits)
    return low, high


def constants(activation: Activation | None) -> tuple[str, str]:
    """The names of the two values at which the units of an activation can be constant."""
    if activation is not None and not activation.elementwise:
        return "θ_min", "θ_max"
    low = torch.as_tensor(0.0 if activation is None else activation.thresholds(torch.zeros(1))[0])
    return ("low end", "high end") if (low.isfinite() & (low != 0)).any() else ("0", "θ")


def is_clipped(block: BlockBound) -> bool:
    """Whether a unit has an upper threshold."""
    return bool((thresholds(block)[1] < torch.inf).any())
