"""How the operations of a torch.export program are read one after the other: as the layers that do the same."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from lliptools.nets.clips import Absolute
from lliptools.nets.joins import clip
from lliptools.nets.registry import ACTIVATIONS, ARITHMETIC, LINEAR, MEMORY, MOVES, OWN, PRODUCTS, RESHAPED
from lliptools.nets.steps import Entrywise
from lliptools.nets.values import argument, filled, operation

Layers = list[nn.Module]
Builder = Callable[..., Layers | None]
Kinds = dict[int, Any]  # layers by the axes of a sample, without its channels


def _linear(node: fx.Node, weight: Tensor, bias: Tensor | None = None) -> Layers:
    """A matrix, on the last of several axes too, as a convolution over the others."""
    width, (*others, features) = weight.shape, argument(node).shape[1:]
    if not others:
        return [filled(nn.Linear(features, width[0], bias is not None), weight=weight, bias=bias)]
    first = torch.arange(prod(others) * features).reshape(-1, features).T
    last = torch.arange(width[0] * prod(others)).reshape(width[0], *others).movedim(0, -1)
    ones = weight.new_ones(())
    middle = filled(nn.Conv1d(features, width[0], 1, bias=bias is not None), weight=weight[:, :, None], bias=bias)
    return [Entrywise(ones, index=first), middle, Entrywise(ones, index=last)]


def _convolving(kinds: Kinds, *names: str, spreads: bool = False) -> Builder:
    """A convolution: names of the options that follow weight and bias; spreads: whether axis 0 of weight is inputs."""

    def build(node: fx.Node, weight: Tensor, bias: Tensor | None = None, *given: Any) -> Layers | None:
        if len(node.meta["val"].shape) != weight.dim():  # a single image, whose channels stand where the batch should
            return None
        options = {name: _fixed(value) for name, value in zip(names, given, strict=False)}
        channels = [len(weight), weight.shape[1] * options.get("groups", 1)]
        channels = channels if spreads else channels[::-1]
        layer = kinds[weight.dim() - 2](*channels, _fixed(weight.shape[2:]), bias=bias is not None, **options)
        return [filled(layer, weight=weight, bias=bias)]

    return build


def _of_axes(kinds: Kinds, *names: str) -> Builder:
    """A layer for images and one for signals, with options of these names, of which an empty one is left out."""

    def build(node: fx.Node, *given: Any) -> Layers | None:
        options = {name: _fixed(value) for name, value in zip(names, given, strict=False) if value != []}
        kind = kinds.get(_axes(node))
        return None if kind is None else [kind(**options)]

    return build


def _normalised(node: fx.Node, weight: Any, bias: Any, mean: Tensor, variance: Tensor, *how: float) -> Layers | None:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}.get(len(node.meta["val"][0].shape))
    if kind is None:
        return None
    affine = {"weight": torch.ones_like(mean) if weight is None else weight}
    affine["bias"] = torch.zeros_like(mean) if bias is None else bias
    return [filled(kind(len(mean), how[1]), **affine, running_mean=mean, running_var=variance)]


def _padded(node: fx.Node, pads: Sequence[int], mode: str = "constant", value: float | None = None) -> Layers | None:
    kind = None if value or 2 * _axes(node) != len(pads) else PADS[mode].get(_axes(node))
    return None if kind is None else [kind(tuple(pads))]


def _mean(node: fx.Node, axes: Sequence[int], keepdim: bool = False) -> Layers | None:
    shape = argument(node).shape
    if len(shape) != 4 or sorted(axis % 4 for axis in axes) != [2, 3]:
        return None
    return [nn.AdaptiveAvgPool2d(1)] if keepdim else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _viewed(node: fx.Node, *_: object) -> Layers | None:
    """A reshaping of each sample, to the sizes of the example that the program was made with."""
    before, after = argument(node).shape, node.meta["val"].shape
    if min(len(before), len(after)) < 2:
        return None
    flatten: Layers = [] if len(before) == 2 else [nn.Flatten()]
    return flatten if len(after) == 2 else [*flatten, nn.Unflatten(1, tuple(after[1:]))]


def _hardtanh(_: fx.Node, low: float = -1.0, high: float = 1.0) -> Layers | None:
    found = clip(float(low), float(high))
    return None if found is None else [found]


def _axes(node: fx.Node) -> int:
    """Of a sample, without its channels: 2 for images, 1 for signals."""
    return len(node.meta["val"].shape) - 2


def _fixed(size: Any) -> Any:
    """An option as layers take it: sizes as a tuple."""
    return tuple(size) if isinstance(size, list | tuple) else size


PADS: dict[str, Kinds] = {
    "constant": {1: nn.ZeroPad1d, 2: nn.ZeroPad2d},
    "circular": {1: nn.CircularPad1d, 2: nn.CircularPad2d},
    "reflect": {1: nn.ReflectionPad1d, 2: nn.ReflectionPad2d},
    "replicate": {1: nn.ReplicationPad1d, 2: nn.ReplicationPad2d},
}
convolution = _convolving({1: nn.Conv1d, 2: nn.Conv2d}, "stride", "padding", "dilation", "groups")
window = ("kernel_size", "stride", "padding")
counted = ("ceil_mode", "count_include_pad", "divisor_override")
average = _of_axes({1: nn.AvgPool1d, 2: nn.AvgPool2d}, *window, *counted)
largest = _of_axes({1: nn.MaxPool1d, 2: nn.MaxPool2d}, *window, "dilation", "ceil_mode")
means = _of_axes({1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}, "output_size")
upsampled = _of_axes({1: nn.Upsample, 2: nn.Upsample}, "size", "scale_factor")
spread = ("stride", "padding", "output_padding", "groups", "dilation")
BUILDERS: dict[str, Builder] = {
    "linear.default": _linear,
    **dict.fromkeys(
        ("matmul.default", "mm.default"),
        lambda node, by: _linear(node, by.T) if isinstance(by, Tensor) and by.dim() == 2 else None,
    ),
    **dict.fromkeys(("conv1d.default", "conv1d.padding", "conv2d.default", "conv2d.padding"), convolution),
    "conv_transpose2d.input": _convolving({2: nn.ConvTranspose2d}, *spread, spreads=True),
    "_native_batch_norm_legit_no_training.default": _normalised,
    "pad.default": _padded,
    **dict.fromkeys(("avg_pool1d.default", "avg_pool2d.default"), average),
    **dict.fromkeys(("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default"), means),
    **dict.fromkeys(("upsample_nearest1d.vec", "upsample_nearest2d.vec"), upsampled),
    **dict.fromkeys(("max_pool1d.default", "max_pool2d.default"), largest),
    "mean.dim": _mean,
    "pixel_unshuffle.default": _of_axes({2: nn.PixelUnshuffle}, "downscale_factor"),
    **dict.fromkeys(RESHAPED.split(), _viewed),
    "hardtanh.default": _hardtanh,
    "elu.default": lambda _, alpha=1.0, scale=1.0, of=1.0: [nn.ELU(alpha)] if (scale, of) == (1, 1) else None,
    "prelu.default": lambda _, weight: [filled(nn.PReLU(weight.numel()), weight=weight.flatten())],
    "abs.default": lambda _: [Absolute()],
}
"""By operation: what takes the node and the arguments after the first, and returns the layers that follow the first;
None where no layer does the same. An operation that is not here has the arguments of its layer."""


def _builder(name: str, kind: Any) -> Builder:
    return BUILDERS.get(name) or (lambda _, *arguments, **named: [kind(*arguments, **named)])


CHAINED = {
    operation(name): _builder(name, kind)
    for kind, reading in (LINEAR | ACTIVATIONS).items()
    if reading.functions != MEMORY
    for name in reading.functions.split()
    if name in BUILDERS or (kind not in OWN and name not in f"{MOVES} {ARITHMETIC} {PRODUCTS}".split())
}
