"""Networks whose logits differ by a known constant: 1-Lipschitz layers, and a last one with rows of length 1."""

from math import prod

from torch import nn

from lliptools.errors import check_among
from lliptools.layers.aol import AOLConv2d, AOLLinear
from lliptools.layers.cpl import CPLConv2d, CPLLinear
from lliptools.layers.isometries import PadChannels, ScaledAvgPool2d
from lliptools.layers.orthogonal import BROLinear, CayleyConv2d, CayleyLinear
from lliptools.layers.sandwich import SandwichLinear
from lliptools.layers.sll import SLLConv2d, SLLLinear
from lliptools.layers.spectral import NormalizedLinear, SpectralConv2d, SpectralLinear
from lliptools.nets import MaxMin

# Convolutions, dense layers, channels. Source: Araujo et al. (ICLR 2023), table 4.
SIZES = {"small": (20, 7, 45), "medium": (30, 10, 60), "large": (50, 10, 90), "xlarge": (70, 15, 120)}
LAYERS: dict[str, tuple[type[nn.Module], type[nn.Module] | None]] = {
    "sll": (SLLLinear, SLLConv2d),
    "cpl": (CPLLinear, CPLConv2d),
    "spectral": (SpectralLinear, SpectralConv2d),
    "aol": (AOLLinear, AOLConv2d),
    "cayley": (CayleyLinear, CayleyConv2d),
    "bro": (BROLinear, None),
    "sandwich": (SandwichLinear, None),
}
RESIDUAL = ("sll", "cpl")
CONVOLUTIONAL = tuple(kind for kind, (_, convolution) in LAYERS.items() if convolution is not None)


def lipschitz_mlp(kind: str, features: int, classes: int, *, depth: int, inner: int | None = None) -> nn.Sequential:
    """Layers of one kind that keep the number of features, `depth` of them, and rows of length 1 at the end.

    kind: "sll" or "cpl", residual layers with `inner` units (as many as features unless given); "spectral", "aol",
    "cayley" or "bro", each followed by MaxMin; or "sandwich", with its activation inside. Raises InvalidInput.
    """
    check_among("kind", kind, LAYERS, 'use kind="sll"')
    layers = [part for _ in range(depth) for part in _dense(kind, features, inner)]
    return nn.Sequential(*layers, NormalizedLinear(features, classes))


def lipschitz_cnn(
    kind: str,
    shape: tuple[int, int, int],
    classes: int,
    *,
    channels: int,
    convolutions: int,
    dense: int,
    inner_channels: int = 5,
    inner: int = 2048,
    pool: int = 4,
) -> nn.Sequential:
    """Zeros for channels, convolutions 3×3, an average of norm 1, dense layers, and rows of length 1 at the end.

    kind: as of lipschitz_mlp, except for "bro" and "sandwich". shape: (channels, height, width) of an image.
    inner_channels and inner: units inside of residual convolutions and dense layers. pool: side of the window.
    Raises InvalidInput. Source: Araujo et al. (ICLR 2023), section 5 and table 4.
    """
    check_among("kind", kind, CONVOLUTIONAL, 'use kind="sll"')
    convolution = LAYERS[kind][1]
    assert convolution is not None
    layers: list[nn.Module] = [PadChannels(shape[0], channels)]
    for _ in range(convolutions):
        layers += _activated(kind, convolution(channels, inner_channels if kind in RESIDUAL else channels))
    layers += [ScaledAvgPool2d(pool), nn.Flatten()]
    features = channels * prod(size // pool for size in shape[1:])
    for _ in range(dense):
        layers += _dense(kind, features, inner)
    return nn.Sequential(*layers, NormalizedLinear(features, classes))


def sll_network(size: str, shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> nn.Sequential:
    """The paper's network "small", "medium", "large" or "xlarge": 41, 79, 118 or 236 million parameters on CIFAR-10.

    Raises InvalidInput for another size. Source: Araujo et al. (ICLR 2023), table 4.
    """
    check_among("size", size, SIZES, 'use size="small"')
    convolutions, dense, channels = SIZES[size]
    return lipschitz_cnn("sll", shape, classes, channels=channels, convolutions=convolutions, dense=dense)


def _dense(kind: str, features: int, inner: int | None) -> list[nn.Module]:
    return _activated(kind, LAYERS[kind][0](features, (inner or features) if kind in RESIDUAL else features))


def _activated(kind: str, layer: nn.Module) -> list[nn.Module]:
    """The layer, and MaxMin behind it unless it has an activation inside."""
    return [layer] if kind in (*RESIDUAL, "sandwich") else [layer, MaxMin()]
