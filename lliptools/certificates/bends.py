"""What an activation takes of a linear function of its outputs, over a ball and a box around the centre.

A line g·d through the centre stands for a·(σ(z') − σ(ẑ)), d = z' − ẑ; how far it may lie above is what is found here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.domains import Box
from lliptools.domains.center import Center
from lliptools.domains.zonotope import bent_places, relaxed, relaxed_error
from lliptools.nets import Activation
from lliptools.nets.linear import TINY
from lliptools.norms.kinds import product_above
from lliptools.norms.masked import kept_first
from lliptools.norms.rounding import enclosed, gamma, inflated, unit
from lliptools.norms.scaled import length

SEARCH = 14  # evaluations in the search for λ, in its logarithm
GOLDEN = (5**0.5 - 1) / 2
RANGE = 1e-6  # of the largest λ that is looked at; below, the ball counts for nothing


@dataclass(eq=False)
class Line:
    """What a search may choose for every pair: slopes of its unstable units, (pairs, units), and log λ, (pairs,)."""

    slopes: Tensor
    log_weight: Tensor


@dataclass(frozen=True, eq=False)
class Chord:
    """An elementwise activation between two parallel lines, σ(z) = slope · z + middle ± radius: (batch, units) each.

    z, value: ẑ and σ(ẑ) as computed; before, doubt: how far they may be from the exact ones.
    """

    slope: Tensor
    middle: Tensor
    radius: Tensor
    z: Tensor
    value: Tensor
    before: Tensor
    doubt: Tensor

    def back(self, a: Tensor, pair: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
        """Coefficients of the inputs, (pairs, units), and what is lost, (pairs,); nothing is chosen."""
        slope, middle, z, value = (part[pair] for part in (self.slope, self.middle, self.z, self.value))
        apart = slope * z + middle - value
        size = (slope * z).abs() + middle.abs() + value.abs()
        around = (self.radius + self.doubt + self.slope.abs() * self.before)[pair]
        lost = a.abs() * around - a * apart + 8 * unit(a) * a.abs() * (size + around)
        return a * slope, total(lost)


@dataclass(frozen=True, eq=False)
class Bend:
    """An elementwise, piecewise linear activation: what a ball and a box leave of its unstable units.

    - slope: (batch, units); that of an unstable one is chosen. before, doubt: how far ẑ and σ(ẑ) may be off.
    - index: (batch, unstable), which units may be unstable in a sample; the rest is about these.
    - z, value: ẑ and σ(ẑ). weight: R. places, values: (ends, batch, unstable), where the pieces meet, and σ there.
    - pieces: (ends − 1, batch, unstable), slopes between. rho: (batch,), of the ball.
    """

    slope: Tensor
    before: Tensor
    doubt: Tensor
    index: Tensor
    z: Tensor
    value: Tensor
    weight: Tensor
    places: Tensor
    values: Tensor
    pieces: Tensor
    rho: Tensor

    def back(self, a: Tensor, pair: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
        """Coefficients of the inputs, (pairs, units), and what is lost, (pairs,); a line that is missing is chosen."""
        index = self.index[pair]
        of_unstable = a.gather(1, index)
        at = _At(self.z[pair], self.value[pair], self.weight[pair], self.rho[pair], of_unstable)
        pieces = [part[:, pair] for part in (self.places, self.values, self.pieces)]
        if self not in lines:
            lines[self] = _first_line(at, *pieces)
        line = lines[self]
        steepest, flattest = pieces[2].amax(dim=0), pieces[2].amin(dim=0)
        g = of_unstable * torch.minimum(torch.maximum(line.slopes, flattest), steepest)
        every = (a * self.slope[pair]).scatter(1, index, g)
        rounding = total(a.abs() * self.doubt[pair] + every.abs() * self.before[pair])
        return every, at.lost(g, line.log_weight.exp(), *pieces) + rounding


Lines = dict[Bend, Line]  # what is chosen at each bend


@dataclass(frozen=True, eq=False)
class _At:
    """Unstable units of pairs at the centre: (pairs, unstable), rho (pairs,)."""

    z: Tensor
    value: Tensor
    weight: Tensor
    rho: Tensor
    a: Tensor

    def lost(self, g: Tensor, weight: Tensor, places: Tensor, values: Tensor, pieces: Tensor) -> Tensor:
        """λρ²/2 − Σ of the least values, with all rounding: (pairs,), for any g (pairs, unstable) and λ > 0."""
        least, bent = self._least(g, weight, places, values, pieces), weight[:, None] * self.weight
        reach = places[0].abs() + places[-1].abs() + self.z.abs()
        size = reach * (self.a.abs() * pieces.abs().amax(dim=0) + g.abs() + bent * reach)
        size = size + self.a.abs() * (values.abs().amax(dim=0) + self.value.abs())
        ball = inflated(product_above(product_above(weight, self.rho), self.rho), 4) / 2
        return inflated(ball + total(64 * unit(size) * size + 8 * enclosed(TINY) * reach - least))

    def _least(self, g: Tensor, weight: Tensor, places: Tensor, values: Tensor, pieces: Tensor) -> Tensor:
        """The least of a(σ(z') − σ(ẑ)) − g d + λR d²/2 over the pieces, from the tangent at its place."""
        bent = weight[:, None] * self.weight
        low, high, slope = places[:-1], places[1:], self.a * pieces
        tilt = slope - g
        place = self.z - tilt / bent.clamp_min(TINY)
        place = torch.minimum(torch.maximum(place.detach(), low), high)
        d = place - self.z
        there = self.a * (values[:-1] - self.value) + slope * (place - low) - g * d + bent * d.square() / 2
        tangent = (tilt + bent * d).detach()
        return (there + torch.minimum(tangent * (low - place), tangent * (high - place))).amin(dim=0)


def _first_line(at: _At, places: Tensor, values: Tensor, pieces: Tensor) -> Line:
    """λ by golden section; slopes of the piece at the middle where a·σ has one bend that points down, else chords."""
    low, high = places[0], places[-1]
    there = places[1:] > places[:-1]
    first = pieces.gather(0, there.byte().argmax(dim=0, keepdim=True))[0]
    last = pieces.flip(0).gather(0, there.byte().flip(0).argmax(dim=0, keepdim=True))[0]
    around = there & (places[:-1] <= (low + high) / 2)
    middle = pieces.flip(0).gather(0, around.byte().flip(0).argmax(dim=0, keepdim=True))[0]
    touches = (there.sum(dim=0) == 2) & ((at.a > 0) == (last > first))
    width = torch.where(high > low, high - low, 1.0)
    slopes = torch.where(touches, middle, (values[-1] - values[0]) / width)
    slopes = torch.minimum(torch.maximum(slopes, pieces.amin(dim=0)), pieces.amax(dim=0))
    g = at.a * slopes
    tilt = torch.where(there, (at.a * pieces - g).abs(), 0.0).amax(dim=0)
    tilt = torch.where(at.weight > 0, tilt / at.weight.clamp_min(TINY).sqrt(), 0.0).norm(dim=1)
    far = (2 * tilt / at.rho.clamp_min(TINY)).clamp(1e-100, 1e100).log()
    near = far + math.log(RANGE)

    def lost(log_weight: Tensor) -> Tensor:
        return at.lost(g, log_weight.exp(), places, values, pieces)

    one, other = far - GOLDEN * (far - near), near + GOLDEN * (far - near)
    at_one, at_other = lost(one), lost(other)
    for _ in range(SEARCH):
        left = at_one < at_other
        near, far = torch.where(left, near, one), torch.where(left, other, far)
        fresh = torch.where(left, far - GOLDEN * (far - near), near + GOLDEN * (far - near))
        at_fresh = lost(fresh)
        one, other = torch.where(left, fresh, other), torch.where(left, one, fresh)
        at_one, at_other = torch.where(left, at_fresh, at_other), torch.where(left, at_one, at_fresh)
    return Line(slopes, torch.where(at_one < at_other, one, other))


def elementwise(
    activation: Activation, box: Box, before: Center, after: Center, weight: Tensor, rho: Tensor
) -> Bend | Chord:
    """What an elementwise activation takes.

    - box: of its inputs. before, after: the values at the centre on both sides of it, (batch, *units).
    - weight, rho: R, (batch, units), and ρ, (batch,), of the ball of its inputs.
    """
    z, value, shape = before.value.flatten(1), after.value.flatten(1), before.value.shape[1:]
    pieces = activation.pieces(shape)
    if pieces is None:
        slope, middle, radius, error = relaxed(activation, box, shape)
        return Chord(slope, middle, radius + error, z, value, before.doubt.flatten(1), after.doubt.flatten(1))
    least, greatest = (side.to(z).flatten(1) for side in activation.slopes(box.lower, box.upper))
    index, _ = kept_first(~(least == greatest))
    places, values = bent_places(activation, pieces[0], box)
    steepest = torch.maximum(least.abs(), greatest.abs()).view_as(box.lower)
    doubt = (after.doubt + relaxed_error(activation, places, values, steepest, torch.zeros_like(steepest))).flatten(1)

    def some(part: Tensor) -> Tensor:
        """The unstable units: (…, batch, units) -> (…, batch, unstable)."""
        return part.flatten(-len(shape)).gather(-1, index.expand(*part.shape[: -len(shape) - 1], *index.shape))

    moved = length(weight.sqrt() * before.doubt.flatten(1), dim=1)
    return Bend(
        slope=greatest,
        before=before.doubt.flatten(1),
        doubt=doubt,
        index=index,
        z=z.gather(1, index),
        value=value.gather(1, index),
        weight=weight.gather(1, index),
        places=some(places),
        values=some(values),
        pieces=some(pieces[1].to(z)[:, None].expand(-1, len(z), *shape)),
        rho=inflated(rho + moved),
    )


def total(parts: Tensor) -> Tensor:
    """Sums of what is lost and gained, (pairs, units) -> (pairs,), rounded up; underflow of products counts too."""
    rounding = gamma(parts.shape[1], parts) * parts.abs().sum(dim=1)
    return parts.sum(dim=1) + rounding + enclosed(8 * parts.shape[1] * TINY)
