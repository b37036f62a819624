"""torch's layers that average pixels, read as operators; readers as those of readers.py."""

from itertools import product
from math import prod

import torch
from torch import nn
from torch.nn.functional import pad

from lliptools.errors import UnsupportedLayer
from lliptools.nets.gather import Gather
from lliptools.nets.linear import UNIT, LinearMap
from lliptools.nets.operators import Convolution, Shape
from lliptools.nets.readers import both, check_images, fitting


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
