"""Interval bound propagation (IBP): every unit lies in an interval of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.domains.block import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain
from lliptools.nets.checks import check_domain
from lliptools.nets.linear import SAFE, LinearMap
from lliptools.norms.kinds import errs
from lliptools.norms.rounding import absolute_with_slack, unit


@errs("upper", encloses=True)
@dataclass(frozen=True, eq=False)
class Interval(Domain):
    """The box of the units, moved on by interval arithmetic: middle W m + b, half-width |W| d."""

    known: Box
    inputs = -math.inf, math.inf  # in which every input value lies; of the class

    @classmethod
    def start(cls, center: Tensor, eps: Tensor) -> Interval:
        """The smallest box around the part of the ball that is known. Raises InvalidInput for a centre outside."""
        check_domain(cls.inputs, center)
        box, (low, high) = Box.of_ball(center, eps), cls.inputs
        return Interval(Box(box.lower.clamp_min(low), box.upper.clamp_max(high)))

    @staticmethod
    def confined(low: float, high: float) -> type[Interval]:
        """Intervals of inputs in [low, high], as [0, 1] for pixels: the bound is one on that part of the ball."""
        return errs("upper", encloses=True)(type("Confined", (Interval,), {"inputs": (low, high)}))

    def linear(self, linear: LinearMap) -> Interval:
        inputs = self.known
        tiny = torch.finfo(inputs.lower.dtype).tiny
        between = inputs.lower / 2 + inputs.upper / 2
        half = inputs.upper / 2 - inputs.lower / 2
        moves = inputs.upper > inputs.lower
        smallest = torch.where(moves, half, torch.inf).amin()
        if smallest < tiny:  # half of 5e-324 would be 0
            half = torch.where(moves, half.clamp_min(tiny), half)
        half = half + 2 * unit(half) * (inputs.lower.abs() + inputs.upper.abs())
        reach = absolute_with_slack(linear, half, between.abs() + half)
        if linear.has_tiny_entries or smallest < SAFE:
            reach = reach + linear.reached(half > 0).to(half.dtype) * linear.underflow
        return Interval(Box.around(linear.apply(between), reach))

    def box(self, center: Center) -> Box:
        return self.known

    def after(self, block: BlockBound, radius: Tensor) -> Interval:
        return Interval(block.output)

    def add(self, earlier: Interval) -> Interval:
        shape, one, other = self.known.lower.shape, self.known, earlier.known
        lower, upper = one.lower + other.lower.reshape(shape), one.upper + other.upper.reshape(shape)
        return Interval(Box.outward(lower - 2 * unit(lower) * lower.abs(), upper + 2 * unit(upper) * upper.abs()))
