"""The rules of torch's own activations, and which rule reads which layer."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.nets.activations import Activation, Clip, ClippedReLU, Monotone
from lliptools.nets.pairs import ClippedMaxMin, MaxMin

__all__ = ["RULES", "Rule", "rule"]

Rule = Activation | MaxMin
ULP = 4 * torch.finfo(torch.float64).eps  # elementary functions are computed to a few units of the last place


class Hardtanh(Clip):
    """min(max(z, low), high)."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def thresholds(self, z: Tensor) -> tuple[float, float]:
        """The two numbers."""
        return self.low, self.high


class LeakyReLU(Monotone):
    """max(z, 0) + leak · min(z, 0), leak >= 0."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        self.leak = leak

    def forward(self, z: Tensor) -> Tensor:
        """Same shape as z."""
        return z.relu() - self.leak * (-z).relu()

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """leak where the box reaches below 0, 1 where it reaches above."""
        one, leak = torch.ones_like(lower), torch.full_like(lower, self.leak)
        below, above = torch.where(upper > 0, one, leak), torch.where(lower < 0, leak, one)
        return torch.minimum(below, above), torch.maximum(below, above)

    def pieces(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """One bend: slopes leak, 1."""
        one = torch.ones(shape, dtype=torch.float64)
        return 0 * one[None], torch.stack([self.leak * one, one])


class Smooth(Monotone):
    """A smooth nondecreasing activation; a unit has the slopes of the points of its box."""

    peak = math.nan

    def derivative(self, z: Tensor) -> Tensor:
        """The slope at z, same shape."""
        raise AssertionError("every smooth activation defines its derivative")

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends, a few units of the last place outward."""
        low, high = self(lower), self(upper)
        return low - ULP * (low.abs() + 1), high + ULP * (high.abs() + 1)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The derivative falls away from its peak: largest at the point nearest to it, smallest at an end."""
        peak = torch.full_like(lower, self.peak)
        greatest = self.derivative(torch.minimum(torch.maximum(peak, lower), upper))
        least = torch.minimum(self.derivative(lower), self.derivative(upper))
        # A smooth unit is never constant, even where its slope underflows.
        return least * (1 - ULP), (greatest * (1 + ULP)).clamp(torch.finfo(lower.dtype).tiny, 1.0)


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
    """log(1 + e^(beta·z))/beta: its slope grows from 0 to 1.

    torch's own turns to z itself beyond its threshold, a jump of less than 3e-9/beta at 20 or more; the rule is that of
    the function without it, and smaller thresholds are refused.
    """

    peak = math.inf

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, z: Tensor) -> Tensor:
        """softplus(z)."""
        return torch.logaddexp(self.beta * z, torch.zeros_like(z)) / self.beta

    def derivative(self, z: Tensor) -> Tensor:
        """sigmoid(beta·z)."""
        return (self.beta * z).sigmoid()


class ELU(Monotone):
    """z above 0, alpha·(e^z − 1) below, alpha > 0."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, z: Tensor) -> Tensor:
        """elu(z)."""
        return z.relu() + self.alpha * z.clamp_max(0.0).expm1()

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends, a few units of the last place outward."""
        low, high = self(lower), self(upper)
        return low - ULP * (low.abs() + self.alpha), high + ULP * (high.abs() + self.alpha)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """alpha·e^z below 0, 1 above: extremes lie at the ends and at either side of 0."""
        below = self.alpha * torch.stack([lower, upper]).clamp_max(0.0).exp()
        ends = torch.where(torch.stack([lower, upper]) > 0, 1.0, below)
        across = (lower < 0) & (upper > 0)
        least, greatest = ends.amin(dim=0), ends.amax(dim=0)
        least = torch.where(across, least.clamp_max(min(self.alpha, 1.0)), least)
        greatest = torch.where(across, greatest.clamp_min(max(self.alpha, 1.0)), greatest)
        tiny = torch.finfo(lower.dtype).tiny
        return least * (1 - ULP), (greatest * (1 + ULP)).clamp(tiny, max(self.alpha, 1.0))


# How each layer of torch is read. What its parameters must be stands in blocks.py.
RULES: dict[type[nn.Module], Callable[[Any], Rule]] = {
    nn.ReLU: lambda layer: ClippedReLU(math.inf, learnable=False),
    nn.ReLU6: lambda layer: ClippedReLU(6.0, learnable=False),
    nn.Hardtanh: lambda layer: Hardtanh(layer.min_val, layer.max_val),
    nn.LeakyReLU: lambda layer: LeakyReLU(layer.negative_slope),
    nn.Tanh: lambda layer: Tanh(),
    nn.Sigmoid: lambda layer: Sigmoid(),
    nn.Softplus: lambda layer: Softplus(layer.beta),
    nn.ELU: lambda layer: ELU(layer.alpha),
}


def rule(layer: nn.Module) -> Rule | None:
    """The rule by which the bounds read a layer, or None where there is none.

    A class that derives from an activation and changes what it computes must say its slopes, image and pieces anew:
    one that redefines forward alone has no rule.
    """
    if type(layer) in RULES:
        return RULES[type(layer)](layer)
    if type(layer) in {MaxMin, ClippedMaxMin, ClippedReLU}:
        return layer  # type: ignore[return-value]
    if isinstance(layer, Activation) and not isinstance(layer, Clip):
        owner = {
            name: next(c for c in type(layer).__mro__ if name in vars(c))
            for name in ("forward", "slopes", "image", "pieces")
        }
        forward = owner["forward"]
        general = {forward, Monotone, Activation}
        if owner["slopes"] is forward is not Activation and owner["image"] in general and owner["pieces"] in general:
            return layer
    return None
