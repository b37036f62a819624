"""How the operations of a torch.export program are read: as the layers that do the same."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from lliptools.nets.clips import ClippedReLU
from lliptools.nets.pairs import ClippedMaxMin, MaxMin
from lliptools.nets.registry import ACTIVATIONS, LINEAR, MEMORY, OWN
from lliptools.nets.residual import Residual

__all__ = ["CHAINED", "JOINING", "Compared", "Half", "Value"]

aten = torch.ops.aten
Limit = Tensor | float | None
Layers = list[nn.Module]


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


def _linear(_: fx.Node, weight: Tensor, bias: Tensor | None = None) -> Layers:
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias is not None), weight=weight, bias=bias)


def _convolution(
    node: fx.Node,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Layers | None:
    if len(node.meta["val"].shape) != weight.dim():  # a single image, whose channels stand where the batch should
        return None
    kind: Any = nn.Conv1d if weight.dim() == 3 else nn.Conv2d
    sizes = map(_fixed, (weight.shape[2:], stride, padding, dilation))
    layer = kind(weight.shape[1] * groups, weight.shape[0], *sizes, groups=groups, bias=bias is not None)
    return _filled(layer, weight=weight, bias=bias)


def _transposed(
    node: fx.Node,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Layers | None:
    if not _is_image(node):
        return None
    kind: Any = nn.ConvTranspose2d
    sizes = map(_fixed, (weight.shape[2:], stride, padding, output_padding))
    layer = kind(
        *(weight.shape[0], weight.shape[1] * groups, *sizes),
        groups=groups,
        dilation=_fixed(dilation),
        bias=bias is not None,
    )
    return _filled(layer, weight=weight, bias=bias)


def _normalised(
    node: fx.Node,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    _momentum: float,
    eps: float,
) -> Layers:
    """By statistics that were kept."""
    kind: Any = nn.BatchNorm2d if len(node.meta["val"][0].shape) == 4 else nn.BatchNorm1d
    affine = {"weight": torch.ones_like(mean) if weight is None else weight}
    affine["bias"] = torch.zeros_like(mean) if bias is None else bias
    return _filled(kind(len(mean), eps), **affine, running_mean=mean, running_var=variance)


def _padded(node: fx.Node, pads: Sequence[int], mode: str = "constant", value: float | None = None) -> Layers | None:
    kinds: dict[str, Any] = {"constant": nn.ZeroPad2d, "circular": nn.CircularPad2d}
    known = _is_image(node) and len(pads) == 4 and mode in kinds and not value
    return [kinds[mode](tuple(pads))] if known else None


def _averaged(node: fx.Node, kernel: Any, stride: Any = None, padding: Any = 0, *how: Any) -> Layers | None:
    kind: Any = nn.AvgPool2d
    return [kind(_fixed(kernel), _fixed(stride or kernel), _fixed(padding), *how)] if _is_image(node) else None


def _averaged_to(node: fx.Node, size: Sequence[int]) -> Layers | None:
    return [nn.AdaptiveAvgPool2d((size[0], size[1]))] if _is_image(node) else None


def _mean(node: fx.Node, axes: Sequence[int], keepdim: bool = False) -> Layers | None:
    """The mean of each channel of an image."""
    shape = _argument(node).shape
    if len(shape) != 4 or sorted(axis % 4 for axis in axes) != [2, 3]:
        return None
    return [nn.AdaptiveAvgPool2d(1)] if keepdim else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _unshuffled(node: fx.Node, factor: int) -> Layers | None:
    return [nn.PixelUnshuffle(factor)] if _is_image(node) else None


def _viewed(node: fx.Node, *_: object) -> Layers | None:
    """A reshaping of each sample, to the sizes of the example that the program was made with."""
    before, after = _argument(node).shape, node.meta["val"].shape
    if min(len(before), len(after)) < 2:
        return None
    flatten: Layers = [] if len(before) == 2 else [nn.Flatten()]
    return flatten if len(after) == 2 else [*flatten, nn.Unflatten(1, tuple(after[1:]))]


def _elu(_: fx.Node, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Layers | None:
    return [nn.ELU(alpha)] if (scale, input_scale) == (1, 1) else None


def _hardtanh(_: fx.Node, low: float = -1.0, high: float = 1.0) -> Layers | None:
    clip = _clip(float(low), float(high))
    return None if clip is None else [clip]


BUILDERS: dict[str, Callable[..., Layers | None]] = {
    "linear.default": _linear,
    **dict.fromkeys(("conv1d.default", "conv1d.padding", "conv2d.default", "conv2d.padding"), _convolution),
    "conv_transpose2d.input": _transposed,
    "_native_batch_norm_legit_no_training.default": _normalised,
    "pad.default": _padded,
    "avg_pool2d.default": _averaged,
    "adaptive_avg_pool2d.default": _averaged_to,
    "mean.dim": _mean,
    "pixel_unshuffle.default": _unshuffled,
    "view.default": _viewed,
    "hardtanh.default": _hardtanh,
    "elu.default": _elu,
}
"""By operation: what takes the node and the arguments after the first, and returns the layers that follow the first;
None where no layer does the same. An operation that is not here has the arguments of its layer."""


def _operation(name: str) -> Any:
    packet, overload = name.split(".")
    return getattr(getattr(aten, packet), overload)


def _builder(name: str, kind: Any) -> Callable[..., Layers | None]:
    return BUILDERS.get(name) or (lambda _, *arguments, **named: [kind(*arguments, **named)])


CHAINED = {
    _operation(name): _builder(name, kind)
    for kind, reading in (LINEAR | ACTIVATIONS).items()
    if kind not in OWN and reading.functions is not MEMORY
    for name in reading.functions
}


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
    clip = None if low is None else _clip(low, high)
    return None if clip is None else value.then(clip)


def _clip(low: Tensor | float, high: Limit) -> nn.Module | None:
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
    axis %= len(_argument(node).shape)
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
    **dict.fromkeys(map(_operation, MEMORY), lambda _, value, **memory: value),
}
"""By operation: what takes the node and all arguments, and returns what stands for the result; None as above."""


def _argument(node: fx.Node) -> Any:
    """What the program's example has for the first argument."""
    assert isinstance(node.args[0], fx.Node)
    return node.args[0].meta["val"]


def _is_image(node: fx.Node) -> bool:
    """Whether the operation makes a batch of images, and not a single one with channels in the batch's place."""
    return len(node.meta["val"].shape) == 4


def _threshold(value: Tensor | float) -> Tensor:
    """A number in float64, which has all of its digits."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def _fixed(size: Any) -> Any:
    """A size as layers take it: a number, a word, or a tuple of numbers."""
    return size if isinstance(size, int | str) else tuple(size)


def _filled(layer: nn.Module, **tensors: Tensor | None) -> Layers:
    """The layer with copies of these tensors, in their precision; what they leave out is a counter."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    left = layer.to(next(iter(given.values()))).load_state_dict(given, strict=False)
    assert not left.unexpected_keys
    assert {*left.missing_keys} <= {"num_batches_tracked"}
    return [layer]
