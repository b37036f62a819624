"""An activation on the way back: elementwise functions, comparisons and choices of units, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.certificates.bends import Bend, Chord, Lines, elementwise, total
from lliptools.domains import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.nets import Activation, MaxMin
from lliptools.nets.clips import Absolute
from lliptools.nets.linear import TINY
from lliptools.norms.rounding import enclosed, gamma, inflated, times_above, unit


@dataclass(frozen=True, eq=False)
class Compared:
    """[a, b] -> [max(a, b), min(a, b)]: the mean of both, and half of |a − b| added and taken away.

    apart: what |a − b| takes. moves: (batch, units), how far a and b can be from the centre.
    """

    apart: Bend | Chord
    moves: Tensor

    def back(self, a: Tensor, pair: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
        """Coefficients of the inputs, (pairs, units), and what is lost, (pairs,)."""
        larger, smaller = a.chunk(2, dim=1)
        mean, difference = (larger + smaller) / 2, (larger - smaller) / 2
        g, lost = self.apart.back(difference, pair, lines)
        size = torch.cat([larger.abs() + smaller.abs() + g.abs()] * 2, dim=1)
        rounding = (8 * unit(a) * size + 8 * enclosed(TINY)) * self.moves[pair]
        return torch.cat([mean + g, mean - g], dim=1), lost + total(rounding)


@dataclass(frozen=True, eq=False)
class Picked:
    """Some of the units, some of them several times, (picked,) by index; moves: (batch, picked), as of Compared."""

    index: Tensor
    units: int
    copies: int
    moves: Tensor

    def back(self, a: Tensor, pair: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
        """Coefficients of the inputs, (pairs, units), and what is lost, (pairs,)."""
        g = a.new_zeros(len(a), self.units).index_add(1, self.index, a)
        return g, total(gamma(self.copies, a) * a.abs() * self.moves[pair])


Stage = Bend | Chord | Compared | Picked


@dataclass(frozen=True, eq=False)
class _Record:
    """What an activation does to units, noted by its own relax (nets.Activation.relax).

    center: the units at the centre. known: their box. weight, rho: their ball, ‖weight^½ d‖ ≤ rho.
    """

    center: Center
    known: Box
    weight: Tensor
    rho: Tensor
    stages: tuple[Stage, ...] = ()

    def box(self) -> Box:
        return self.known

    def bent(self, activation: Activation, lower: Tensor, upper: Tensor) -> _Record:
        before, box = self.center.shaped(lower.shape), Box(lower, upper)
        after = before.bent(activation)
        stage = elementwise(activation, box, before, after, self.weight, self.rho)
        steepest = activation.slope(lower, upper).flatten(1).clamp_min(1.0)
        weight = self.weight / inflated(steepest.square())
        return _Record(after, Box(*activation.image(lower, upper)), weight, self.rho, (*self.stages, stage))

    def compared(self, lower: Tensor, upper: Tensor) -> _Record:
        center, far = self.center.shaped(lower.shape), torch.full_like(lower[:, : lower.shape[1] // 2], torch.inf)
        (a, b), (doubt_a, doubt_b) = center.value.chunk(2, dim=1), center.doubt.chunk(2, dim=1)
        (low_a, low_b), (high_a, high_b) = lower.chunk(2, dim=1), upper.chunk(2, dim=1)
        one, other = self.weight.chunk(2, dim=1)
        both = one * other / torch.where(one + other > 0, one + other, 1.0) * (1 - 8 * unit(one))
        between = Center(a - b, inflated(doubt_a + doubt_b) + 2 * unit(a) * (a - b).abs())
        box = Box((low_a - high_b).nextafter(-far), (high_a - low_b).nextafter(far))
        apart = elementwise(Absolute(), box, between, replace(between, value=between.value.abs()), both, self.rho)
        doubt = torch.maximum(doubt_a, doubt_b)
        after = Center(MaxMin()(center.value), torch.cat([doubt, doubt], dim=1))
        known = Box(*MaxMin().image(lower, upper))
        weight = torch.cat([torch.minimum(one, other)] * 2, dim=1)
        stage = Compared(apart, moves(center, Box(lower, upper)))
        return _Record(after, known, weight, self.rho, (*self.stages, stage))

    def picked(self, index: Tensor, shape: tuple[int, ...]) -> _Record:
        units = self.weight.shape[1]
        copies = int(torch.bincount(index, minlength=units).max())

        def some(part: Tensor) -> Tensor:
            return part.flatten(1)[:, index].reshape(-1, *shape)

        center = Center(some(self.center.value), some(self.center.doubt))
        known = Box(some(self.known.lower), some(self.known.upper))
        weight = self.weight[:, index] * ((1 - 8 * unit(self.weight)) / copies)
        stage = Picked(index, units, copies, moves(center, known))
        return _Record(center, known, weight, self.rho, (*self.stages, stage))


def moves(center: Center, box: Box) -> Tensor:
    """How far units can be from the centre, (batch, units)."""
    return inflated(torch.maximum(box.upper - center.value, center.value - box.lower).abs() + center.doubt).flatten(1)


def stages(block: BlockBound, before: Center) -> tuple[Stage, ...]:
    """What a block's activation does to inputs in its box and in the ball of its norm; before: at the centre."""
    if block.activation is None:
        return ()
    rho = times_above(block.radius, block.growth)
    start = _Record(before, block.box, block.row_slope.flatten(1), rho)
    return block.activation.relax(start, block.box.lower, block.box.upper).stages
