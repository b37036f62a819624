"""How a torch.export program is read where values meet: thresholds, pairs, x + block(x)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from lliptools.nets.clips import ClippedReLU
from lliptools.nets.pairs import ClippedMaxMin, MaxMin
from lliptools.nets.registry import MEMORY
from lliptools.nets.residual import Residual

__all__ = ["JOINING", "Compared", "Half", "Value", "argument", "clip", "operation"]

Limit = Tensor | float | None


@dataclass(frozen=True)
class Value:
    """What layers make of the input, one after the other."""

    layers: tuple[nn.Module, ...] = ()

    def then(self, *layers: nn.Module) -> "Value":
        """What further layers make of it."""
        return Value(self.layers + layers)


@dataclass(frozen=True)
class Half:
    """The first or the second half of a value's channels."""

    of: Value
    second: bool


@dataclass(frozen=True)
class Compared:
    """The larger or the smaller of the two halves; the larger clipped from above, the smaller from below."""

    of: Value
    larger: bool
    limit: Limit = None


def _clamped(node: fx.Node, value: Any, min: Limit = None, max: Limit = None) -> Value | Compared | None:
    """A clipped activation, or the limit of one of a pair's outputs."""
    low, high = _of_a_sample(node, min), _of_a_sample(node, max)
    if isinstance(value, Compared) and value.limit is None:
        used, other = (high, low) if value.larger else (low, high)
        return replace(value, limit=used) if other is None else None
    if not isinstance(value, Value):
        return None
    if low is None and value.layers and type(value.layers[-1]) is nn.ReLU:
        value, low = Value(value.layers[:-1]), 0.0
    found = None if low is None else clip(low, high)
    return None if found is None else value.then(found)


def clip(low: Tensor | float, high: Limit) -> nn.Module | None:
    """min(max(z, low), high) as a layer."""
    if isinstance(low, float) and isinstance(high, float) and -math.inf < low < high < math.inf:
        return nn.Hardtanh(low, high)
    if torch.as_tensor(low).any():
        return None
    if high is None or (isinstance(high, float) and high == math.inf):
        return nn.ReLU()
    high = _threshold(high)
    return ClippedReLU(high, learnable=False) if (high >= 0).all() else None


def _of_a_sample(node: fx.Node, limit: Limit) -> Limit:
    """A threshold without the axis of the batch; a number where it is one."""
    if limit is None or isinstance(limit, int | float) or limit.numel() == 1:
        return limit if limit is None else float(limit)
    return limit[0] if limit.dim() == len(node.meta["val"].shape) and len(limit) == 1 else limit


def _halves(node: fx.Node, value: Any, _: object, axis: int = 0) -> tuple[Half, Half] | None:
    """The two halves that a split makes of the channels."""
    sizes = [part.shape[1:] for part in node.meta["val"]]
    axis %= len(argument(node).shape)
    halved = isinstance(value, Value) and axis == 1 and len(sizes) == 2 and sizes[0] == sizes[1]
    return (Half(value, False), Half(value, True)) if halved else None


def _extreme(node: fx.Node, one: Any, other: Any, larger: bool) -> Value | Compared | None:
    """The larger or the smaller of two halves, or of a value and a threshold."""
    if isinstance(one, Half) and isinstance(other, Half):
        return Compared(one.of, larger) if one.of == other.of and one.second != other.second else None
    value, limit = (other, one) if isinstance(one, Tensor) else (one, other)
    if not isinstance(limit, Tensor):
        return None
    return _clamped(node, value, limit) if larger else _clamped(node, value, None, limit)


def _joined(node: fx.Node, parts: Sequence[Any], axis: int = 0) -> Value | None:
    """The larger outputs of pairs, and after them the smaller ones."""
    match parts:
        case [Compared(of=of, larger=True, limit=high), Compared(of=again, larger=False, limit=low)]:
            if axis % len(node.meta["val"].shape) != 1 or of != again:
                return None
            if high is None and low is None:
                return of.then(MaxMin())
            limits = math.inf if high is None else high, -math.inf if low is None else low
            return of.then(ClippedMaxMin(*map(_threshold, limits), learnable=False))
    return None


def _added(_: fx.Node, one: Any, other: Any, alpha: float = 1) -> Value | None:
    """x + block(x), in either order."""
    if alpha != 1 or not (isinstance(one, Value) and isinstance(other, Value)):
        return None
    start, end = sorted((one, other), key=lambda value: len(value.layers))
    count = len(start.layers)
    return start.then(Residual(nn.Sequential(*end.layers[count:]))) if end.layers[:count] == start.layers else None


def argument(node: fx.Node) -> Any:
    """What the program's example has for the first argument."""
    assert isinstance(node.args[0], fx.Node)
    return node.args[0].meta["val"]


def _threshold(value: Tensor | float) -> Tensor:
    """A number in float64, which has all of its digits."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def operation(name: str) -> Any:
    """The operation of torch.ops.aten of a name such as "relu.default"."""
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


aten = torch.ops.aten
JOINING: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((aten.clamp.default, aten.clamp.Tensor, aten.clamp_min.default, aten.clamp_min.Tensor), _clamped),
    **dict.fromkeys(
        (aten.clamp_max.default, aten.clamp_max.Tensor), lambda node, value, max: _clamped(node, value, None, max)
    ),
    aten.maximum.default: lambda node, one, other: _extreme(node, one, other, True),
    aten.minimum.default: lambda node, one, other: _extreme(node, one, other, False),
    **dict.fromkeys((aten.split.Tensor, aten.split_with_sizes.default), _halves),
    aten.cat.default: _joined,
    aten.add.Tensor: _added,
    **dict.fromkeys(map(operation, MEMORY.split()), lambda _, value, **memory: value),
}
"""By operation: what takes the node and all arguments, and returns what stands for the result; None as above."""
