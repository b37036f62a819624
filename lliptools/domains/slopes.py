"""Units that are provably linear in the ball are merged with the matrices around them; only unstable units cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.domains.block import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain
from lliptools.domains.merged import LOST, Merged
from lliptools.nets.activations import Activation, Limits
from lliptools.nets.linear import TINY, LinearMap
from lliptools.nets.pairs import MaxMin
from lliptools.norms.kinds import errs
from lliptools.norms.masked import kept_first
from lliptools.norms.rounding import enclosed, entry_error, gamma, inflated, is_outward, times_above
from lliptools.norms.scaled import length, times_power_of_two

FAINT = 1e-100  # a slope below this may have lost digits to underflow


@errs("upper", encloses=True)
@dataclass(frozen=True, eq=False)
class Slopes(Merged, Domain):
    """What is linear in the ball: the state of `Merged`, moved through the network."""

    @classmethod
    def start(cls, center: Tensor, eps: Tensor) -> Slopes:
        features, device = center.shape[1], center.device
        state = torch.eye(features, dtype=torch.float64, device=device)[None]
        alive = torch.ones(1, features, dtype=torch.bool, device=device)
        lost = torch.zeros(len(center), dtype=torch.bool, device=device)
        return cls(state, torch.zeros_like(state[:, 0]), alive, lost, features, eps)

    def linear(self, linear: LinearMap) -> Slopes:
        """The state after a linear map that can be written as a matrix; its bias does not matter."""
        return self.times(linear.weight.detach(), entry_error(linear))

    def after(self, block: BlockBound, radius: Tensor) -> Slopes:
        """The state after an activation, by its slopes over the box of its inputs."""
        if block.activation is None:
            return self
        return block.activation.relax(Passing(self, block.center), block.box.lower, block.box.upper).slopes

    def picked(self, index: Tensor) -> Slopes:
        """The state of some of the units, in another order, some of them several times: index (units,)."""
        state, error, alive = (part[..., index] for part in (self.state, self.error, self.alive))
        return replace(self, state=state, error=error, alive=alive, fresh=False)

    def beside(self, other: Slopes) -> Slopes:
        """The state, with Δx itself as its first variables from here on; it reads none of the other branch."""
        state = torch.nn.functional.pad(self.state, (0, 0, 0, other.state.shape[1] - self.state.shape[1]))
        return replace(other, state=state, error=self.error, alive=self.alive, exponent=self.exponent, fresh=False)

    def box(self, center: Center) -> Box:
        """The values at the centre ± eps times what `reach` bounds."""
        reach = times_above(self.eps[:, None], self.reach()).reshape(center.value.shape)
        return Box.around(center.value, inflated(reach + center.doubt))

    def times(self, weight: Tensor, beside: Tensor | None = None) -> Slopes:
        """The state after h -> W h; weight: (rows, columns), beside: how far its entries may be from those of W."""
        largest = weight.abs().max().item() if weight.numel() else 0.0
        exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
        scaled = times_power_of_two(weight, -exponent)
        beside = torch.zeros_like(scaled) if beside is None else beside
        beside = times_power_of_two(beside, -exponent, upward=True)
        # Beside a weight of 1e300, one of 1e-10 loses digits.
        beside = beside + enclosed(TINY) * ((weight != 0) & (scaled.abs() < TINY))
        reads = ((weight != 0) | (beside > 0)).T.double()
        alive = (self.alive | (self.error > 0)).double() @ reads > 0
        if self.fresh:
            state, error = _first(scaled, beside)
        else:
            state, error = self.state @ scaled.T, self._error_of_product(scaled, beside)
        lost, small = self.lost, alive & (state.abs().amax(dim=1) < LOST) & (error < LOST)
        if small.any():  # a sum that cancels is 0 rightly; one whose terms underflow is not
            small = small & ((self.state.abs() @ scaled.abs().T).amax(dim=1) < LOST)
            lost = lost | small.any(dim=1)
        features = state.shape[1] if self.fresh else self.features
        after = replace(self, state=state, error=error, alive=alive, lost=lost, features=features, fresh=False)
        return replace(after, exponent=self.exponent + exponent)

    def units(self, least: Tensor, greatest: Tensor) -> Slopes:
        """The state after units whose slopes lie in [least, greatest], each (batch, units)."""
        middle, radius = (least + greatest) / 2, (greatest - least).abs() / 2
        steepest = torch.maximum(least.abs(), greatest.abs())
        lost = self.lost | ((steepest > 0) & (steepest < FAINT)).any(dim=1)
        # |middle| + radius is steepest, so that this holds what the new variables lack, and how both were rounded.
        state, error = self.state * middle[:, None, :], self.error_of(0) * steepest
        after = replace(self, state=state, error=error, alive=self.alive & (steepest != 0), lost=lost)
        return after._with(self, radius, 1)

    def pairs(self, least: Tensor, greatest: Tensor) -> Slopes:
        """The state after [max, min] of the halves a, b of the units, where |a − b| has slopes in [least, greatest].

        least, greatest: (batch, pairs). The larger is (a + b + s (a − b)) / 2 with such a slope s, the smaller has −s.
        """
        one, other = self.state.chunk(2, dim=2)
        one_error, other_error = self.error_of(0).chunk(2, dim=1)
        first, second = self.alive.chunk(2, dim=1)
        share, radius = (2 + least + greatest) / 4, (greatest - least) / 2
        between = replace(self, state=(one - other) / 2, alive=first | second)
        of_first, of_second = share[:, None, :], (1 - share)[:, None, :]
        state = torch.cat([of_first * one + of_second * other, of_second * one + of_first * other], dim=2)
        # The most that either half counts in an output: half of its error in the mean, the rest in the variable.
        straight, crossed = (1 + greatest) / 2, (1 - least) / 2
        error = [straight * one_error + crossed * other_error, crossed * one_error + straight * other_error]
        kept_order, swapped = straight > 0, crossed > 0
        alive = [(kept_order & first) | (swapped & second), (swapped & first) | (kept_order & second)]
        after = replace(self, state=state, error=torch.cat(error, dim=1), alive=torch.cat(alive, dim=1))
        return after._with(between, radius, 1, -1)

    def add(self, earlier: Slopes) -> Slopes:
        exponent = max(self.exponent, earlier.exponent)
        # Beyond 2^300 the smaller of the two may underflow in a unit that only it feeds.
        lost = self.lost | (abs(self.exponent - earlier.exponent) > 300)
        one = times_power_of_two(self.state, self.exponent - exponent)
        other = times_power_of_two(earlier.state, earlier.exponent - exponent)
        other = torch.nn.functional.pad(other, (0, 0, 0, one.shape[1] - other.shape[1]))
        error = times_power_of_two(self.error_of(0), self.exponent - exponent, upward=True)
        error = error + times_power_of_two(earlier.error_of(0), earlier.exponent - exponent, upward=True)
        alive = self.alive | earlier.alive
        return replace(self, state=one + other, error=error, alive=alive, lost=lost, exponent=exponent)

    def _error_of_product(self, weight: Tensor, beside: Tensor) -> Tensor:
        """The error of state @ weightᵀ, where the entries of weight may be wrong by as much as those of beside."""
        if not is_outward():
            return torch.zeros_like(weight[:, 0])[None]
        error = self.error_of(len(weight.T)) @ weight.abs().T + (self._sizes[1] + self.error) @ beside.T
        return inflated(error, len(weight.T))

    def _with(self, read: Slopes, radius: Tensor, *signs: int) -> Slopes:
        """The state with a variable per unit of `read` with a radius, (batch, units); it feeds one unit per sign."""
        which, kept = kept_first(radius != 0)
        if not which.shape[1]:
            return replace(self, fresh=False)
        share, index = radius.gather(1, which) * kept, which[:, None, :].expand(-1, read.state.shape[1], -1)
        state = read.state.expand(len(which), -1, -1).gather(2, index) * share[:, None, :]
        alive = read.alive.expand(len(which), -1).gather(1, which) & (share > 0)
        rows = replace(read, state=state, error=torch.zeros_like(share), alive=alive)
        own, links = rows._reach(), rows.part_norms()
        fed = torch.zeros(*which.shape, radius.shape[1], dtype=torch.float64, device=radius.device)
        fed.scatter_(2, which[:, :, None], kept.double()[:, :, None])
        return replace(
            self,
            state=torch.cat([self.state.expand(len(fed), -1, -1), torch.cat([s * fed for s in signs], dim=2)], dim=1),
            fresh=False,
            rows=(*self.rows, state),
            own=(*self.own, own),
            joint=(*self.joint, torch.minimum(rows._sum(links), length(own, dim=1))),
            links=(*self.links, links),
            counts=(*self.counts, kept.sum(dim=1).cpu()),
        )


@dataclass(frozen=True, eq=False)
class Passing:
    """A state on its way through an activation (nets.Activation.relax).

    center: ends of the units at the centre, (batch, *units), from which slopes are secants; None: any two points.
    """

    slopes: Slopes
    center: Limits | None

    def box(self) -> Box:
        """Nothing more than the activation knows itself."""
        infinite = self.slopes.eps.new_tensor(torch.inf)
        return Box(-infinite, infinite)

    def bent(self, activation: Activation, lower: Tensor, upper: Tensor) -> Passing:
        """Behind an elementwise activation whose inputs lie in [lower, upper], (batch, *units) each."""
        slopes = (end.flatten(1).to(lower.dtype) for end in activation.ranges(lower, upper, self.center))
        return Passing(self.slopes.units(*slopes), self.center and activation.values(self.center))

    def compared(self, lower: Tensor, upper: Tensor) -> Passing:
        """[max(a, b), min(a, b)] of the two halves a, b of the channels, in [lower, upper]."""
        slopes = (end.flatten(1) for end in MaxMin().apart(lower, upper, self.center))
        return Passing(self.slopes.pairs(*slopes), self.center and MaxMin().values(self.center))

    def picked(self, index: Tensor, shape: tuple[int, ...]) -> Passing:
        """Units of another shape, (*shape), each one of these: index (units,)."""
        if self.center is None:
            return Passing(self.slopes.picked(index), None)
        low, high = (side.flatten(1)[:, index].reshape(-1, *shape) for side in self.center)
        return Passing(self.slopes.picked(index), (low, low if self.center[0] is self.center[1] else high))


def _first(weight: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
    """The state after the first matrix W, and its error; beside: how far the entries of weight may be from those of W.

    With fewer rows than features W = RᵀQᵀ, where Q has orthonormal columns, and QᵀΔx, no longer than Δx, takes the
    place of Δx. A computed Q with ‖QᵀQ − I‖ <= tilt is at most 1 + tilt long, and QᵀΔx / ‖Q‖ takes its place.
    """
    if len(weight) >= len(weight.T) or not weight.isfinite().all():
        return weight.T[None], inflated(length(beside, dim=1))[None]
    Q, R = torch.linalg.qr(weight.T)
    square, rows = length(Q.flatten(), dim=0).square(), length(R, dim=0)
    eye = torch.eye(len(R), dtype=Q.dtype, device=Q.device)
    tilt = length((Q.T @ Q - eye).flatten(), dim=0) + gamma(len(Q), Q) * square
    missed = length(weight.T - Q @ R, dim=0) + gamma(len(R), Q) * square.sqrt() * rows
    return R[None], inflated(enclosed(missed + tilt * rows) + length(beside, dim=1))[None]
