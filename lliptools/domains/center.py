"""What the network computes at the centre of the ball, with its running rounding error."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.nets.activations import Activation
from lliptools.nets.blocks import Block
from lliptools.norms.rounding import absolute_with_slack, is_outward, unit

__all__ = ["Center", "at_center"]


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


def _image_doubt(activation: Activation, before: Center) -> Tensor:
    value = activation(before.value)
    infinite = torch.full_like(value, torch.inf)
    low, high = activation.image(
        (before.value - before.doubt).nextafter(-infinite), (before.value + before.doubt).nextafter(infinite)
    )
    return torch.maximum(high - value, value - low) * (1 + 4 * unit(value))
