"""What the boxes say of unstable units: products of affine functions that are 0, or not below 0, all over the ball.

Let v = [δ/eps; Δσ/scale]: how far the input, and the outputs of the unstable units, move from the centre; ‖δ‖ <= eps
and |Δσ_j| <= scale_j. All other movements are matrices times v. Where σ has one bend b in the box [l, u] of its unit,

    α = (z − b)⁺/(u − b),    β = (b − z)⁺/(b − l),    κ = 1 − α − β

are affine in z and σ(z), in [0, 1], and αβ = 0, κα >= 0, κβ >= 0; all else that is known of the three follows. Of any
other unit, with secants from the centre in [p, q]: ζ(1 − ζ) >= 0 with ζ = (z − l)/(u − l), and
(Δσ − p Δz)(q Δz − Δσ) >= 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from lliptools.certificates.semidefinite import Products
from lliptools.domains import BlockBound, Box, Slopes
from lliptools.domains.center import Center
from lliptools.domains.zonotope import bent_places, relaxed_error
from lliptools.nets.activations import Activation
from lliptools.nets.linear import TINY, LinearMap
from lliptools.norms.rounding import enclosed, entry_error, gamma, inflated, unit
from lliptools.norms.scaled import length, times_power_of_two

WIDER = 1e-4  # by so much sides of triangles and ranges of secants are widened, or else they may be too short
Function = tuple[Tensor, Tensor]  # affine, in [−1, 1]: rows (units, 1 + variables), and how far off, (units,)


class Known:
    """All that is known of the unstable units of one sample: functions, and which products are 0 or not below 0."""

    def __init__(self, like: Tensor) -> None:
        self.functions: list[Function] = [(like.new_ones(1, 1), like.new_zeros(1))]
        self.products: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, function: Function) -> Tensor:
        """The numbers of these functions, (units,)."""
        before = sum(len(error) for _, error in self.functions)
        self.functions.append(function)
        return torch.arange(before, before + len(function[1]), device=function[1].device)

    def multiply(self, first: Tensor, second: Tensor, *, zero: bool = False) -> None:
        """Add that the products of these functions, by number, are 0, or else not below 0: (units,) each."""
        self.products.append((first, second, torch.full_like(first, zero, dtype=torch.bool)))

    def gathered(self, ball: int, variables: int) -> tuple[Products, Tensor]:
        """All products in one, and how far their functions may be off, (functions,)."""
        rows = torch.cat([pad(rows, (0, 1 + variables - rows.shape[1])) for rows, _ in self.functions])
        first, second, zero = (torch.cat(parts) for parts in zip(*self.products, strict=True))
        return Products(rows, first, second, zero, ball), torch.cat([error for _, error in self.functions])


@dataclass(frozen=True, eq=False)
class Layer:
    """How far the units of a layer of one sample move from the centre: state v, state (units, variables).

    off: (units,), how far the true movements may be from that. ball: how many variables the ball of the input holds.
    """

    state: Tensor
    off: Tensor
    ball: int

    @classmethod
    def first(cls, linear: LinearMap, center: Tensor, eps: Tensor) -> Layer:
        """Behind the first linear map; center: (1, features), eps: (1,)."""
        found = Slopes.start(center, eps).linear(linear)
        state = times_power_of_two(found.state[0].mT, found.exponent) * eps
        off = times_power_of_two(found.error_of(0)[0], found.exponent, upward=True) * eps
        off = off + 4 * unit(off) * length(state, dim=1) + enclosed(TINY * state.shape[1])
        off = torch.where(found.lost, torch.nan, off)
        return cls(state, inflated(off, len(state.T)), len(state.T))

    def size(self) -> Tensor:
        """What the products in every row of the state add up to at most, whatever their signs are: (units,)."""
        total = length(self.state[:, : self.ball], dim=1) + self.state[:, self.ball :].abs().sum(dim=1)
        return inflated(total, len(self.state.T))

    def times(self, linear: LinearMap) -> Layer:
        """Behind a linear map."""
        weight, beside, size = linear.weight, entry_error(linear), self.size()
        off = weight.abs() @ (self.off + gamma(len(size), size) * size) + enclosed(TINY * self.state.numel())
        if beside is not None:
            off = off + beside @ (size + self.off)
        return Layer(weight @ self.state, inflated(off, len(size)), self.ball)

    def after(self, block: BlockBound, before: Center, after: Center, known: Known) -> Layer:
        """Behind an activation, with a variable per unstable unit; known is added to. before, after: at the centre."""
        activation, box = block.activation, block.box
        if activation is None:
            return self
        least, greatest = (end.flatten() for end in activation.ranges(box.lower, box.upper, before.limits()))
        index = (~(least == greatest)).nonzero()[:, 0]
        scale = inflated(block.output.upper - block.output.lower).flatten()[index]
        fed = self.state.new_zeros(len(greatest), len(index))
        fed[index, torch.arange(len(index), device=index.device)] = scale
        slope, size = greatest.index_fill(0, index, 0.0), self.size()
        state = torch.cat([slope[:, None] * self.state, fed], dim=1)
        off = inflated(slope.abs() * (self.off + unit(slope) * size) + enclosed(TINY))
        sides = (before.value, before.doubt, after.value, after.doubt, box.lower, box.upper, least, greatest)
        z_rows, of_units = pad(self.state, (0, len(index)))[index], (part.flatten()[index] for part in sides)
        units = _Units(z_rows, self.off[index], size[index], state[index], scale, *of_units)
        _add(known, units, activation, box, index)
        return Layer(state, off, self.ball)


class _Units(NamedTuple):
    """Unstable units: Δz and Δσ as rows (units, variables), and (units,) each of the others.

    off, size: of Δz. scale: of Δσ. z, h: values at the centre. lower, upper: box. least, greatest: secants from it.
    """

    z_rows: Tensor
    off: Tensor
    size: Tensor
    h_rows: Tensor
    scale: Tensor
    z: Tensor
    z_doubt: Tensor
    h: Tensor
    h_doubt: Tensor
    lower: Tensor
    upper: Tensor
    least: Tensor
    greatest: Tensor

    def some(self, which: Tensor) -> _Units:
        return _Units(*(part[which] for part in self))

    def function(self, on_h: Tensor, value: Tensor, on_z: Tensor, place: Tensor) -> Function:
        """on_h · (σ(z) − value) + on_z · (z − place): (units,) each."""
        u = unit(on_h)
        h, z = on_h * (self.h - value), on_z * (self.z - place)
        rows = torch.cat([(h + z)[:, None], on_h[:, None] * self.h_rows + on_z[:, None] * self.z_rows], dim=1)
        of_h = self.h_doubt + 16 * u * (self.h.abs() + value.abs() + self.scale)
        of_z = self.z_doubt + self.off + 16 * u * (self.z.abs() + place.abs() + self.size)
        return rows, inflated(on_h.abs() * of_h + on_z.abs() * of_z + enclosed(TINY), 8)


def _add(known: Known, units: _Units, activation: Activation, box: Box, index: Tensor) -> None:
    """Add what is known of the unstable units, which have these indices in their layer."""
    pieces, bent = activation.pieces(box.lower.shape[1:]), torch.zeros_like(index).bool()
    if pieces is not None and len(pieces[0]):
        places, values = bent_places(activation, pieces[0], box)
        slopes = pieces[1].to(box.lower)
        steepest = slopes.abs().amax(dim=0)[None]
        error = relaxed_error(activation, places, values, steepest, torch.zeros_like(steepest)).flatten()[index]
        places, values, slopes = (part.flatten(1)[:, index] for part in (places, values, slopes))
        inside = (places[1:-1] > units.lower) & (places[1:-1] < units.upper)
        bent, at = inside.sum(dim=0) == 1, inside.byte().argmax(dim=0, keepdim=True)
        there = (places.gather(0, at + 1), values.gather(0, at + 1), slopes.gather(0, at), slopes.gather(0, at + 1))
        triangles = units._replace(h_doubt=units.h_doubt + error).some(bent)
        _add_triangles(known, triangles, *(part[0, bent] for part in there))
    others = units.some(~bent)
    width, nothing = others.upper - others.lower, torch.zeros_like(others.z)
    room = WIDER * torch.maximum(others.least.abs(), others.greatest.abs())
    least, greatest = others.least - room, others.greatest + room
    weight = 1 / (width * (greatest - least))
    zeta = others.function(nothing, nothing, 1 / width, others.lower)
    below = others.function(weight, others.h, -least * weight, others.z)
    above = others.function(-weight, others.h, greatest * weight, others.z)
    known.multiply(known.add(zeta), known.add(_rest(zeta)))
    known.multiply(known.add(below), known.add(above))


def _add_triangles(known: Known, units: _Units, place: Tensor, value: Tensor, low: Tensor, high: Tensor) -> None:
    """Add what is known of units with one bend, at a place, between the slopes low and high."""
    left, right = place - units.lower, units.upper - place
    left, right = torch.maximum(left, WIDER * right), torch.maximum(right, WIDER * left)
    up, down = 1 / ((high - low) * right), 1 / ((high - low) * left)
    one = units.function(up, value, -low * up, place)
    other = units.function(down, value, -high * down, place)
    alpha, beta, kappa = known.add(one), known.add(other), known.add(_rest(one, other))
    known.multiply(alpha, beta, zero=True)
    known.multiply(kappa, alpha)
    known.multiply(kappa, beta)


def _rest(*functions: Function) -> Function:
    """1 minus the functions."""
    rows = -torch.stack([rows for rows, _ in functions]).sum(dim=0)
    rows[:, 0] += 1
    errors = [error + 8 * unit(row) * (1 + row.abs().sum(dim=1)) for row, error in functions]
    return rows, inflated(torch.stack(errors).sum(dim=0))
