"""torch's layers on images, read as operators: convolutions and their adjoints, averages, padding."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.linear import UNIT
from lliptools.nets.operators import Affine, Convolution, Operator, Shape, Transposed

__all__ = ["IMAGES", "both", "copied", "read_image_layer", "with_bias"]

PADDING = (nn.ZeroPad2d, nn.CircularPad2d)
IMAGES = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.PixelUnshuffle, *PADDING)


def read_image_layer(layer: nn.Module, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    """The layer on images of a shape (channels, *size). Raises InvalidInput where it does not fit on them."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return _convolution(layer, name, shape, dtype)
    if isinstance(layer, nn.ConvTranspose2d):
        return _transposed(layer, name, shape, dtype)
    if isinstance(layer, PADDING):
        return _padding(layer, name, shape, dtype)
    if isinstance(layer, nn.PixelUnshuffle):
        return _phases(layer, name, shape, dtype)
    assert isinstance(layer, nn.AvgPool2d | nn.AdaptiveAvgPool2d)
    return _average(layer, name, shape, dtype)


def _convolution(layer: nn.Conv1d | nn.Conv2d, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    kernel, dilation = tuple(layer.weight.shape[2:]), layer.dilation  # not kernel_size, which forward does not look at
    _check_images(name, shape, len(kernel), layer.weight.shape[1] * layer.groups)
    if layer.padding_mode == "circular":
        # What forward pads by, whatever padding says: the last axis first, before and after.
        widths = layer._reversed_padding_repeated_twice
        pads = tuple((widths[k], widths[k + 1]) for k in range(len(widths) - 2, -1, -2))
    elif layer.padding == "same":
        # torch puts the odd one after.
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = tuple((total // 2, total - total // 2) for total in totals)
    elif layer.padding == "valid":
        pads = tuple((0, 0) for _ in kernel)
    else:
        pads = tuple((int(width), int(width)) for width in layer.padding)
    circular = layer.padding_mode == "circular" and any(sum(widths) for widths in pads)
    operator = Convolution(copied(layer.weight, dtype), shape, layer.stride, dilation, pads, layer.groups, circular)
    too_small = min(operator.out_shape[1:]) < 1
    if too_small or (circular and any(max(w) > n for w, n in zip(pads, shape[1:], strict=True))):
        raise _too_small(name, f"a kernel of {kernel} and padding {pads} on", shape)
    return with_bias(operator, layer.bias)


def _average(layer: nn.AvgPool2d | nn.AdaptiveAvgPool2d, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    _check_images(name, shape, 2, shape[0])
    kernel: Shape = shape[1:]
    stride: Shape = shape[1:]
    padding: Shape = (0, 0)
    if isinstance(layer, nn.AvgPool2d):
        kernel, padding = both(layer.kernel_size), both(layer.padding)
        stride = both(layer.stride or layer.kernel_size)
        padded = any(padding) and not (layer.count_include_pad or layer.divisor_override)
        if layer.ceil_mode or padded:
            raise UnsupportedLayer(
                expected="AvgPool2d with ceil_mode=False and count_include_pad=True",
                got=f"{name}: {layer}",
                cause="averages that divide by another number at the border",
                next_step="pad the images explicitly, or choose a window that divides their size",
            )
    divisor = getattr(layer, "divisor_override", None) or prod(kernel)
    weight = torch.full((shape[0], 1, *kernel), 1 / divisor, dtype=dtype, device="cpu")
    pads = tuple((width, width) for width in padding)
    operator = Convolution(weight, shape, stride, (1, 1), pads, shape[0])
    if min(operator.out_shape[1:]) < 1:
        raise InvalidInput(
            expected=f"images of at least {kernel} for {name}",
            got=f"shape {shape}",
            cause="one layer too many that shrinks them",
            next_step="leave the pooling out, or pass larger images",
        )
    return Affine(operator, weight.new_zeros(()), UNIT)


def _transposed(layer: nn.ConvTranspose2d, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    weight = copied(layer.weight, dtype).transpose(0, 1)
    _check_images(name, shape, 2, weight.shape[1])
    padding, out_padding, kernel = layer.padding, layer.output_padding, weight.shape[2:]
    if not all(o < max(s, d) for o, s, d in zip(out_padding, layer.stride, layer.dilation, strict=True)):
        raise InvalidInput(
            expected=f"an output padding below the stride or the dilation in {name}",
            got=f"output_padding={tuple(out_padding)}, stride={tuple(layer.stride)}",
            cause="a layer that torch itself refuses to run",
            next_step="build it with output_padding=0, or with a larger stride",
        )
    sizes = zip(shape[1:], kernel, layer.stride, layer.dilation, padding, out_padding, strict=True)
    size = tuple((n - 1) * s - 2 * int(p) + d * (k - 1) + o + 1 for n, k, s, d, p, o in sizes)
    if min(size) < 1:
        raise _too_small(name, f"padding {padding} of", shape)
    pads = tuple((int(width), int(width)) for width in padding)
    result = (weight.shape[0], *size)
    return with_bias(Transposed(weight, shape, result, layer.stride, layer.dilation, pads), layer.bias)


def _padding(layer: nn.Module, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    _check_images(name, shape, 2, shape[0])
    assert isinstance(layer, PADDING)
    left, right, top, bottom = layer.padding
    circular = isinstance(layer, nn.CircularPad2d)
    wide, high = shape[2] + left + right, shape[1] + top + bottom
    around = circular and not (
        min(layer.padding) >= 0 and max(left, right) <= shape[2] and max(top, bottom) <= shape[1]
    )
    if min(wide, high) < 1 or around:
        raise _too_small(name, f"padding {layer.padding} of", shape)
    weight = torch.ones(shape[0], 1, 1, 1, dtype=dtype, device="cpu")
    operator = Convolution(weight, shape, (1, 1), (1, 1), ((top, bottom), (left, right)), shape[0], circular)
    return Affine(operator, weight.new_zeros(()))


def _phases(layer: nn.PixelUnshuffle, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    _check_images(name, shape, 2, shape[0])
    factor = layer.downscale_factor
    if any(size % factor for size in shape[1:]):
        raise _too_small(name, f"{factor} × {factor} tiles of", shape)
    tiles = torch.eye(factor**2, dtype=dtype, device="cpu").reshape(factor**2, 1, factor, factor)
    weight = tiles.repeat(shape[0], 1, 1, 1)
    operator = Convolution(weight, shape, (factor, factor), (1, 1), ((0, 0), (0, 0)), shape[0])
    return Affine(operator, weight.new_zeros(()))


def with_bias(operator: Operator, bias: Tensor | None) -> Affine:
    """An operator and a bias of one number an output row or channel."""
    if bias is None:
        return Affine(operator, operator.weight.new_zeros(()))
    return Affine(operator, copied(bias, operator.weight.dtype).view(-1, *[1] * (len(operator.out_shape) - 1)))


def copied(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """Copies: what was found of the network must not change when the network is trained on."""
    return (parameter if torch.is_grad_enabled() else parameter.detach()).to(dtype, copy=True)


def both(size: Any) -> Shape:
    """One number for both axes, or two, as two."""
    sizes = (size, size) if isinstance(size, int) else tuple(size or ())
    return sizes * 2 if len(sizes) == 1 else sizes


def _check_images(name: str, shape: Shape, axes: int, channels: int) -> None:
    if len(shape) != axes + 1 or shape[0] != channels:
        raise InvalidInput(
            expected=f"samples of shape ({channels}, {', '.join(['size'] * axes)}) before {name}",
            got=f"shape {shape}",
            cause="flat samples given to a convolution, or images with another number of channels",
            next_step="put torch.nn.Unflatten(1, …) before it, or pass x with its channel axis",
        )


def _too_small(name: str, what: str, shape: Shape) -> InvalidInput:
    return InvalidInput(
        expected=f"samples that {name} fits on",
        got=f"{what} shape {shape}",
        cause="images of another data set, or one layer too many that shrinks them",
        next_step="check the image size at which the network was trained",
    )
