"""What the network computes at the centre of the ball, with its running rounding error."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.domains.block import BlockBound
from lliptools.nets.activations import Activation
from lliptools.nets.blocks import Block
from lliptools.norms.rounding import is_outward, running_error, unit


@dataclass(frozen=True)
class Center:
    """What the network computes at the centre of the ball, and how far from it the exact value may be."""

    value: Tensor
    doubt: Tensor

    @classmethod
    def exact(cls, value: Tensor) -> "Center":
        """Values without an error."""
        return cls(value, torch.zeros_like(value))

    def through(self, block: Block | BlockBound) -> tuple["Center", "Center"]:
        """The pre-activations and the outputs of a block without blocks inside; the doubt is 0 unless asked for."""
        z = block.linear.apply(self.value)
        before = Center(z, running_error(block.linear, self.doubt, self.value.abs() + self.doubt))
        return before, before if block.activation is None else before.bent(block.activation)

    def bent(self, activation: Activation) -> "Center":
        """The outputs of an activation; the doubt is 0, without work, where rounding is not enclosed."""
        value = activation(self.value)
        if not is_outward():
            return Center.exact(value)
        low, high = activation.image(*self.limits())
        return Center(value, torch.maximum(high - value, value - low) * (1 + 4 * unit(value)))

    def shaped(self, shape: torch.Size) -> "Center":
        """The same units in another shape, (batch, *units)."""
        return Center(self.value.reshape(shape), self.doubt.reshape(shape))

    def limits(self) -> tuple[Tensor, Tensor]:
        """Ends of the intervals in which the exact values lie, (batch, *units); the same tensor twice where exact."""
        if not is_outward():
            return self.value, self.value
        far = torch.full_like(self.value, torch.inf)
        return (self.value - self.doubt).nextafter(-far), (self.value + self.doubt).nextafter(far)

    def plus(self, other: "Center") -> "Center":
        """The sum of both, in the other's shape."""
        value = self.value.reshape(other.value.shape) + other.value
        doubt = self.doubt.reshape(other.doubt.shape) + other.doubt
        return Center(value, doubt * (1 + 4 * unit(value)) + 2 * unit(value) * value.abs())


def at_center(blocks: tuple[Block, ...], start: Center) -> list[Center]:
    """The outputs of every block, in order."""
    found = []
    for block in blocks:
        if block.inner:
            inside = at_center(block.inner, start)[-1]
            start = at_center(block.shortcut, start)[-1] if block.shortcut else start
            start = start.plus(inside) if block.skip else inside
        else:
            start = start.through(block)[1]
        found.append(start)
    return found
