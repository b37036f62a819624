"""Activations z · g(z) with a gate g that opens from 0 to 1: GELU, SiLU, Mish, Hardswish."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import gelu, hardswish, mish, silu, softplus

from lliptools.nets.activations import Activation, ulp
from lliptools.nets.secants import by_parts

FAR = 60.0  # beyond it value and slope are those of a closed or of an open gate, up to rounding
NEAR = 1e-6  # the true places lie that near to the numbers below
SECOND = math.sqrt(0.5)
KAPPA, BETA = 0.044715, math.sqrt(2 / math.pi)


class Gated(Activation):
    """It falls up to its valley and grows from there; its slope falls up to a place, grows up to another, and falls.

    valley, flattest, steepest: the place and, rounded outward, the least value, the least and the greatest slope. The
    tests prove the signs of the derivatives around them by interval arithmetic.
    """

    valley = flattest = steepest = (math.nan, math.nan)
    function: Callable[[Tensor], Tensor]

    def forward(self, z: Tensor) -> Tensor:
        return self.function(z)

    @abstractmethod
    def derivative(self, z: Tensor) -> Tensor:
        """The slope at |z| <= FAR, same shape, with an error of at most twice ulp."""

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends and in the valley, outward by what rounds z and its product with the gate."""
        ends = torch.stack([lower, upper]).clamp_min(-FAR)
        values = self(ends)
        slack = ulp(lower) * (values.abs().clamp_max(torch.finfo(values.dtype).max) + ends.abs().clamp_max(FAR) + 1)
        low, high = (values - slack).amin(dim=0), (values + slack).amax(dim=0)
        place, lowest = self.valley
        return torch.where(_meets(lower, upper, place), lowest - ulp(lower), low), high

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Those at the two ends, or the extreme ones where the box meets their places."""
        ends = self.derivative(torch.stack([lower, upper]).clamp(-FAR, FAR))
        least, greatest = ends.amin(dim=0) - 2 * ulp(lower), ends.amax(dim=0) + 2 * ulp(lower)
        flattest, steepest = self.flattest[1] - ulp(lower), self.steepest[1] + ulp(lower)
        least = torch.where(~_meets(lower, upper, self.flattest[0]) & (least >= flattest), least, flattest)
        away = ~_meets(lower, upper, self.steepest[0])
        return least, torch.where(away & (greatest <= steepest), greatest, steepest)

    def secants(self, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return by_parts(self, z, lower, upper)


def _meets(lower: Tensor, upper: Tensor, place: float) -> Tensor:
    """Whether the box may hold the place; an end that is not a number may lie anywhere."""
    return ~((upper < place - NEAR) | (lower > place + NEAR))


class GELU(Gated):
    """z · Φ(z), Φ the normal distribution. The slope Φ + zφ turns at ±√2, since φ′ = −zφ."""

    function = staticmethod(gelu)
    valley = -0.751791524694, -0.169971207480
    flattest = -2 * SECOND, -0.128904145186
    steepest = 2 * SECOND, 1.128904145186

    def derivative(self, z: Tensor) -> Tensor:
        return torch.special.erfc(-z * SECOND) / 2 + z * (-z.square() / 2).exp() * (BETA / 2)


class TanhGELU(Gated):
    """z · (1 + tanh u)/2, u = √(2/π)(z + κz³): torch's GELU(approximate="tanh").

    The sign of the second derivative is that of 1 − z u′² tanh(u) / (u′ + zu″/2), even and falling with |z|.
    """

    function = staticmethod(partial(gelu, approximate="tanh"))
    valley = -0.752461422071, -0.170040750572
    flattest = -1.418504008791, -0.128993068660
    steepest = 1.418504008791, 1.128993068660

    def derivative(self, z: Tensor) -> Tensor:
        """(1 + tanh u + zu′/cosh²u)/2."""
        u, slope = BETA * (z + KAPPA * z**3), BETA * (1 + 3 * KAPPA * z.square())
        return (1 + u.tanh() + z * slope * u.cosh().reciprocal().square()) / 2


class SiLU(Gated):
    """z · sigmoid(z). The sign of the second derivative is that of 2 − z tanh(z/2), even and falling with |z|."""

    function = staticmethod(silu)
    valley = -1.278464542761, -0.278464542762
    flattest = -2.399357280515, -0.099839320129
    steepest = 2.399357280515, 1.099839320129

    def derivative(self, z: Tensor) -> Tensor:
        return z.sigmoid() * (1 + z * (-z).sigmoid())


class Mish(Gated):
    """z · tanh(log(1 + e^z))."""

    function = staticmethod(mish)
    valley = -1.192431214515, -0.308843413018
    flattest = -2.256376396361, -0.112526122390
    steepest = 1.490571179485, 1.088498161252

    def derivative(self, z: Tensor) -> Tensor:
        """tanh s + zσ(z)/cosh²s, s = log(1 + e^z)."""
        s = softplus(z)
        return s.tanh() + z * z.sigmoid() * s.cosh().reciprocal().square()


class Hardswish(Gated):
    """z · min(max(z + 3, 0), 6)/6: 0 below −3, z above 3, where the slope jumps."""

    function = staticmethod(hardswish)
    valley, flattest, steepest = (-1.5, -0.375), (-3.0, -0.5), (3.0, 1.5)

    def derivative(self, z: Tensor) -> Tensor:
        return torch.where(z.abs() < 3, (2 * z + 3) / 6, (z > 0).to(z.dtype))

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """0 below −3, 1 above 3, as of every gate between."""
        least, greatest = super().slopes(lower, upper)
        off, on = upper <= -3, lower >= 3
        return tuple(torch.where(on, 1.0, torch.where(off, 0.0, end)) for end in (least, greatest))  # type: ignore[return-value]
