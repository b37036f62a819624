"""How a torch.export program is read where values meet: constants, thresholds, pairs, sums, concatenations."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from lliptools.nets.clips import Absolute, ClippedReLU
from lliptools.nets.pairs import ClippedMaxMin, MaxMin
from lliptools.nets.registry import MEMORY
from lliptools.nets.steps import Entrywise
from lliptools.nets.values import Value, common_layers, entrywise, operation, places, product, rearranged, total, wide

Limit = Tensor | float | None


@dataclass(frozen=True)
class Half(Value):
    """The first or the second half of another value's channels."""

    of: Value = field(default_factory=Value)
    second: bool = False


@dataclass(frozen=True)
class Compared(Value):
    """The larger or the smaller of the two halves; the larger clipped from above, the smaller from below."""

    of: Value = field(default_factory=Value)
    larger: bool = True
    limit: Limit = None


def _clamped(node: fx.Node, value: Any, min: Limit = None, max: Limit = None) -> Value | None:
    """A clipped activation, or the limit of one of a pair's outputs."""
    low, high = _of_a_sample(node, min), _of_a_sample(node, max)
    if isinstance(value, Compared) and value.limit is None:
        used, other = (high, low) if value.larger else (low, high)
        if other is None:
            return _compared(value.of, value.larger, used)
    if not isinstance(value, Value):
        return None
    kept = value.layers[-1:]
    if low is None and kept and type(kept[0]) is nn.ReLU and (found := clip(0.0, high)) is not None:
        return Value(value.layers[:-1], value.shape).then(found)
    found = None if low is None else clip(low, high)
    if found is not None:
        return value.then(found)
    for limit, sign in ((low, 1.0), (high, -1.0)):  # z -> low + relu(z - low), then z -> high - relu(high - z)
        if limit is not None and not (isinstance(limit, float) and math.isinf(limit)):
            before = entrywise(node, value, sign, -sign * wide(limit))
            after = before and entrywise(node, before.then(nn.ReLU()), sign, limit)
            if after is None:
                return None
            value = after
    return value


def clip(low: Tensor | float, high: Limit) -> nn.Module | None:
    """min(max(z, low), high) as a layer; None where it takes several."""
    if isinstance(low, float) and isinstance(high, float) and -math.inf < low < high < math.inf:
        return nn.Hardtanh(low, high)
    if _as_tensor(low).any():
        return None
    if high is None or (isinstance(high, float) and high == math.inf):
        return nn.ReLU()
    high = _as_tensor(high)
    return ClippedReLU(high, learnable=False) if (high >= 0).all() else None


def _as_tensor(value: Tensor | float) -> Tensor:
    return value if isinstance(value, Tensor) else wide(value)


def _of_a_sample(node: fx.Node, limit: Limit) -> Limit:
    """A threshold without the axis of the batch; a number where it is one."""
    if limit is None or isinstance(limit, int | float) or limit.numel() == 1:
        return limit if limit is None else float(limit)
    return limit[0] if limit.dim() == len(node.meta["val"].shape) and len(limit) == 1 else limit


def _compared(of: Value, larger: bool, limit: Limit = None) -> Compared:
    """The larger or the smaller of the halves of a value, as a value."""
    size = prod(of.shape) // 2
    half = of.shape[0] // 2, *of.shape[1:]
    pairs: nn.Module = MaxMin()
    if limit is not None:
        limits = (limit, -math.inf) if larger else (math.inf, limit)
        pairs = ClippedMaxMin(*map(_as_tensor, limits), learnable=False)
    index = torch.arange(size).reshape(half) + (0 if larger else size)
    layers = (*of.layers, pairs, Entrywise(torch.ones(()).double(), index=index))
    return Compared(layers, half, of, larger, limit)


def _extreme(node: fx.Node, one: Any, other: Any, larger: bool) -> Value | None:
    """The larger or the smaller of two values, or of a value and a threshold."""
    if isinstance(one, Value) and isinstance(other, Value):
        if isinstance(one, Half) and isinstance(other, Half) and one.of == other.of and one.second != other.second:
            return _compared(one.of, larger)
        both = rearranged([one, other], torch.cat(places([one, other], 1), dim=1)) if one.shape == other.shape else None
        return both and _compared(both, larger)
    value, limit = (other, one) if isinstance(one, Tensor) else (one, other)
    if not isinstance(limit, Tensor):
        return None
    return _clamped(node, value, limit) if larger else _clamped(node, value, None, limit)


def _joined(node: fx.Node, parts: Sequence[Any], axis: int = 0) -> Value | None:
    """The larger outputs of pairs, and after them the smaller ones."""
    axis = axis % len(node.meta["val"].shape) - 1
    match parts:
        case [Compared(of=of, larger=True, limit=high), Compared(of=again, larger=False, limit=low)] if of == again:
            if axis == 0 and high is None and low is None:
                return of.then(MaxMin())
            if axis == 0:
                limits = math.inf if high is None else high, -math.inf if low is None else low
                return of.then(ClippedMaxMin(*map(_as_tensor, limits), learnable=False))
    return None


def _added(node: fx.Node, one: Any, other: Any, alpha: float = 1, sign: float = 1) -> Value | None:
    """one + sign · alpha · other, of two values or of a value and a constant."""
    factor = sign * alpha
    if isinstance(one, Value):
        if not isinstance(other, Value):
            return entrywise(node, one, 1.0, factor * wide(other))
        out = tuple(node.meta["val"].shape[1:])
        first = one if one.shape == out else entrywise(node, one, 1.0, None)
        second = other if (other.shape, factor) == (out, 1) else entrywise(node, other, factor, None)
        return total(first, second) if first and second else None
    return entrywise(node, other, factor, one)


def _times(node: fx.Node, one: Any, other: Any) -> Value | None:
    """A value times a constant, or times its own gate, in either order."""
    if isinstance(one, Value) and isinstance(other, Value):
        value, gate = sorted((one, other), key=lambda each: len(each.layers))
        kinds = tuple(type(layer) for layer in gate.layers[len(value.layers) :])
        if common_layers([value, gate]) != value.layers:
            return None
        if kinds == (nn.Sigmoid,):
            return value.then(nn.SiLU())
        if kinds == (nn.Softplus, nn.Tanh):
            softplus: Any = gate.layers[-2]  # it jumps at its threshold; from 20 on tanh is 1 in float64 behind it
            return value.then(nn.Mish()) if softplus.beta == 1 and softplus.threshold >= 20 else None
        return None
    value, factor = (one, other) if isinstance(one, Value) else (other, one)
    return None if isinstance(factor, Value) else entrywise(node, value, factor, None)


def _affine(node: fx.Node, bias: Any, value: Any, weight: Any, *, beta: float = 1, alpha: float = 1) -> Value | None:
    fits = isinstance(value, Value) and not isinstance(weight, Value) and not isinstance(bias, Value)
    if not fits or (beta, alpha) != (1, 1) or len(value.shape) != 1:
        return None
    return entrywise(node, product(value, weight.T), 1.0, bias)


def _divided(node: fx.Node, value: Any, by: Any) -> Value | None:
    """A value by a constant, or z / (|z| + 1)."""
    if isinstance(value, Value) and isinstance(by, Value):
        match by.layers[len(value.layers) :]:
            case (Absolute(), Entrywise(index=None, weight=one, bias=other)) if (one == 1).all() and (other == 1).all():
                return value.then(nn.Softsign()) if common_layers([value, by]) == value.layers else None
    by = None if isinstance(by, Value) or not isinstance(value, Value) else wide(by)
    return None if by is None or not by.all() else entrywise(node, value, 1 / by, None)


aten = torch.ops.aten
JOINING: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((aten.clamp.default, aten.clamp.Tensor, aten.clamp_min.default, aten.clamp_min.Tensor), _clamped),
    **dict.fromkeys(
        (aten.clamp_max.default, aten.clamp_max.Tensor), lambda node, value, max: _clamped(node, value, None, max)
    ),
    aten.maximum.default: lambda node, one, other: _extreme(node, one, other, True),
    aten.minimum.default: lambda node, one, other: _extreme(node, one, other, False),
    aten.cat.default: _joined,
    aten.add.Tensor: _added,
    aten.sub.Tensor: lambda node, one, other, alpha=1: _added(node, one, other, alpha, -1),
    aten.rsub.Scalar: lambda node, one, other, alpha=1: _added(node, other, one, alpha, -1),
    aten.mul.Tensor: _times,
    aten.div.Tensor: _divided,
    aten.addmm.default: _affine,
    aten.neg.default: lambda node, value: _times(node, value, -1.0),
    **dict.fromkeys(map(operation, MEMORY.split()), lambda _, value, **memory: value),
}
"""By operation: what takes the node and all arguments, and returns what stands for the result; None as above."""
