"""Hidden units one by one: where each stands in its ball, and under which name."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.bounds import BlockBound
from lliptools.nets import ClippedMaxMin, MaxMin
from lliptools.nets.activations import Clip
from lliptools.nets.rules import Rule

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
    if isinstance(activation, MaxMin):
        passes = torch.cat([activation.order(lower, upper) != 0] * 2, dim=1)
        clip, (lower, upper) = activation.clip(), unit_box(block, index)
        linear = passes if clip is None else passes & (clip.slopes(lower, upper)[0] == 1)
    elif activation is None:
        clip, linear = None, torch.ones_like(slope, dtype=torch.bool)
    else:
        clip = activation if isinstance(activation, Clip) else None
        least, greatest = activation.slopes(lower, upper)
        linear = least == greatest
    low = 0.0 if clip is None else clip.thresholds(lower)[0]
    constant = torch.where(block.output.upper[index : index + 1] <= low, AT_ZERO, AT_THETA)
    return torch.where(slope > 0, torch.where(linear, ON, UNDECIDED), constant)[0]


def unit_box(block: BlockBound, index: int) -> tuple[Tensor, Tensor]:
    """What every unit is clipped from, (1, *units) twice: its pre-activation's box, or the larger or smaller of two."""
    lower, upper = block.box.lower[index : index + 1], block.box.upper[index : index + 1]
    if isinstance(block.activation, MaxMin):
        return block.activation.compare(lower), block.activation.compare(upper)
    return lower, upper


def constants(activation: Rule | None) -> tuple[str, str]:
    """The names of the two values at which the units of an activation can be constant."""
    if isinstance(activation, MaxMin):
        return "θ_min", "θ_max"
    if isinstance(activation, Clip) and torch.as_tensor(activation.thresholds(torch.zeros(1))[0]).any():
        return "low end", "high end"
    return "0", "θ"


def is_clipped(activation: Rule | None) -> bool:
    """Whether a unit of an activation has an upper threshold."""
    if isinstance(activation, Clip):
        return bool((torch.as_tensor(activation.thresholds(torch.zeros(1))[1]) < torch.inf).any())
    return isinstance(activation, ClippedMaxMin)
