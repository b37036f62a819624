"""Smooth activations: the slopes over a box are those of its points."""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lliptools.nets.activations import Monotone, outward, tiny, ulp
from lliptools.nets.secants import by_parts, convex, sigmoidal

LOWEST = 750.0  # e^−z is 0 beyond it
FURTHEST = 1e30  # |z| + 1 is |z| beyond it, in float32 too


class Smooth(Monotone):
    """A smooth nondecreasing activation; a unit has the slopes of the points of its box."""

    peak = math.nan

    def secants(self, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """As of a function that is convex below its peak, concave above, and symmetric about it."""
        return sigmoidal(self, self.derivative, z, lower, upper)

    @abstractmethod
    def derivative(self, z: Tensor) -> Tensor:
        """The slope at z, same shape."""

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
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
        return z.tanh()

    def derivative(self, z: Tensor) -> Tensor:
        """1/cosh²(z), without the cancellation of 1 − tanh²."""
        return z.cosh().reciprocal().square()


class Sigmoid(Smooth):
    """1/(1 + e^−z): steepest at 0, where its slope is 1/4."""

    peak = 0.0

    def forward(self, z: Tensor) -> Tensor:
        return z.sigmoid()

    def derivative(self, z: Tensor) -> Tensor:
        return z.sigmoid() * (-z).sigmoid()


class Softsign(Smooth):
    """z/(1 + |z|): steepest at 0."""

    peak = 0.0

    def forward(self, z: Tensor) -> Tensor:
        """softsign(z), also at the ends of the line."""
        z = z.clamp(-FURTHEST, FURTHEST)
        return z / (1 + z.abs())

    def derivative(self, z: Tensor) -> Tensor:
        return (1 + z.abs()).reciprocal().square()


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

    def secants(self, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return convex(self, z, lower, upper) if self.is_smooth else self.slopes(lower, upper)

    def derivative(self, z: Tensor) -> Tensor:
        return (self.beta * z).sigmoid()

    def _before(self, upper: Tensor) -> Tensor:
        return self.beta * upper < self.threshold - ulp(upper) * abs(self.threshold)

    def _power(self, z: Tensor) -> Tensor:
        return (-self.beta * z).clamp(0.0, LOWEST)


class ELU(Monotone):
    """scale · z above 0, scale · alpha · (e^z − 1) below; alpha, scale > 0. SELU is one with a scale."""

    def __init__(self, alpha: float, scale: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.scale = alpha, scale

    def forward(self, z: Tensor) -> Tensor:
        return torch.ops.aten.elu(z, self.alpha, self.scale)

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return outward(self(lower), self(upper))

    def secants(self, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return (convex if self.alpha <= 1 else by_parts)(self, z, lower, upper)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """scale·alpha·e^z below 0, scale above: extremes lie at the ends and at either side of 0."""
        ends = torch.stack([lower, upper])
        left, right = self.scale * self.alpha, self.scale
        ends = torch.where(ends > 0, right, left * ends.clamp_max(0.0).exp())
        across = ~((lower > 0) | (upper <= 0))
        least, greatest = ends.amin(dim=0), ends.amax(dim=0)
        least = torch.where(across, least.clamp_max(min(left, right)), least)
        greatest = torch.where(across, greatest.clamp_min(max(left, right)), greatest)
        steepest = max(left, right) * (1 if right == 1 else 1 + 1e-6)  # a product was rounded, to float32 too
        return within(least * (1 - ulp(lower)), greatest * (1 + ulp(lower)), steepest)
