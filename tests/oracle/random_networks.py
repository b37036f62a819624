"""Small random networks of every kind of layer, with odd numbers in odd places, and points to make claims about."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from lliptools import layers, nets

STARTS = ((1,), (2,), (2,), (3,), (4,), (6,), (1, 5), (2, 4), (1, 4, 4), (2, 3, 3), (3, 4, 4), (2, 4, 2))
ODD = (0.0, 1e-30, 1e-8, 1e-3, 1e4, 1e12, 3e17, 1e30)  # scales of weights
UNITS = 96  # of a layer at most
WIDE = 100_000


@dataclass(frozen=True)
class Case:
    """A network and points of it (points, *sample); words: what it is made of."""

    seed: int
    net: nn.Sequential
    x: Tensor


def random_network(seed: int) -> Case:
    """The network of a seed, always the same one; from WIDE on with layers that smaller seeds do not draw."""
    return Builder(seed).case()


def leaking(slopes: Tensor) -> nn.PReLU:
    """A PReLU with these slopes, of any sign."""
    layer = nn.PReLU(len(slopes))
    layer.weight.data = slopes.float()
    return layer


class Builder:
    """Draws layers one by one, and keeps those that fit on what the one before puts out."""

    def __init__(self, seed: int) -> None:
        self.seed, self.random, self.wide = seed, random.Random(seed), seed >= WIDE
        self.whole = self.chance(0.15)  # whole numbers: units coincide, and points lie at their bends exactly
        self.layers: list[nn.Module] = []
        self.shape: tuple[int, ...] = self.random.choice(STARTS)

    def case(self) -> Case:
        """Between one and four linear maps, activations in between; the seed is set as the author of it might."""
        torch.manual_seed(self.seed)
        start = self.shape
        if self.chance(0.1):
            self.add(self.activation())
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 2, 3))):
            self.some_linear()
            self.add(self.activation())
            if self.chance(0.2):
                self.add(self.residual())
        if len(self.shape) > 1:
            self.add(nn.Flatten())
        self.add(self.dense(self.random.choice((2, 2, 3, 4))))
        if self.chance(0.08):
            self.add(self.activation())
        net = nn.Sequential(*self.layers).double().eval()
        with torch.no_grad():
            self.fill(net)
            x = self.points(start)
            if self.chance(0.15):
                net, x = net.float(), x.float()
            if self.chance(0.15):
                net = nn.Sequential(nn.Sequential(*net[:2]), *net[2:])
            if self.chance(0.3):
                self.change(net)
        return Case(self.seed, net, x)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def add(self, layer: nn.Module) -> bool:
        """Append a layer if it fits."""
        try:
            with torch.no_grad():
                shape = tuple(layer.eval()(torch.zeros(1, *self.shape)).shape[1:])
        except (RuntimeError, ValueError):
            return False
        if not 0 < torch.Size(shape).numel() <= UNITS:
            return False
        self.layers.append(layer)
        self.shape = shape
        return True

    def activation(self) -> nn.Module:
        """Any, with odd parameters."""
        draw, units = self.random, torch.Size(self.shape)
        channels = (units[0], *[1] * (len(units) - 1))
        theta = torch.rand(draw.choice((units, channels, (1,)))).double()
        theta[torch.rand(theta.shape) < 0.2] = draw.choice((0.0, -1.0, torch.inf, 0.1))
        choices = [
            *[lambda: nn.ReLU(inplace=self.chance(0.1))] * 5,
            lambda: nn.LeakyReLU(draw.choice((0.0, 0.01, 0.3, 1.0, 3.0, 1e-20)), inplace=self.chance(0.1)),
            nn.ReLU6,
            lambda: nn.Hardtanh(*sorted(draw.sample((-2.0, -0.5, 0.0, 0.1, 1.0, 1e-12), 2))),
            nn.Tanh,
            nn.Sigmoid,
            lambda: nn.Softplus(draw.choice((0.1, 1.0, 10.0, 100.0))),
            lambda: nn.ELU(draw.choice((0.1, 1.0, 3.0))),
            *[lambda: nets.ClippedReLU(theta)] * 3,
        ]
        if units[0] % 2 == 0:
            pairs = torch.rand(units[0] // 2, *channels[1:]).double()
            choices += [nets.MaxMin, lambda: nets.ClippedMaxMin(pairs, -draw.choice((0.0, 0.3, 1.0)) * pairs)] * 2
        if self.wide and self.chance(0.7):
            slopes = torch.randn(draw.choice((1, units[0]))).double() * draw.choice((0.0, 0.1, 1.0, 1e-20))
            choices = [
                lambda: nn.GELU(draw.choice(("none", "tanh"))),
                *(
                    lambda kind=kind: kind(inplace=self.chance(0.1))
                    for kind in (nn.SiLU, nn.Mish, nn.Hardswish, nn.SELU)
                ),
                *(nn.Softsign, nets.Absolute, lambda: leaking(slopes)),
            ]
        return draw.choice(choices)()

    def dense(self, width: int) -> nn.Linear:
        return nn.Linear(self.shape[0], width, bias=self.chance(0.75))

    def residual(self) -> nn.Module:
        """x + block(x), where the block may begin with an activation in place, or be a layer made to be 1-Lipschitz."""
        n, width = self.shape[0], self.random.randint(1, 5)
        if len(self.shape) == 1:
            if self.chance(0.3):
                return self.random.choice((layers.SLLLinear, layers.CPLLinear))(n, width)
            parts = [nn.Linear(n, width), nn.ReLU(), nn.Linear(width, n)]
        elif len(self.shape) == 3:
            if self.chance(0.3):
                return self.random.choice((layers.SLLConv2d, layers.CPLConv2d))(n, 2)
            parts = [nn.Conv2d(n, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, n, 1)]
        else:
            parts = [nn.Conv1d(n, n, 3, padding=1)]
        if self.chance(0.3):
            parts.insert(0, self.activation())
        return nets.Residual(nn.Sequential(*parts))

    def some_linear(self) -> None:
        """One or two linear layers, the first of those drawn that fit; a dense one where none does."""
        before = len(self.layers)
        for _ in range(3):
            self.add(self.linear())
            if len(self.layers) > before and self.chance(0.6):
                return
        if len(self.layers) == before:
            self.add(nn.Flatten())
            self.add(self.dense(self.random.randint(1, 8)))

    def linear(self) -> nn.Module:
        """A linear layer on samples of the shape, most of which fit."""
        draw, n, width = self.random, self.shape[0], self.random.randint(1, 8)
        size, stride, dilation = draw.randint(1, 3), draw.randint(1, 2), draw.choice((1, 1, 2))
        padding, bias, many = draw.randint(0, 2), self.chance(0.6), draw.randint(1, 4)
        groups = draw.choice((1, 1, 2))
        mode = draw.choice(("zeros", "zeros", "circular"))
        common = {"stride": stride, "padding": padding, "dilation": dilation, "bias": bias}
        grouped = {"groups": groups if n % groups == 0 else 1, "padding_mode": mode}
        same = {"kernel_size": draw.choice((1, 3)), "padding": "same", "bias": bias}
        out = many * grouped["groups"]
        if len(self.shape) == 1:
            made = (layers.AOLLinear, layers.CayleyLinear, layers.BROLinear, layers.SpectralLinear)
            made += (layers.SandwichLinear, layers.NormalizedLinear)
            choices = [
                *[lambda: self.dense(width)] * 6,
                *[lambda: nn.Linear(n, n)] * 2,
                lambda: draw.choice(made)(n, width),
                lambda: nn.BatchNorm1d(n, affine=bias),
                lambda: nn.Unflatten(1, draw.choice(((1, n), (2, n // 2), (1, 2, n // 2), (n, 1, 1)))),
                nn.Identity,
                nn.Dropout,
            ]
        elif len(self.shape) == 2:
            choices = [
                *[lambda: nn.Conv1d(n, out, size, **common, **grouped)] * 3,
                lambda: nn.Conv1d(n, many, **same),
                lambda: nn.BatchNorm1d(n, affine=bias),
                nn.Flatten,
            ]
        else:
            made = (layers.AOLConv2d, layers.CayleyConv2d, layers.SpectralConv2d)
            choices = [
                *[lambda: nn.Conv2d(n, out, (size, draw.randint(1, 3)), **common, **grouped)] * 4,
                lambda: nn.Conv2d(n, many, **same),
                *[lambda: nn.ConvTranspose2d(n, many, size, output_padding=stride - 1, **common)] * 2,
                lambda: nn.AvgPool2d(size, stride, padding=min(padding, size // 2)),
                lambda: nn.AdaptiveAvgPool2d(1),
                lambda: nn.BatchNorm2d(n, affine=bias),
                lambda: nn.ZeroPad2d(draw.choice((1, (0, 1, 1, 0), (2, 0, 0, 1)))),
                lambda: nn.CircularPad2d(draw.choice((1, (0, 1, 1, 0)))),
                lambda: nn.PixelUnshuffle(2),
                lambda: draw.choice(made)(n, n),
                lambda: layers.PadChannels(n, n + many),
                lambda: layers.ScaledAvgPool2d(2),
                nn.Dropout2d,
                nn.Flatten,
            ]
        if self.wide and self.chance(0.4):
            choices = self.wide_choices(size, stride, min(padding, size // 2), dilation)
        return draw.choice(choices)()

    def wide_choices(self, size: int, stride: int, padding: int, dilation: int) -> list[Callable[[], nn.Module]]:
        """Windows, borders and shuffles."""
        draw, axes, n = self.random, len(self.shape) - 1, self.shape[0]
        if not axes:
            return [lambda: nn.Unflatten(1, (1, n)), lambda: nn.Unflatten(1, (1, 2, n // 2))]
        pads = tuple(draw.randint(0, 2) for _ in range(2 * axes))
        kinds = (nn.ReflectionPad1d, nn.ReplicationPad1d, nn.CircularPad1d, nn.ZeroPad1d)
        pools: tuple = (nn.MaxPool1d, nn.AdaptiveAvgPool1d, nn.AvgPool1d, nn.Conv1d)
        if axes == 2:
            kinds = (nn.ReflectionPad2d, nn.ReplicationPad2d, nn.PixelShuffle)
            pools = (nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.Conv2d)
        mode = draw.choice(("reflect", "replicate"))
        return [
            *[lambda: pools[0](draw.randint(1, 3), stride, padding, dilation)] * 3,
            lambda: pools[1](draw.randint(1, 4)),
            lambda: pools[2](size, stride, padding),
            *[lambda: pools[3](n, draw.randint(1, 3), 2, padding=1, padding_mode=mode)] * 2,
            lambda: (kind := draw.choice(kinds))(2 if kind is nn.PixelShuffle else pads),
            lambda: nn.Upsample(scale_factor=draw.choice((2, 1.5))),
        ]

    def fill(self, net: nn.Sequential) -> None:
        """Weights: at ordinary or odd scales, with rows of zeros, rows alike or nearly so, or whole numbers."""
        draw = self.random
        plain = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d)]
        odd = self.chance(0.25)
        for layer in plain:
            weight = layer.weight
            scale = draw.choice(ODD) if odd and self.chance(0.5) else draw.uniform(0.5, 3.0)
            weight.normal_().mul_(scale * (weight[0].numel() ** -0.5))
            if self.whole:
                weight.copy_(torch.randint(-2, 3, weight.shape))
            if self.chance(0.1):
                weight[0] = 0.0
            if len(weight) > 1 and self.chance(0.2):
                weight[1] = weight[0] * draw.choice((1.0, -1.0, 2.0, 1 + 2**-52, 1 + 1e-9))
            if layer.bias is not None:
                layer.bias.normal_().mul_(draw.choice((0.0, 0.5, 0.5, 1.0, scale)))
                if self.whole:
                    layer.bias.copy_(torch.randint(-2, 3, layer.bias.shape))
                elif len(layer.bias) > 1 and self.chance(0.2):
                    layer.bias[1] = layer.bias[0] + draw.choice((0.0, 1e-15, -1e-15, 1e-9))
        if self.chance(0.1):
            self.cancel(plain)
        first = plain[0].weight
        if self.chance(0.05) and first.dim() == 2 and first.shape[0] == first.shape[1]:
            u = torch.randn(1024, generator=torch.Generator().manual_seed(self.seed)).double()[: len(first)]
            first.copy_(torch.eye(len(u)) - torch.outer(u, u) / u.square().sum() / 2)
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.3, 2.0).mul_(draw.choice((1.0, 1.0, 1e-4, 1e4)))
            elif name.endswith("running_mean"):
                buffer.normal_()

    def cancel(self, plain: list[nn.Module]) -> None:
        """Let the product of two layers cancel but for rounding: 3 times the first row is the second, nearly."""
        for one, two in pairwise(plain):
            if one.weight.dim() == two.weight.dim() == 2 and min(one.weight.shape[0], two.weight.shape[1]) > 1:
                one.weight[1] = 3 * one.weight[0]
                if one.bias is not None:
                    one.bias[:2] = 0.0
                two.weight[:, :2] = self.random.choice((1.0, 2.0**20, 3e17)) * torch.tensor([3.0, -1.0])

    def points(self, start: tuple[int, ...]) -> Tensor:
        """Two: one anywhere, or of whole numbers; one at the bend of a unit of the first layer, if that is known."""
        x = torch.randn(2, *start, dtype=torch.float64) * self.random.choice((0.1, 1.0, 1.0, 3.0, 1e-12, 1e8))
        if self.chance(0.3):
            x[0] = torch.randint(-2, 3, start) * self.random.choice((0, 1))
        first = self.layers[0]
        if isinstance(first, nn.Linear):
            w, b = first.weight[0], 0.0 if first.bias is None else first.bias[0]
            if w.square().sum() > 0:
                x[1] -= (w @ x[1] + b) * w / w.square().sum()
        elif isinstance(first, nn.Softplus):
            x[1] = first.threshold / first.beta
        return x

    def change(self, net: nn.Sequential) -> None:
        """Set numbers of layers that have been built already."""
        for layer in net.modules():
            if isinstance(layer, nn.ReLU6):
                layer.max_val = 9.0
            elif isinstance(layer, nn.ZeroPad2d):
                layer.value = 2.0
            elif isinstance(layer, nn.Conv2d) and layer.padding_mode == "circular":
                layer.padding = (0, 0)
