"""What stands for the values of a program while it is read, and for sums and rows of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from lliptools.nets.operators import Shape
from lliptools.nets.registry import LINEAR
from lliptools.nets.steps import Entrywise, Residual


@dataclass(frozen=True)
class Value:
    """What layers make of the input, one after the other, and the shape of one sample of it."""

    layers: tuple[nn.Module, ...] = ()
    shape: Shape = ()

    def then(self, *layers: nn.Module, shape: Shape | None = None) -> "Value":
        """What further layers make of it."""
        return Value(self.layers + layers, self.shape if shape is None else shape)


def reshaped(value: Value, shape: Shape) -> Value:
    """The same entries as samples of another shape."""
    if value.shape == shape:
        return value.then()
    flat: tuple[nn.Module, ...] = () if len(value.shape) == 1 else (nn.Flatten(),)
    return value.then(*flat, *([nn.Unflatten(1, shape)] if len(shape) > 1 else []), shape=shape)


def places(values: Sequence[Value], count: int) -> list[Tensor]:
    """Numbers from 1 for the entries of so many samples of values, one value after the other: (count, *shape) each."""
    numbers = torch.arange(1.0, 1 + count * sum(prod(value.shape) for value in values), dtype=torch.float64)
    split = numbers.reshape(count, -1).split([prod(value.shape) for value in values], dim=1)
    return [part.reshape(count, *value.shape) for part, value in zip(split, values, strict=True)]


def rearranged(values: Sequence[Value], found: Tensor, shift: Tensor | None = None) -> Value | None:
    """What has the entries of values at these places, (samples, *shape), plus a shift; 0 and the shift elsewhere."""
    shift = torch.zeros_like(found) if shift is None else shift
    sizes = [prod(value.shape) for value in values]
    if found.dim() < 2 or not (shift == shift[:1]).all():
        return None
    first, shift, shape = found[0], shift[0], tuple(found.shape[1:])
    later = sum(sizes) * torch.arange(len(found), dtype=torch.float64).view(-1, *[1] * len(shape))
    if not (found == (first + later) * (first > 0)).all() or not ((first >= 0) & (first <= sum(sizes))).all():
        return None
    common = common_layers(values)
    moves = [_as_move(value, len(common)) for value in values]
    index, weight, bias, parts = torch.zeros_like(first).long(), torch.zeros_like(first), shift.double(), []
    for number, (value, move) in enumerate(zip(values, moves, strict=True)):
        own = first.long() - 1 - sum(sizes[:number])
        inside = (own >= 0) & (own < sizes[number])
        own = torch.where(inside, own, 0)
        parts.append(value.then(Entrywise(inside.double(), index=own), shape=shape))
        if move is not None:
            place, factor, more = (part.flatten()[own] for part in move)
            index, weight = torch.where(inside, place, index), torch.where(inside, factor, weight)
            bias = bias + torch.where(inside, more, 0.0)
    if None not in moves:
        return Value(common).then(Entrywise(weight, bias, index), shape=shape)
    both = reduce(total, parts)
    return both.then(Entrywise(torch.ones(()).double(), shift)) if shift.any() else both


Move = tuple[Tensor, Tensor, Tensor]


def _as_move(value: Value, count: int) -> Move | None:
    """Place, factor and shift of every entry of a value, if layers after so many only move entries."""
    match value.layers[count:]:
        case ():
            index = torch.arange(prod(value.shape)).reshape(value.shape)
            return index, torch.ones_like(index).double(), torch.zeros_like(index).double()
        case (Entrywise(index=Tensor() as index, weight=weight, bias=bias),) if index.shape == value.shape:
            return index, weight.expand(index.shape), bias.expand(index.shape)
    return None


def common_layers(values: Sequence[Value]) -> tuple[nn.Module, ...]:
    """The layers that values have in common, from the input on."""
    found = []
    for layers in zip(*(value.layers for value in values), strict=False):
        if any(layer is not layers[0] for layer in layers):
            break
        found.append(layers[0])
    return tuple(found)


def total(one: Value, other: Value) -> Value:
    """The sum of two values of one shape: what they have in common, and two branches."""
    common = common_layers([one, other])
    arms = [value.layers[len(common) :] for value in (one, other)]
    start = Value(common, one.shape)
    if not any(arms):
        return start.then(Entrywise(torch.full((), 2.0, dtype=torch.float64)))
    arms.sort(key=lambda arm: (any(type(layer) not in LINEAR for layer in arm), len(arm)))
    shortcut, block = (nn.Sequential(*arm) for arm in arms)
    return start.then(Residual(block, shortcut if len(shortcut) else None))


def entrywise(node: fx.Node, value: Value, weight: Tensor | float, bias: Tensor | float | None) -> Value | None:
    """weight · value + bias; None where a constant differs from sample to sample or changes the number of axes."""
    out = tuple(node.meta["val"].shape[1:])
    numbers = [wide(weight), wide(0.0 if bias is None else bias)]
    for place, number in enumerate(numbers):
        if number.dim() > len(out):
            if number.dim() > len(out) + 1 or not (number == number[:1]).all():
                return None
            numbers[place] = number[0]
    if len(value.shape) != len(out) or not all(number.isfinite().all() for number in numbers):
        return None
    index = None
    if value.shape != out:
        index = torch.arange(prod(value.shape)).reshape(value.shape).expand(out).clone()
    return value.then(Entrywise(numbers[0], numbers[1], index), shape=out)


def wide(number: Tensor | float) -> Tensor:
    """A number in float64, with all of its digits."""
    return torch.as_tensor(number, dtype=torch.float64)


def filled(layer: nn.Module, **tensors: Tensor | None) -> nn.Module:
    """The layer with copies of these tensors, in their precision; what they leave out is a counter."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    left = layer.to(next(iter(given.values()))).load_state_dict(given, strict=False)
    assert not left.unexpected_keys
    assert {*left.missing_keys} <= {"num_batches_tracked"}
    return layer


def product(value: Value, weight: Tensor) -> Value:
    """A flat value times a matrix (rows, columns)."""
    layer = filled(nn.Linear(weight.shape[1], len(weight), bias=False), weight=weight)
    return value.then(layer, shape=(len(weight),))


def argument(node: fx.Node) -> Any:
    """What the program's example has for the first argument, or for the first of several in it."""
    first: Any = node.args[0]
    return (first[0] if isinstance(first, list | tuple) else first).meta["val"]


def operation(name: str) -> Any:
    """The operation of torch.ops.aten of a name such as "relu.default"."""
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)
