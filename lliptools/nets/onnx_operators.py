"""The operators of ONNX as operations of torch.

Source: their definitions at onnx.ai/onnx/operators, those of the default domain up to opset 21.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["OPERATORS"]

F = nn.functional
CONVOLVE = {3: F.conv1d, 4: F.conv2d}
SPREAD = {3: F.conv_transpose1d, 4: F.conv_transpose2d}
AVERAGE = {3: F.avg_pool1d, 4: F.avg_pool2d}
LARGEST = {3: F.max_pool1d, 4: F.max_pool2d}
FLOATS = (1, 11)  # the types float and double, between which a Cast changes no number


def _whole(values: Any) -> list[int]:
    return [int(value) for value in np.asarray(values).flatten()]


def _sides(options: dict[str, Any], x: Tensor, kernel: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after every axis of an image."""
    axes, how = len(kernel), options.get("auto_pad", "NOTSET")
    pads = options.get("pads", [0] * 2 * axes)
    if how not in ("SAME_UPPER", "SAME_LOWER"):
        return list(zip(pads[:axes], pads[axes:], strict=True))
    strides, dilations = options.get("strides", [1] * axes), options.get("dilations", [1] * axes)
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


def _convolution(options: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x, padding = _padded(x, _sides(options, x, weight.shape[2:]))
    ones = [1] * len(padding)
    strides, dilations = options.get("strides", ones), options.get("dilations", ones)
    return CONVOLVE[x.dim()](x, weight, bias, strides, padding, dilations, options.get("group", 1))


def _transposed(options: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    sides, ones = _sides(options | {"auto_pad": "NOTSET"}, x, weight.shape[2:]), [1] * (x.dim() - 2)
    if any(before != after for before, after in sides) or {"output_shape", "auto_pad"} & options.keys():
        raise ValueError("sizes that are found from the output")
    padding, more = [before for before, _ in sides], options.get("output_padding", [0] * len(sides))
    strides, dilations = options.get("strides", ones), options.get("dilations", ones)
    return SPREAD[x.dim()](x, weight, bias, strides, padding, more, options.get("group", 1), dilations)


def _average(options: dict[str, Any], x: Tensor) -> Tensor:
    kernel, sides = options["kernel_shape"], _sides(options, x, options["kernel_shape"])
    counted = bool(options.get("count_include_pad", 0))
    if set(options.get("dilations", [1])) != {1} or (not counted and any(a != b for a, b in sides)):
        raise ValueError("dilated windows, or paddings that are not counted")
    x, padding = _padded(x, sides)
    strides = options.get("strides", [1] * len(kernel))
    return AVERAGE[x.dim()](x, kernel, strides, padding, bool(options.get("ceil_mode", 0)), counted)


def _largest(options: dict[str, Any], x: Tensor) -> Tensor:
    kernel = options["kernel_shape"]
    x, padding = _padded(x, _sides(options, x, kernel), -math.inf)
    ones = [1] * len(kernel)
    strides, dilations = options.get("strides", ones), options.get("dilations", ones)
    return LARGEST[x.dim()](x, kernel, strides, padding, dilations, bool(options.get("ceil_mode", 0)))


def _gemm(options: dict[str, Any], a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a, b = (a.T if options.get("transA") else a), (b.T if options.get("transB") else b)
    alpha, beta = options.get("alpha", 1.0), options.get("beta", 1.0)
    product = a @ b if alpha == 1 else alpha * (a @ b)
    return product if c is None else product + (c if beta == 1 else beta * c)


def _reshaped(options: dict[str, Any], x: Tensor, shape: Any) -> Tensor:
    sizes = _whole(shape)
    kept = not options.get("allowzero", 0)
    return x.reshape([x.shape[k] if kept and size == 0 else size for k, size in enumerate(sizes)])


def _flattened(options: dict[str, Any], x: Tensor) -> Tensor:
    return x.reshape(math.prod(x.shape[: options.get("axis", 1)]), -1)


def _pad(options: dict[str, Any], x: Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> Tensor:
    widths = _whole(options["pads"] if pads is None else pads)
    names = range(x.dim()) if axes is None else [axis % x.dim() for axis in _whole(axes)]
    sides = dict(zip(names, zip(widths[: len(widths) // 2], widths[len(widths) // 2 :], strict=True), strict=True))
    first = min((axis for axis, side in sides.items() if any(side)), default=x.dim())
    flat = [width for axis in range(x.dim() - 1, first - 1, -1) for width in sides.get(axis, (0, 0))]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    mode_of = mode[options.get("mode", "constant")]
    constant = float(options.get("value", 0.0) if value is None else value)
    if not flat:
        return x
    return F.pad(x, flat, mode_of, constant) if mode_of == "constant" else F.pad(x, flat, mode_of)


def _clip(options: dict[str, Any], x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    ends = (options.get("min") if low is None else float(low), options.get("max") if high is None else float(high))
    return x.clamp(*ends) if any(end is not None for end in ends) else x


def _axes(options: dict[str, Any], axes: Any) -> list[int] | None:
    given = options.get("axes") if axes is None else axes
    return None if given is None else _whole(given)


def _mean(options: dict[str, Any], x: Tensor, axes: Any = None) -> Tensor:
    return x.mean(_axes(options, axes) or list(range(x.dim())), keepdim=bool(options.get("keepdims", 1)))


def _total(options: dict[str, Any], x: Tensor, axes: Any = None) -> Tensor:
    return x.sum(_axes(options, axes) or list(range(x.dim())), keepdim=bool(options.get("keepdims", 1)))


def _sliced(options: dict[str, Any], x: Tensor, *given: Any) -> Tensor:
    """Starts, ends, axes and steps are inputs, or in old files options."""
    names = ("starts", "ends", "axes", "steps")
    parts = [_whole(part) if part is not None else None for part in (*given, *[None] * (4 - len(given)))]
    parts = [options.get(name) if part is None else part for name, part in zip(names, parts, strict=True)]
    starts, ends, axes, steps = parts
    assert starts is not None
    assert ends is not None
    for axis, start, end, step in zip(
        axes or range(len(starts)), starts, ends, steps or [1] * len(starts), strict=True
    ):
        index = torch.as_tensor(
            range(x.shape[axis])[slice(start, None if step < 0 and end < -x.shape[axis] else end, step)]
        )
        x = x.index_select(axis, index)
    return x


def _gathered(options: dict[str, Any], x: Tensor, index: Any) -> Tensor:
    axis = options.get("axis", 0)
    found = x.index_select(axis, torch.as_tensor([place % x.shape[axis] for place in _whole(index)]))
    if np.ndim(index) > 1:
        raise ValueError("indices of several axes")
    return found if np.ndim(index) else found.squeeze(axis)


def _split(options: dict[str, Any], x: Tensor, sizes: Any = None) -> Sequence[Tensor]:
    axis, given = options.get("axis", 0), options.get("split") if sizes is None else _whole(sizes)
    return x.split(given or -(-x.shape[axis] // options.get("num_outputs", 2)), axis)


def _unsqueezed(options: dict[str, Any], x: Tensor, axes: Any = None) -> Tensor:
    named = _axes(options, axes) or []
    for axis in sorted(axis % (x.dim() + len(named)) for axis in named):
        x = x.unsqueeze(axis)
    return x


def _squeezed(options: dict[str, Any], x: Tensor, axes: Any = None) -> Tensor:
    named = _axes(options, axes)
    return x.squeeze() if named is None else x.squeeze(named)


def _resized(options: dict[str, Any], x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None) -> Tensor:
    """Pixels repeated, as torch's exporter writes it."""
    how = [options.get(name) for name in ("mode", "coordinate_transformation_mode", "nearest_mode")]
    if how != ["nearest", "asymmetric", "floor"]:
        raise ValueError("only repetition, from the upper left")
    for axis in range(2, x.dim()):
        factor = _whole(sizes)[axis] / x.shape[axis] if sizes is not None else float(np.asarray(scales)[axis])
        places = [int(place / factor) for place in range(math.floor(x.shape[axis] * factor))]
        x = x.index_select(axis, torch.tensor(places))
    return x


def _depth_to_space(options: dict[str, Any], x: Tensor) -> Tensor:
    n, (b, c, h, w) = options["blocksize"], x.shape
    if options.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, n)
    return x.reshape(b, n, n, c // n**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, c // n**2, h * n, w * n)


def _space_to_depth(options: dict[str, Any], x: Tensor) -> Tensor:
    n, (b, c, h, w) = options["blocksize"], x.shape
    return x.reshape(b, c, h // n, n, w // n, n).permute(0, 3, 5, 1, 2, 4).reshape(b, c * n**2, h // n, w // n)


def _cast(options: dict[str, Any], x: Tensor) -> Tensor:
    if options["to"] not in FLOATS:
        raise ValueError("numbers that lose digits")
    return x


def _normalised(options: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    if options.get("training_mode", 0):
        raise ValueError("training mode")
    return F.batch_norm(x, mean, var, weight, bias, False, 0.0, options.get("epsilon", 1e-5))


def _folding(combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def fold(options: dict[str, Any], first: Any, *others: Any) -> Any:
        for other in others:
            first = combine(_tensor(first), _tensor(other))
        return first

    return fold


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
    "DepthToSpace": _depth_to_space,
    "Div": lambda _, x, y: _tensor(x) / _tensor(y),
    "Dropout": lambda _, x, *rest: x,
    "Elu": lambda options, x: F.elu(x, options.get("alpha", 1.0)),
    "Expand": lambda _, x, shape: x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(_whole(shape)))),
    "Flatten": _flattened,
    "Gather": _gathered,
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
    "PRelu": lambda _, x, slope: F.prelu(x, slope.flatten()),
    "Pad": _pad,
    "ReduceMean": _mean,
    "ReduceSum": _total,
    "Relu": lambda _, x: F.relu(x),
    "Reshape": _reshaped,
    "Resize": _resized,
    "Shape": lambda options, x: np.array(x.shape[options.get("start", 0) : options.get("end")]),
    "Selu": lambda options, x: (
        F.elu(x, options.get("alpha", 1.67326319217681884765625)) * options.get("gamma", 1.05070102214813232421875)
    ),
    "Sigmoid": lambda _, x: torch.sigmoid(x),
    "Slice": _sliced,
    "Softmax": lambda options, x: F.softmax(x, options.get("axis", -1)),
    "Softplus": lambda _, x: F.softplus(x, threshold=40.0),
    "Softsign": lambda _, x: F.softsign(x),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeezed,
    "Sub": lambda _, x, y: _tensor(x) - _tensor(y),
    "Sum": _folding(torch.add),
    "Tanh": lambda _, x: torch.tanh(x),
    "Tile": lambda _, x, repeats: x.repeat(_whole(repeats)),
    "Transpose": lambda options, x: x.permute(options.get("perm", list(range(x.dim()))[::-1])),
    "Unsqueeze": _unsqueezed,
}
"""By operator: what takes its options and its inputs, floating-point ones as tensors, and computes its outputs."""
