"""How the operations of a torch.export program are read one after the other: as the layers that do the same."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from lliptools.nets.clips import Absolute
from lliptools.nets.entrywise import Entrywise
from lliptools.nets.joins import clip
from lliptools.nets.registry import ACTIVATIONS, ARITHMETIC, LINEAR, MEMORY, MOVES, OWN, PRODUCTS
from lliptools.nets.values import argument, operation

__all__ = ["CHAINED"]

Layers = list[nn.Module]


def _linear(node: fx.Node, weight: Tensor, bias: Tensor | None = None) -> Layers:
    """A matrix, on the last of several axes too, as a convolution over the others."""
    width, (*others, features) = weight.shape, argument(node).shape[1:]
    if not others:
        return _filled(nn.Linear(features, width[0], bias is not None), weight=weight, bias=bias)
    first = torch.arange(prod(others) * features).reshape(-1, features).T
    last = torch.arange(width[0] * prod(others)).reshape(width[0], *others).movedim(0, -1)
    ones = weight.new_ones(())
    middle = _filled(nn.Conv1d(features, width[0], 1, bias=bias is not None), weight=weight[:, :, None], bias=bias)
    return [Entrywise(ones, index=first), *middle, Entrywise(ones, index=last)]


def _product(node: fx.Node, weight: Any) -> Layers | None:
    """A value times a matrix."""
    return _linear(node, weight.T) if isinstance(weight, Tensor) and weight.dim() == 2 else None


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
    kinds: dict[tuple[str, int], Any] = {
        ("constant", 2): nn.ZeroPad2d,
        ("constant", 1): nn.ZeroPad1d,
        ("circular", 2): nn.CircularPad2d,
        ("circular", 1): nn.CircularPad1d,
        ("reflect", 2): nn.ReflectionPad2d,
        ("reflect", 1): nn.ReflectionPad1d,
        ("replicate", 2): nn.ReplicationPad2d,
        ("replicate", 1): nn.ReplicationPad1d,
    }
    kind = None if value or 2 * _axes(node) != len(pads) else kinds.get((mode, _axes(node)))
    return None if kind is None else [kind(tuple(pads))]


def _averaged(node: fx.Node, kernel: Any, stride: Any = None, padding: Any = 0, *how: Any) -> Layers | None:
    kind: Any = {1: nn.AvgPool1d, 2: nn.AvgPool2d}.get(_axes(node))
    return None if kind is None else [kind(_fixed(kernel), _fixed(stride or kernel), _fixed(padding), *how)]


def _pooled(
    node: fx.Node, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Layers | None:
    kind: Any = {1: nn.MaxPool1d, 2: nn.MaxPool2d}.get(_axes(node))
    sizes = map(_fixed, (kernel, stride or kernel, padding, dilation))
    return None if kind is None else [kind(*sizes, ceil_mode=ceil_mode)]


def _averaged_to(node: fx.Node, size: Sequence[int]) -> Layers | None:
    kind: Any = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}.get(_axes(node))
    return None if kind is None else [kind(tuple(size) if len(size) > 1 else size[0])]


def _upsampled(node: fx.Node, size: Any, scale: Any = None) -> Layers | None:
    return [nn.Upsample(size and tuple(size), scale and tuple(scale))]


def _mean(node: fx.Node, axes: Sequence[int], keepdim: bool = False) -> Layers | None:
    """The mean of each channel of an image."""
    shape = argument(node).shape
    if len(shape) != 4 or sorted(axis % 4 for axis in axes) != [2, 3]:
        return None
    return [nn.AdaptiveAvgPool2d(1)] if keepdim else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _unshuffled(node: fx.Node, factor: int) -> Layers | None:
    return [nn.PixelUnshuffle(factor)] if _is_image(node) else None


def _viewed(node: fx.Node, *_: object) -> Layers | None:
    """A reshaping of each sample, to the sizes of the example that the program was made with."""
    before, after = argument(node).shape, node.meta["val"].shape
    if min(len(before), len(after)) < 2:
        return None
    flatten: Layers = [] if len(before) == 2 else [nn.Flatten()]
    return flatten if len(after) == 2 else [*flatten, nn.Unflatten(1, tuple(after[1:]))]


def _elu(_: fx.Node, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Layers | None:
    return [nn.ELU(alpha)] if (scale, input_scale) == (1, 1) else None


def _prelu(_: fx.Node, weight: Tensor) -> Layers:
    return _filled(nn.PReLU(weight.numel()), weight=weight.flatten())


def _hardtanh(_: fx.Node, low: float = -1.0, high: float = 1.0) -> Layers | None:
    found = clip(float(low), float(high))
    return None if found is None else [found]


def _axes(node: fx.Node) -> int:
    """Of a sample, without its channels: 2 for images, 1 for signals."""
    return len(node.meta["val"].shape) - 2


def _is_image(node: fx.Node) -> bool:
    """Whether the operation makes a batch of images, and not a single one with channels in the batch's place."""
    return len(node.meta["val"].shape) == 4


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


BUILDERS: dict[str, Callable[..., Layers | None]] = {
    "linear.default": _linear,
    "matmul.default": _product,
    "mm.default": _product,
    **dict.fromkeys(("conv1d.default", "conv1d.padding", "conv2d.default", "conv2d.padding"), _convolution),
    "conv_transpose2d.input": _transposed,
    "_native_batch_norm_legit_no_training.default": _normalised,
    "pad.default": _padded,
    "avg_pool2d.default": _averaged,
    "avg_pool1d.default": _averaged,
    "adaptive_avg_pool1d.default": _averaged_to,
    "adaptive_avg_pool2d.default": _averaged_to,
    "upsample_nearest1d.vec": _upsampled,
    "upsample_nearest2d.vec": _upsampled,
    "max_pool1d.default": _pooled,
    "max_pool2d.default": _pooled,
    "mean.dim": _mean,
    "pixel_unshuffle.default": _unshuffled,
    "view.default": _viewed,
    "_unsafe_view.default": _viewed,
    "hardtanh.default": _hardtanh,
    "elu.default": _elu,
    "prelu.default": _prelu,
    "abs.default": lambda _: [Absolute()],
}
"""By operation: what takes the node and the arguments after the first, and returns the layers that follow the first;
None where no layer does the same. An operation that is not here has the arguments of its layer."""


def _builder(name: str, kind: Any) -> Callable[..., Layers | None]:
    return BUILDERS.get(name) or (lambda _, *arguments, **named: [kind(*arguments, **named)])


CHAINED = {
    operation(name): _builder(name, kind)
    for kind, reading in (LINEAR | ACTIVATIONS).items()
    if reading.functions != MEMORY
    for name in reading.functions.split()
    if name in BUILDERS or (kind not in OWN and name not in f"{MOVES} {ARITHMETIC} {PRODUCTS}".split())
}
