"""The rules of torch's own activations, and which rule reads which layer."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, leaky_relu, softplus

from lliptools.nets.activations import Activation, Clip, ClippedReLU, Monotone, outward, tiny, ulp
from lliptools.nets.checked import Checked
from lliptools.nets.pairs import ClippedMaxMin, MaxMin

__all__ = ["RULES", "Rule", "rule"]

Rule = Activation | MaxMin
DEFINED = ("forward", "slopes", "image", "pieces")
LOWEST = 750.0  # e^−z is 0 beyond it


class Hardtanh(Clip):
    """min(max(z, low), high), low < high."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def thresholds(self, z: Tensor) -> tuple[float, float]:
        """The two numbers."""
        return self.low, self.high


class LeakyReLU(Monotone):
    """max(z, 0) + leak · min(z, 0), leak > 0."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        self.leak = leak

    def forward(self, z: Tensor) -> Tensor:
        """Same shape as z."""
        return leaky_relu(z, self.leak)

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends; below 0 one number outward, since the product is rounded to the nearest."""
        low, high = self(lower), self(upper)
        far = torch.full_like(low, torch.inf)
        return torch.where(lower < 0, low.nextafter(-far), low), torch.where(upper < 0, high.nextafter(far), high)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """leak where the box reaches below 0, 1 where it reaches above."""
        one, leak = torch.ones_like(lower), torch.full_like(lower, self.leak)
        # An end that is not a number is on either side.
        below, above = torch.where(lower >= 0, one, leak), torch.where(upper <= 0, leak, one)
        return torch.minimum(below, above), torch.maximum(below, above)

    def pieces(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """One bend: slopes leak, 1."""
        one = torch.ones(shape, dtype=torch.float64, device="cpu")
        return 0 * one[None], torch.stack([self.leak * one, one])


class Smooth(Monotone):
    """A smooth nondecreasing activation; a unit has the slopes of the points of its box."""

    peak = math.nan

    def derivative(self, z: Tensor) -> Tensor:
        """The slope at z, same shape."""
        raise AssertionError("every smooth activation defines its derivative")

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends, a few units of the last place outward."""
        return outward(self(lower), self(upper))

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The derivative falls away from its peak: largest at the point nearest to it, smallest at an end."""
        peak = torch.full_like(lower, self.peak)
        greatest = self.derivative(torch.minimum(torch.maximum(peak, lower), upper))
        least = torch.minimum(self.derivative(lower), self.derivative(upper))
        return within(least * (1 - ulp(lower)), greatest * (1 + ulp(lower)), 1.0)


def within(least: Tensor, greatest: Tensor, steepest: float) -> tuple[Tensor, Tensor]:
    """Slopes in [0, steepest], and there whatever is not a number; never 0, since a smooth unit is never constant."""
    low = tiny(least)
    least = torch.where(least > low, least, 0.0)
    return least, torch.where(greatest <= steepest, greatest, steepest).clamp_min(low)


class Tanh(Smooth):
    """tanh(z): steepest at 0."""

    peak = 0.0

    def forward(self, z: Tensor) -> Tensor:
        """tanh(z)."""
        return z.tanh()

    def derivative(self, z: Tensor) -> Tensor:
        """1/cosh²(z), without the cancellation of 1 − tanh²."""
        return z.cosh().reciprocal().square()


class Sigmoid(Smooth):
    """1/(1 + e^−z): steepest at 0, where its slope is 1/4."""

    peak = 0.0

    def forward(self, z: Tensor) -> Tensor:
        """sigmoid(z)."""
        return z.sigmoid()

    def derivative(self, z: Tensor) -> Tensor:
        """sigmoid(z) · sigmoid(−z)."""
        return z.sigmoid() * (-z).sigmoid()


class Softplus(Smooth):
    """torch's softplus: log(1 + e^(beta·z))/beta where beta·z <= threshold, z beyond; the slope grows from 0 to 1.

    At the threshold it falls by log(1 + e^−threshold)/beta. No Lipschitz constant covers a jump: over a box that
    reaches to either side the least slope is −inf. torch.nn.Softplus() jumps by 2e-9, torch.nn.Softplus(threshold=40)
    does not: from 34 on the jump is less than what rounding does to the value there (`is_smooth`).
    """

    peak = math.inf

    def __init__(self, beta: float, threshold: float) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    @property
    def is_smooth(self) -> bool:
        """Whether e^−threshold, the jump times beta, is below half a unit of the last place of the threshold."""
        return math.exp(-self.threshold) <= 2.0**-53 * self.threshold

    def forward(self, z: Tensor) -> Tensor:
        """softplus(z)."""
        return softplus(z, self.beta, self.threshold)

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """From the curve, or what is below it beyond the threshold, to the curve log(1 + e^(beta·z))/beta."""
        low, high = (torch.logaddexp(self.beta * z, torch.zeros_like(z)) / self.beta for z in (lower, upper))
        beyond = torch.maximum(lower, torch.full_like(lower, self.threshold / self.beta))
        low = torch.where(self._before(upper), low, torch.minimum(low, beyond))
        # e^(beta·z) errs by as many units of the last place more as beta·z, itself rounded, is below 0.
        return outward(low, high, 1 + self._power(lower))

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """sigmoid(beta·z) at both ends; 1 beyond the threshold, and −inf and 1 across it."""
        least, greatest = (self.derivative(z) for z in (lower, upper))
        least = least * (1 - ulp(lower) * (1 + self._power(lower)))
        greatest = greatest * (1 + ulp(upper) * (1 + self._power(upper)))
        least, greatest = within(least, greatest, 1.0)
        if self.is_smooth:
            return least, greatest
        beyond = self.beta * lower > self.threshold + ulp(lower) * abs(self.threshold)
        before = self._before(upper)
        least = torch.where(beyond, 1.0, least).masked_fill(~(before | beyond), -torch.inf)
        return least, torch.where(before, greatest, 1.0)

    def derivative(self, z: Tensor) -> Tensor:
        """sigmoid(beta·z)."""
        return (self.beta * z).sigmoid()

    def _before(self, upper: Tensor) -> Tensor:
        return self.beta * upper < self.threshold - ulp(upper) * abs(self.threshold)

    def _power(self, z: Tensor) -> Tensor:
        return (-self.beta * z).clamp(0.0, LOWEST)


class ELU(Monotone):
    """z above 0, alpha·(e^z − 1) below, alpha > 0."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, z: Tensor) -> Tensor:
        """elu(z)."""
        return elu(z, self.alpha)

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends, a few units of the last place outward."""
        return outward(self(lower), self(upper))

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """alpha·e^z below 0, 1 above: extremes lie at the ends and at either side of 0."""
        ends = torch.stack([lower, upper])
        ends = torch.where(ends > 0, 1.0, self.alpha * ends.clamp_max(0.0).exp())
        across = ~((lower > 0) | (upper <= 0))
        least, greatest = ends.amin(dim=0), ends.amax(dim=0)
        least = torch.where(across, least.clamp_max(min(self.alpha, 1.0)), least)
        greatest = torch.where(across, greatest.clamp_min(max(self.alpha, 1.0)), greatest)
        return within(least * (1 - ulp(lower)), greatest * (1 + ulp(lower)), max(self.alpha, 1.0))


# How each layer of torch is read: the attributes that its forward uses. What they must be stands in layers.py.
RULES: dict[type[nn.Module], Callable[[Any], Rule]] = {
    nn.ReLU: lambda layer: Hardtanh(0.0, math.inf),
    nn.ReLU6: lambda layer: Hardtanh(layer.min_val, layer.max_val),
    nn.Hardtanh: lambda layer: Hardtanh(layer.min_val, layer.max_val),
    nn.LeakyReLU: lambda layer: LeakyReLU(layer.negative_slope) if layer.negative_slope else Hardtanh(0.0, math.inf),
    nn.Tanh: lambda layer: Tanh(),
    nn.Sigmoid: lambda layer: Sigmoid(),
    nn.Softplus: lambda layer: Softplus(layer.beta, layer.threshold),
    nn.ELU: lambda layer: ELU(layer.alpha),
}


def rule(layer: nn.Module) -> Rule | None:
    """The rule by which the bounds read a layer, or None where there is none.

    A class that derives from an activation and changes what it computes must say its slopes, image and pieces anew:
    one that redefines forward alone has no rule, and neither has an object of which a method was replaced.
    """
    if type(layer) in RULES:
        return RULES[type(layer)](layer)
    if any(callable(getattr(type(layer), name, None)) for name in vars(layer)):
        return None
    if type(layer) in {MaxMin, ClippedMaxMin, ClippedReLU}:
        return layer  # type: ignore[return-value]
    if isinstance(layer, Activation) and not isinstance(layer, Clip | Checked):
        owner = {name: next(c for c in type(layer).__mro__ if name in vars(c)) for name in DEFINED}
        forward = owner["forward"]
        general = {forward, Monotone, Activation}
        if owner["slopes"] is forward is not Activation and owner["image"] in general and owner["pieces"] in general:
            return Checked(layer)
    return None
