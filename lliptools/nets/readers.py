"""torch's linear layers, read as operators: each reader takes a layer, its name, the shape of a sample, a precision."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.composition import SMALLEST
from lliptools.nets.linear import TINY, UNIT, LinearMap
from lliptools.nets.operators import Convolution, Dense, Gather, Operator, Scale, Shape, Transposed, selection
from lliptools.nets.steps import Entrywise


def read_unchanged(layer: nn.Module, name: str, shape: Shape, dtype: torch.dtype) -> Shape:
    """Nothing is done to a sample."""
    return shape


def read_shape(layer: nn.Module, name: str, shape: Shape, dtype: torch.dtype) -> Shape:
    """The new shape, where a layer does nothing but reshape."""
    try:
        return tuple(layer(torch.empty(1, *shape)).shape[1:])
    except RuntimeError as error:
        why = "samples of another size", "check the shape that comes out of the layer before it"
        raise InvalidInput(f"samples that {name} can reshape: {layer}", f"shape {shape}", *why) from error


def read_dense(layer: nn.Linear, name: str, shape: Shape, dtype: torch.dtype) -> LinearMap:
    """A matrix, on flat samples."""
    if len(shape) != 1:
        why = "images given to a dense network", "put torch.nn.Flatten() first, or pass x.flatten(1)"
        raise InvalidInput(f"flat samples before {name}", f"samples of shape {shape}", *why)
    check_width(name, layer.in_features, shape[0])
    return LinearMap.of(Dense(_copied(layer.weight, dtype), shape), _copied(layer.bias, dtype))


def read_entrywise(layer: Entrywise, name: str, shape: Shape, dtype: torch.dtype) -> LinearMap:
    """One factor per channel where that is all; else one per output. A reciprocal may be rounded."""
    weight, bias, index = _copied(layer.weight, dtype), _copied(layer.bias, dtype), layer.index
    out = shape if index is None else tuple(index.shape)
    if index is None and (weight == 1).all():
        return replace(LinearMap.identity(shape, bias), bias=bias.expand(out).clone())
    each = weight.expand(out).reshape(out[0], -1)
    operator: Operator
    if index is None and (each == each[:, :1]).all():
        operator = Scale(each[:, 0].clone(), shape)
    else:
        index = torch.arange(prod(shape), device=weight.device).reshape(shape) if index is None else index.clone()
        operator = Gather(weight.expand(out).clone()[..., None], shape, index.reshape(-1, 1))
    rounded = 0.0 if ((weight == 0) | (weight.abs() == 1)).all() else 2 * UNIT
    error = (2 * UNIT * bias.detach().abs()).expand(out) if rounded else 0.0
    return replace(LinearMap.of(operator, None, rounded), bias=bias.expand(out).clone(), bias_error=error)


def read_normalisation(
    layer: nn.BatchNorm1d | nn.BatchNorm2d, name: str, shape: Shape, dtype: torch.dtype
) -> LinearMap:
    """One factor and one shift per channel, by the statistics that were kept; what rounds them is counted."""
    check_width(name, layer.num_features, shape[0])
    axes = 1 if isinstance(layer, nn.BatchNorm1d) else 2
    if len(shape) != axes + 1 and (len(shape), axes) != (1, 1):
        raise _other_shape(name, layer.num_features, axes, shape)
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None
    assert variance is not None
    factor = (variance.detach().double() + layer.eps).rsqrt()
    shift = -mean.detach().double() * factor
    if layer.weight is not None:
        factor, shift = factor * _copied(layer.weight, torch.float64), shift * _copied(layer.weight, torch.float64)
    # What underflow takes of a shift is counted; a factor that it takes to 0 would leave nothing to count by.
    size = shift.detach().abs() + TINY
    if layer.bias is not None:
        shift = shift + _copied(layer.bias, torch.float64)
        size = size + layer.bias.detach().double().abs()
    known = (factor.abs() >= SMALLEST) | (layer.weight == 0 if layer.weight is not None else False)
    if not (factor.isfinite() & shift.isfinite() & known).all():
        why = "a variance next to 0, or weights that exploded or vanished", "look at its running_var and weight"
        raise InvalidInput(f"statistics for {name}", f"one that is not finite, or below {SMALLEST:g}", *why)
    found = LinearMap.of(Scale(factor.to(dtype), shape), shift, 8 * UNIT)
    return replace(found, bias_error=(8 * UNIT * size + TINY).to(dtype).view(found.bias.shape))


def read_convolution(
    layer: nn.Conv1d | nn.Conv2d, name: str, shape: Shape, dtype: torch.dtype
) -> LinearMap | list[LinearMap]:
    """A convolution, padded with zeros, around, or with pixels of the border before it."""
    kernel, dilation = tuple(layer.weight.shape[2:]), layer.dilation  # not kernel_size, which forward does not look at
    check_images(name, shape, len(kernel), layer.weight.shape[1] * layer.groups)
    if layer.padding_mode == "circular":
        # What forward pads by, whatever padding says: the last axis first, before and after.
        widths = layer._reversed_padding_repeated_twice
        pads = tuple((widths[k], widths[k + 1]) for k in range(len(widths) - 2, -1, -2))
    elif layer.padding == "same":
        # torch puts the odd one after.
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = tuple((total // 2, total - total // 2) for total in totals)
    else:
        sides = (0,) * len(kernel) if layer.padding == "valid" else layer.padding
        pads = tuple((int(width), int(width)) for width in sides)
    circular = layer.padding_mode == "circular" and any(sum(widths) for widths in pads)
    operator = Convolution(_copied(layer.weight, dtype), shape, layer.stride, dilation, pads, layer.groups, circular)
    around = circular and any(max(widths) > size for widths, size in zip(pads, shape[1:], strict=True))
    what = f"a kernel of {kernel} and padding {pads}"
    if layer.padding_mode in ("reflect", "replicate"):
        widths = layer._reversed_padding_repeated_twice
        padded = read_selection(lambda z: pad(z, widths, mode=layer.padding_mode), name, shape, dtype)
        operator = replace(operator, in_shape=padded.out_shape, pads=tuple((0, 0) for _ in kernel))
        return [padded, fitting(operator, name, what, _copied(layer.bias, dtype))]
    return fitting(operator, name, what, _copied(layer.bias, dtype), not around)


def read_transposed(layer: nn.ConvTranspose2d, name: str, shape: Shape, dtype: torch.dtype) -> LinearMap:
    """The adjoint of a convolution."""
    weight = _copied(layer.weight, dtype).transpose(0, 1)
    check_images(name, shape, 2, weight.shape[1])
    padding, out_padding, kernel = layer.padding, layer.output_padding, weight.shape[2:]
    if not all(o < max(s, d) for o, s, d in zip(out_padding, layer.stride, layer.dilation, strict=True)):
        why = "a layer that torch itself refuses to run", "build it with output_padding=0, or with a larger stride"
        raise InvalidInput(f"output_padding below stride or dilation in {name}", f"{tuple(out_padding)}", *why)
    if not all(o < s for o, s in zip(out_padding, layer.stride, strict=True)):
        why = "no rule is known for outputs that no input reaches", "build it with output_padding below its stride"
        raise UnsupportedLayer("output_padding below the stride", f"{name} with {tuple(out_padding)}", *why)
    sizes = zip(shape[1:], kernel, layer.stride, layer.dilation, padding, out_padding, strict=True)
    size = tuple((n - 1) * s - 2 * int(p) + d * (k - 1) + o + 1 for n, k, s, d, p, o in sizes)
    pads = tuple((int(width), int(width)) for width in padding)
    operator = Transposed(weight, shape, (weight.shape[0], *size), layer.stride, layer.dilation, pads)
    return fitting(operator, name, f"padding {padding}", _copied(layer.bias, dtype))


def read_average(layer: nn.AvgPool1d | nn.AvgPool2d, name: str, shape: Shape, dtype: torch.dtype) -> LinearMap:
    """A convolution of each channel whose weights are all the same."""
    axes = 2 if isinstance(layer, nn.AvgPool2d) else 1
    kernel, padding, stride = (both(size)[:axes] for size in (layer.kernel_size, layer.padding, layer.stride))
    divisor = getattr(layer, "divisor_override", None)
    if layer.ceil_mode or (any(padding) and not (layer.count_include_pad or divisor)):
        why = "other divisors at the border", "pad the images before it, or use windows that fit"
        raise UnsupportedLayer("averages with ceil_mode=False and count_include_pad=True", f"{name}: {layer}", *why)
    return _means(name, shape, kernel, stride or kernel, padding, divisor or prod(kernel), dtype)


def read_means(
    layer: nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d, name: str, shape: Shape, dtype: torch.dtype
) -> LinearMap:
    """So many windows for each axis, all of one size where their number divides that of the pixels."""
    axes = 2 if isinstance(layer, nn.AdaptiveAvgPool2d) else 1
    check_images(name, shape, axes, shape[0])
    given = layer.output_size if isinstance(layer.output_size, tuple | list) else (layer.output_size,) * axes
    sizes = [n if size is None else size for size, n in zip(given, shape[1:], strict=True)]
    if all(n % size == 0 for n, size in zip(shape[1:], sizes, strict=True)):
        kernel = tuple(n // size for n, size in zip(shape[1:], sizes, strict=True))
        return _means(name, shape, kernel, kernel, (0,) * axes, prod(kernel), dtype)
    numbers = torch.arange(prod(shape), device="cpu").reshape(shape)
    axes_windows = [  # where torch's adaptive pooling looks for each of its outputs
        [slice(k * n // size, -(-(k + 1) * n // size)) for k in range(size)]
        for n, size in zip(shape[1:], sizes, strict=True)
    ]
    windows = [numbers[:, *place].flatten(1) for place in product(*axes_windows)]
    counts = torch.tensor([window.shape[1] for window in windows], device="cpu")
    most = int(counts.max())
    index = torch.stack([pad(window, (0, most - window.shape[1])) for window in windows], dim=1)
    share = (torch.arange(most, device="cpu") < counts[:, None]).to(dtype) / counts[:, None]
    weight = share.expand(shape[0], -1, -1).reshape(shape[0], *sizes, most)
    return LinearMap.of(Gather(weight, shape, index.flatten(0, 1)), None, UNIT)


def _means(
    name: str, shape: Shape, kernel: Shape, stride: Shape, padding: Shape, divisor: int, dtype: torch.dtype
) -> LinearMap:
    check_images(name, shape, len(kernel), shape[0])
    weight = torch.full((shape[0], 1, *kernel), 1 / divisor, dtype=dtype, device="cpu")
    pads = tuple((width, width) for width in padding)
    operator = Convolution(weight, shape, stride, (1,) * len(kernel), pads, shape[0])
    return fitting(operator, name, f"a window, which needs images of at least {kernel},", rounded=UNIT)


def both(size: Any) -> Shape:
    """One number for both axes, or two, as two."""
    sizes = (size, size) if isinstance(size, int) else tuple(size or ())
    return sizes * 2 if len(sizes) == 1 else sizes


def check_width(name: str, wanted: int, got: int) -> None:
    """Raise InvalidInput where a layer is given samples of another width than it was made for."""
    if wanted != got:
        why = "a point of another data set, or layers whose widths do not fit", f"pass x of shape (batch, {wanted})"
        raise InvalidInput(f"samples of {wanted} features before {name}", f"{got} features", *why)


def _copied(parameter: Any, dtype: torch.dtype) -> Any:
    """A copy of a tensor, or None: what was found of the network must not change when the network is trained on."""
    if parameter is None:
        return None
    return (parameter if torch.is_grad_enabled() else parameter.detach()).to(dtype, copy=True)


def read_selection(move: Callable[[Tensor], Tensor], name: str, shape: Shape, dtype: torch.dtype) -> LinearMap:
    """A layer, or function, that moves, repeats or leaves out inputs, and fills with 0."""
    try:
        return fitting(selection(move, shape, dtype), name, "the layer")
    except (RuntimeError, ValueError) as error:
        raise _misfit(name, str(error), shape) from error


def fitting(
    operator: Operator, name: str, what: str, bias: Tensor | None = None, fits: bool = True, rounded: float = 0.0
) -> LinearMap:
    """The operator with its bias. Raises InvalidInput where it leaves nothing of the images."""
    if not fits or min(operator.out_shape) < 1:
        raise _misfit(name, what, operator.in_shape)
    return LinearMap.of(operator, bias, rounded)


def _misfit(name: str, what: str, shape: Shape) -> InvalidInput:
    why = "images of another size, or one layer too many", "check the size it was trained at"
    return InvalidInput(f"samples that {name} fits on", f"{what} on shape {shape}", *why)


def check_images(name: str, shape: Shape, axes: int, channels: int) -> None:
    """Raise InvalidInput for samples that are no images, or signals, of so many channels."""
    if len(shape) != axes + 1 or shape[0] != channels:
        raise _other_shape(name, channels, axes, shape)


def _other_shape(name: str, channels: int, axes: int, shape: Shape) -> InvalidInput:
    cause = "flat samples, a point without its batch axis, or other channels"
    step = "torch.nn.Unflatten(1, …) before it, or pass x with its channel axis"
    sizes = ", ".join(["size"] * axes)
    return InvalidInput(f"samples of shape ({channels}, {sizes}) before {name}", f"{shape}", cause, step)
