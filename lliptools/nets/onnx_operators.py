"""The operators of ONNX as operations of torch.

Source: their definitions at onnx.ai/onnx/operators, those of the default domain up to opset 21.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.nets import onnx_moves as moves

F = nn.functional
CONVOLVE = {3: F.conv1d, 4: F.conv2d}
SPREAD = {3: F.conv_transpose1d, 4: F.conv_transpose2d}
AVERAGE = {3: F.avg_pool1d, 4: F.avg_pool2d}
LARGEST = {3: F.max_pool1d, 4: F.max_pool2d}
FLOATS = (1, 11)  # the types float and double, between which a Cast changes no number


def _sides(options: dict[str, Any], x: Tensor, kernel: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after every axis of an image."""
    axes, how = len(kernel), options.get("auto_pad", "NOTSET")
    pads = options.get("pads", [0] * 2 * axes)
    if how not in ("SAME_UPPER", "SAME_LOWER"):
        return list(zip(pads[:axes], pads[axes:], strict=True))
    strides, dilations = _steps(options, axes)
    found = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if how == "SAME_UPPER" else (more, less))
    return found


def _padded(x: Tensor, sides: list[tuple[int, int]], value: float = 0.0) -> tuple[Tensor, list[int]]:
    """The image, padded where the sides differ, and the padding that is left to do on both sides alike."""
    if all(before == after for before, after in sides):
        return x, [before for before, _ in sides]
    return F.pad(x, [width for pair in reversed(sides) for width in pair], value=value), [0] * len(sides)


def _steps(options: dict[str, Any], axes: int) -> tuple[list[int], list[int]]:
    return options.get("strides", [1] * axes), options.get("dilations", [1] * axes)


def _convolution(options: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x, padding = _padded(x, _sides(options, x, weight.shape[2:]))
    strides, dilations = _steps(options, len(padding))
    return CONVOLVE[x.dim()](x, weight, bias, strides, padding, dilations, options.get("group", 1))


def _transposed(options: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    sides = _sides(options | {"auto_pad": "NOTSET"}, x, weight.shape[2:])
    if any(before != after for before, after in sides) or {"output_shape", "auto_pad"} & options.keys():
        raise ValueError("sizes that are found from the output")
    padding, more = [before for before, _ in sides], options.get("output_padding", [0] * len(sides))
    strides, dilations = _steps(options, len(sides))
    return SPREAD[x.dim()](x, weight, bias, strides, padding, more, options.get("group", 1), dilations)


def _average(options: dict[str, Any], x: Tensor) -> Tensor:
    kernel, sides = options["kernel_shape"], _sides(options, x, options["kernel_shape"])
    counted = bool(options.get("count_include_pad", 0))
    if set(options.get("dilations", [1])) != {1} or (not counted and any(a != b for a, b in sides)):
        raise ValueError("dilated windows, or paddings that are not counted")
    x, padding = _padded(x, sides)
    strides, ceil = _steps(options, len(kernel))[0], bool(options.get("ceil_mode", 0))
    return AVERAGE[x.dim()](x, kernel, strides, padding, ceil, counted)


def _largest(options: dict[str, Any], x: Tensor) -> Tensor:
    kernel = options["kernel_shape"]
    x, padding = _padded(x, _sides(options, x, kernel), -math.inf)
    strides, dilations = _steps(options, len(kernel))
    return LARGEST[x.dim()](x, kernel, strides, padding, dilations, bool(options.get("ceil_mode", 0)))


def _gemm(options: dict[str, Any], a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a, b = (a.T if options.get("transA") else a), (b.T if options.get("transB") else b)
    alpha, beta = options.get("alpha", 1.0), options.get("beta", 1.0)
    product = a @ b if alpha == 1 else alpha * (a @ b)
    return product if c is None else product + (c if beta == 1 else beta * c)


def _clip(options: dict[str, Any], x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    ends = (options.get("min") if low is None else float(low), options.get("max") if high is None else float(high))
    return x.clamp(*ends) if any(end is not None for end in ends) else x


def _reducing(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduced(options: dict[str, Any], x: Tensor, axes: Any = None) -> Tensor:
        named = moves.axes_of(options, axes)
        if not named and options.get("noop_with_empty_axes", 0):
            return x
        return function(x, named or list(range(x.dim())), keepdim=bool(options.get("keepdims", 1)))

    return reduced


def _prelu(_: dict[str, Any], x: Tensor, slope: Tensor) -> Tensor:
    """The slope broadcasts from the last axis: one number, or one per channel where the channels' axis is its own."""
    shape = (1,) * (x.dim() - slope.dim()) + tuple(slope.shape)
    if slope.numel() != 1 and shape != (1, x.shape[1], *(1 for _ in x.shape[2:])):
        raise ValueError(f"slopes {tuple(slope.shape)} for {tuple(x.shape)}, which are not one or one per channel")
    return F.prelu(x, slope.flatten())


def _cast(options: dict[str, Any], x: Tensor) -> Tensor:
    if options["to"] not in FLOATS:
        raise ValueError("numbers that lose digits")
    return x


def _normalised(options: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    if options.get("training_mode", 0) or not options.get("spatial", 1):
        raise ValueError("training mode, or statistics per entry")
    return F.batch_norm(x, mean, var, weight, bias, False, 0.0, options.get("epsilon", 1e-5))


def _folding(combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda options, *values: reduce(combine, map(_tensor, values))


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.as_tensor(value)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": lambda _, x: x.abs(),
    "Add": lambda _, x, y: _tensor(x) + _tensor(y),
    "AveragePool": _average,
    "BatchNormalization": _normalised,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda options, *parts: torch.cat([_tensor(part) for part in parts], options["axis"]),
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "DepthToSpace": moves.depth_to_space,
    "Div": lambda _, x, y: _tensor(x) / _tensor(y),
    "Dropout": lambda _, x, *rest: x,
    "Elu": lambda options, x: F.elu(x, options.get("alpha", 1.0)),
    "Expand": lambda _, x, shape: x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(moves.whole(shape)))),
    "Flatten": lambda options, x: x.reshape(math.prod(x.shape[: options.get("axis", 1)]), -1),
    "Gather": moves.gathered,
    "Gelu": lambda options, x: F.gelu(x, approximate=options.get("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: x.mean(list(range(2, x.dim())), keepdim=True),
    "HardSwish": lambda _, x: F.hardswish(x),
    "Identity": lambda _, x: x,
    "LeakyRelu": lambda options, x: F.leaky_relu(x, options.get("alpha", 0.01)),
    "LogSoftmax": lambda options, x: F.log_softmax(x, options.get("axis", -1)),
    "MatMul": lambda _, x, y: x @ y,
    "Max": _folding(torch.maximum),
    "MaxPool": _largest,
    "Min": _folding(torch.minimum),
    "Mish": lambda _, x: F.mish(x),
    "Mul": lambda _, x, y: _tensor(x) * _tensor(y),
    "Neg": lambda _, x: -x,
    "PRelu": _prelu,
    "Pad": moves.padded,
    "ReduceMean": _reducing(torch.mean),
    "ReduceSum": _reducing(torch.sum),
    "Relu": lambda _, x: F.relu(x),
    "Reshape": moves.reshaped,
    "Resize": moves.resized,
    "Shape": lambda options, x: np.array(x.shape[options.get("start", 0) : options.get("end")]),
    "Selu": lambda options, x: (
        F.elu(x, options.get("alpha", 1.67326319217681884765625)) * options.get("gamma", 1.05070102214813232421875)
    ),
    "Sigmoid": lambda _, x: torch.sigmoid(x),
    "Slice": moves.sliced,
    "Softmax": lambda options, x: F.softmax(x, options.get("axis", -1)),
    "Softplus": lambda _, x: F.softplus(x, threshold=40.0),
    "Softsign": lambda _, x: F.softsign(x),
    "SpaceToDepth": moves.space_to_depth,
    "Split": moves.split,
    "Squeeze": moves.squeezed,
    "Sub": lambda _, x, y: _tensor(x) - _tensor(y),
    "Sum": _folding(torch.add),
    "Tanh": lambda _, x: torch.tanh(x),
    "Tile": lambda _, x, repeats: x.repeat(moves.whole(repeats)),
    "Transpose": lambda options, x: x.permute(options.get("perm", list(range(x.dim()))[::-1])),
    "Unsqueeze": moves.unsqueezed,
}
"""By operator: what takes its options and its inputs, floating-point ones as tensors, and computes its outputs."""
