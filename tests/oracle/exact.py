"""Chains of torch's piecewise linear layers in exact arithmetic, piece by piece along a segment: for the oracle."""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.ZeroPad2d, nn.CircularPad2d, nn.PixelUnshuffle)
LINEAR += (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.ReflectionPad2d, nn.ReplicationPad2d)
BENDING, ENTRIES = (nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.ReLU6), 2**17


class Exact:
    """An array of integers times one power of 2: sums and products lose nothing."""

    def __init__(self, whole: np.ndarray, power: int) -> None:
        self.whole, self.power = whole, power

    @classmethod
    def of(cls, numbers: Tensor) -> "Exact":
        mantissa, power = np.frexp(numbers.detach().numpy().astype(np.float64))
        power = np.where(mantissa == 0, 0, power - 53)
        whole = (mantissa * 2.0**53).astype(np.int64).astype(object)
        return cls(whole << (power - power.min()).astype(object), int(power.min()))

    def fractions(self) -> np.ndarray:
        return self.whole * Fraction(2) ** self.power

    def __matmul__(self, other: "Exact") -> "Exact":
        return Exact(self.whole @ other.whole, self.power + other.power)

    def __add__(self, other: "Exact") -> "Exact":
        return join(np.add, self, other)


def join(put: Callable[..., np.ndarray], *parts: Exact) -> Exact:
    """What a function makes of the integers of parts that have been brought to the same power."""
    power = min(part.power for part in parts)
    return Exact(put(*(part.whole << (part.power - power) for part in parts)), power)


class Chain:
    """A network of piecewise linear layers in float64, on samples like one (1, *shape); ValueError for other layers."""

    def __init__(self, net: nn.Module, sample: Tensor) -> None:
        self.net, self.sample, self.known = net, sample, {}
        here = next(self.pieces(Exact.of(sample.flatten()), Exact.of(0 * sample.flatten())))[2]
        self.answer = torch.tensor([float(number) for number in here[0]], dtype=torch.float64)

    def pieces(self, x: Exact, step: Exact, most: int = 60) -> Iterator[tuple[Fraction, Fraction, np.ndarray]]:
        """Outputs a + b t at x + t · step, 0 <= t <= 1, piece by piece: (from, to, [a, b]), at most so many."""
        start, t = join(lambda *ends: np.stack(ends), x, step), Fraction(0)
        while t < 1 and most:
            outputs, _, until = self.after(self.net, start, t, self.sample)
            yield t, (end := Fraction(min(until, 1))), outputs.fractions()
            t, most = end, most - 1

    @torch.no_grad()
    def after(self, net: nn.Module, h: Exact, t: Fraction, x: Tensor) -> tuple[Exact, Tensor, Fraction | float]:
        """Units a + b t just after t, h (2, units), behind a layer; a sample there; where the first unit bends next."""
        kind, until = type(net).__name__, math.inf
        if type(net) is nn.Sequential or kind == "Residual":
            start, sample = h, x
            for layer in net if kind == "Sequential" else net.block:
                h, x, bend = self.after(layer, h, t, x)
                until = min(until, bend)
            return (h, x, until) if kind == "Sequential" else (start + h, sample, until)
        y = net(x.clone())
        if type(net) in LINEAR and x.numel() * y.numel() <= ENTRIES and getattr(net, "padding_mode", "") in "zeros":
            if (net, x.shape) not in self.known:
                bare, units = deepcopy(net), torch.eye(x.numel(), dtype=torch.float64).view(-1, *x.shape[1:])
                if getattr(net, "bias", None) is not None:
                    bare.bias = None
                self.known[net, x.shape] = Exact.of((bare(units) - bare(0 * units)).flatten(1)), still(net(0 * x))
            h = h @ self.known[net, x.shape][0] + self.known[net, x.shape][1]
        elif (type(net) in BENDING and not net.inplace) or kind == "ClippedReLU":
            low, leak = torch.full_like(x, getattr(net, "min_val", 0.0)), getattr(net, "negative_slope", 0.0)
            high = low.maximum(torch.as_tensor(getattr(net, "max_val", getattr(net, "theta", math.inf))).double())
            (over, first), (beyond, second) = above(h, still(low), t), above(h, still(high), t)
            h = choose(over, h, h @ Exact.of(leak * torch.eye(x.numel(), dtype=x.dtype)) if leak else still(low))
            h, until = choose(beyond & high.isfinite().flatten().numpy(), still(high), h), min(first, second)
        elif kind == "MaxMin":
            half = x.numel() // 2
            other = Exact(np.roll(h.whole, half, axis=1), h.power)
            larger, until = above(h, other, t)
            h = choose(larger == (np.arange(2 * half) < half), h, other)
        else:
            raise ValueError(f"{kind} is not known here")
        return h, y, until


def still(units: Tensor) -> Exact:
    """Units that do not move along the segment; an infinite one is given as 0."""
    units = units.flatten().nan_to_num(0, 0, 0)
    return Exact.of(torch.stack([units, 0 * units]))


def above(z: Exact, bend: Exact, t: Fraction) -> tuple[np.ndarray, Fraction | float]:
    """Which units are above their bends just after t, and where the next one crosses its bend."""
    a, b = join(np.subtract, z, bend).whole
    now = a * t.denominator + b * t.numerator
    crossing = (now * b < 0).nonzero()[0]
    return np.where(now == 0, b, now) > 0, min((Fraction(-a[i], b[i]) for i in crossing), default=math.inf)


def choose(which: np.ndarray, one: Exact, other: Exact) -> Exact:
    """The units of one where which holds, else those of the other."""
    return join(lambda *parts: np.where(which, *parts), one, other)
