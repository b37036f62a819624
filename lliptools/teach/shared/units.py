"""Hidden units one by one: where each stands in its ball, and under which name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.bounds import BlockBound
from lliptools.nets.operators import Convolution

# States of a unit over the ball. The first two are constant, the last two varying: linear all over it, or unstable.
AT_ZERO, AT_THETA, ON, UNSTABLE = range(4)
DRAWN = 2**18  # weights of a network that are drawn one by one
AT_ONCE = 4  # linear maps that a figure shows side by side


@dataclass(frozen=True, eq=False)
class Layer:
    """One linear map with the activation after it, as the pass meets them.

    * name: "2", or "2.1" for the first inside of block 2
    * columns: slopes of the units that its columns read, (batch, *units), or (1, *units) for the input
    """

    name: str
    block: BlockBound
    columns: Tensor

    def states(self, index: int | slice) -> Tensor:
        """State of every unit of a sample, by its output, (*units,), or of a part of the batch, (samples, *units)."""
        if isinstance(index, int):
            return self.states(slice(index, index + 1))[0]
        block, activation = self.block, self.block.activation
        slope, lower, upper = (part[index] for part in (block.slope, block.box.lower, block.box.upper))
        if activation is None:
            return torch.full_like(slope, ON, dtype=torch.int64)
        least, greatest = activation.slopes(lower, upper)
        low, high = (side[index] for side in self.thresholds())
        low = torch.where(low.isinf() & high.isinf(), 0.0, low)
        constant = torch.where(block.output.upper[index] <= low, AT_ZERO, AT_THETA)
        return torch.where(slope > 0, torch.where(least == greatest, ON, UNSTABLE), constant)

    def unit_box(self, index: int) -> tuple[Tensor, Tensor]:
        """What every unit is clipped from, (1, *units) twice: its pre-activation's box, or that of a larger of two."""
        lower, upper = (side[index : index + 1] for side in (self.block.box.lower, self.block.box.upper))
        activation = self.block.activation
        return (lower, upper) if activation is None else activation.clipped_from(lower, upper)

    def thresholds(self) -> tuple[Tensor, Tensor]:
        """Below which value and above which every unit is flat, (batch, *units) each; infinite where it never is."""
        like, activation = self.block.slope, self.block.activation
        limits = (-torch.inf, torch.inf) if activation is None else activation.thresholds(like)
        low, high = (torch.as_tensor(limit).detach().to(like).expand_as(like) for limit in limits)
        return low, high

    @property
    def constants(self) -> tuple[str, str]:
        """The names of the two values at which its units can be constant."""
        activation = self.block.activation
        if activation is not None and not activation.elementwise and self.thresholds()[0].isfinite().any():
            return "θ_min", "θ_max"
        low = torch.zeros(1) if activation is None else self.thresholds()[0]
        return ("low end", "high end") if (low.isfinite() & (low != 0)).any() else ("0", "θ")

    @property
    def clipped(self) -> bool:
        """Whether a unit has an upper threshold."""
        return bool((self.thresholds()[1] < torch.inf).any())


def layers(blocks: tuple[BlockBound, ...], columns: Tensor | None = None, within: str = "") -> Iterator[Layer]:
    """Every linear map in order, those inside of residual blocks included."""
    for number, block in enumerate(blocks, start=1):
        name = f"{within}{number}"
        if columns is None:
            columns = block.norm.new_ones(1, *block.linear.in_shape)
        if block.inner:
            yield from layers(block.inner, columns, f"{name}.")
            yield from layers(block.shortcut, columns, f"{name}'")
        else:
            yield Layer(name, block, columns)
        columns = block.slope


def dense_weights(blocks: tuple[BlockBound, ...]) -> tuple[Tensor, ...]:
    """The weights of a small dense network whose units are masked or not, (rows, columns) float32; else none."""
    if not 1 < len(blocks) <= AT_ONCE or any(block.inner for block in blocks):
        return ()
    whole = all(torch.equal(block.slope, block.row_slope) and (block.slope % 1 == 0).all() for block in blocks)
    linear = [block.linear for block in blocks]
    kernels = any(len(one.operators) == 1 and isinstance(one.operators[0], Convolution) for one in linear)
    if not whole or kernels or not all(one.operators for one in linear):
        return ()
    small = sum(one.rows * one.columns for one in linear) <= DRAWN
    return tuple(one.weight.detach().float().cpu() for one in linear) if small else ()


def hidden(blocks: tuple[BlockBound, ...]) -> tuple[Layer, ...]:
    """The linear maps that an activation follows."""
    return tuple(layer for layer in layers(blocks) if layer.block.activation is not None)


def every_unit(found: Sequence[Layer], index: int) -> tuple[Tensor, Tensor]:
    """All units of layers at a sample: their states, (units,) uint8, and their boxes' ends, (units, 2) float32."""
    states, ends = [torch.zeros(0)], [torch.zeros(0, 2)]  # of a network that has none
    for layer in found:
        states.append(layer.states(index).flatten().cpu())
        ends.append(torch.stack(layer.unit_box(index), dim=-1).reshape(-1, 2).float().cpu())
    return torch.cat(states).byte(), torch.cat(ends)
