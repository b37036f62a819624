"""Networks by name, and networks whose Lipschitz constants are known."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import nn

from lliptools.errors import InvalidInput, check_among
from lliptools.nets.clips import ClippedReLU
from lliptools.nets.pairs import ClippedMaxMin, MaxMin
from lliptools.nets.values import filled

# Convolutions as (channels out, kernel, stride, padding), then the widths of the dense layers; an activation after
# every layer but the last. Source: Huang et al. (NeurIPS 2021) and the works on certified training it compares with.
CONVOLUTIONAL = {
    "2C1F": (((16, 4, 2, 1), (32, 4, 2, 1)), (64,)),
    "4C3F": (((32, 3, 1, 1), (32, 4, 2, 1), (64, 3, 1, 1), (64, 4, 2, 1)), (512, 512)),
    "6C2F": (((32, 3, 1, 1), (32, 3, 1, 1), (32, 4, 2, 1), (64, 3, 1, 1), (64, 3, 1, 1), (64, 4, 2, 1)), (512,)),
    "8C2F": (
        (
            *((64, 3, 1, 1), (64, 3, 1, 1), (64, 4, 2, 0), (128, 3, 1, 1)),
            *((128, 3, 1, 1), (128, 4, 2, 0), (256, 3, 1, 1), (256, 4, 2, 0)),
        ),
        (256,),
    ),
}
ACTIVATIONS = ("relu", "clipped_relu", "maxmin", "clipped_maxmin")


def mlp(*sizes: int, activation: str = "relu", theta: float = 1.0, flatten: bool = False) -> nn.Sequential:
    """A multi-layer perceptron: Linear(sizes[0], sizes[1]), activation, …, Linear(sizes[-2], sizes[-1]).

    * activation: "relu", "clipped_relu" with one learnable threshold per unit, all starting at theta, "maxmin", or
      "clipped_maxmin" with thresholds that start at theta and −theta.
    * flatten: begin with torch.nn.Flatten, for images.
    * Raises InvalidInput for fewer than two sizes, a size below 1 or another activation.
    """
    if len(sizes) < 2 or not all(map(_is_size, sizes)):
        why = "the input or output size was left out", "for example mlp(64, 128, 10)"
        raise InvalidInput("at least two layer sizes, each 1 or more", f"{sizes}", *why)
    check_among("activation", activation, ACTIVATIONS, 'activation="clipped_relu"')
    layers: list[nn.Module] = [nn.Flatten()] if flatten else []
    for width, following in pairwise(sizes[:-1]):
        layers += [nn.Linear(width, following), _activation(activation, (following,), float(theta))]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def cnn(
    name: str,
    shape: tuple[int, int, int],
    classes: int = 10,
    *,
    activation: str = "relu",
    theta: float | Sequence[tuple[float, float]] = 1.0,
) -> nn.Sequential:
    """One of the paper's convolutional networks, "4C3F", "6C2F" or "8C2F", or the small "2C1F", for images of a shape.

    * shape: (channels, size, size). Kernels start from N(0, 2/(k²·channels out)) and biases from 0.
    * activation, theta: as of mlp; for "clipped_maxmin" theta may be a pair (theta_max, theta_min) per activation.
    * Raises InvalidInput for another name or activation, and for another number of pairs.
    """
    check_among("name", name, CONVOLUTIONAL, 'cnn("6C2F", (3, 32, 32))')
    check_among("activation", activation, ACTIVATIONS, 'activation="clipped_relu"')
    convolutions, widths = CONVOLUTIONAL[name]
    thetas = _one_each(theta, len(convolutions) + len(widths), activation)
    if not (isinstance(shape, tuple) and len(shape) == 3 and all(map(_is_size, shape))):
        why = "the shape of a batch, or an image as a number", "shape=(3, 32, 32), or tuple(x.shape[1:])"
        raise InvalidInput("shape as (channels, height, width)", repr(shape)[:80], *why)
    channels, *size = shape
    layers: list[nn.Module] = []
    for following, kernel, stride, padding in convolutions:
        convolution = nn.Conv2d(channels, following, kernel, stride, padding)
        nn.init.normal_(convolution.weight, std=(2 / (kernel**2 * following)) ** 0.5)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        channels, size = following, [(n + 2 * padding - kernel) // stride + 1 for n in size]
        layers += [convolution, _activation(activation, (channels, *size), next(thetas))]
    layers.append(nn.Flatten())
    columns = channels * prod(size)
    for width in widths:
        layers += [nn.Linear(columns, width), _activation(activation, (width,), next(thetas))]
        columns = width
    return nn.Sequential(*layers, nn.Linear(columns, classes))


def _is_size(size: object) -> bool:
    return type(size) is int and 1 <= size < 2**31


def _one_each(
    theta: float | Sequence[tuple[float, float]], count: int, activation: str
) -> Iterator[float | tuple[float, float]]:
    if isinstance(theta, int | float):
        return iter([float(theta)] * count)
    if len(theta) != count or activation != "clipped_maxmin":
        why = "the thresholds of another network", "pass one number for all"
        raise InvalidInput(f"one number, or {count} pairs of clipped_maxmin", f"{len(theta)} for {activation!r}", *why)
    return iter([(float(high), float(low)) for high, low in theta])


def _activation(name: str, shape: tuple[int, ...], theta: float | tuple[float, float]) -> nn.Module:
    if name == "relu":
        return nn.ReLU()
    if name == "clipped_relu":
        assert isinstance(theta, float)
        return ClippedReLU(torch.full(shape, theta))
    if name == "maxmin":
        return MaxMin()
    high, low = theta if isinstance(theta, tuple) else (theta, -theta)
    half = (shape[0] // 2, *shape[1:])
    return ClippedMaxMin(torch.full(half, high), torch.full(half, low))


def fold(size: int, depth: int) -> nn.Sequential:
    """The identity, written depth times as x = relu(x) − relu(−x): every coordinate is split and folded back.

    * A float64 network of size inputs and outputs: its Lipschitz constant is 1, the product of its norms is 2^depth.
    * The local bound is 1 where all coordinates are further than eps from 0, and 2^depth as soon as one is not.
    """
    split = torch.cat([torch.eye(size), -torch.eye(size)]).double()
    layers: list[nn.Module] = []
    for _ in range(depth):
        into = filled(nn.Linear(size, 2 * size), weight=split, bias=split.new_zeros(2 * size))
        back = filled(nn.Linear(2 * size, size), weight=split.T, bias=split.new_zeros(size))
        layers += [into, nn.ReLU(), back]
    return nn.Sequential(*layers)
