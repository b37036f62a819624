"""Units that are provably linear in the ball are merged with the matrices around them; only unstable units cost.

Between any two points of the ball every unit has a slope mid + rad·e with |e| <= 1. Each unstable unit adds one
variable p = rad·e·Δz, so |p| <= rad·|Δz|, and all else is linear: every Δz_k and Δf is a fixed matrix times [Δx; p].

Inside bounds.outward_rounding() every unit knows how far its column of the state, times v = [Δx; p], may be from its
true difference. With S = ‖s_x‖ ‖Δx‖ + Σ |s_k| |p_k| >= |sᵀv| for every column s, the rounding of a sum of n columns,
w_1 s_1 + … + w_n s_n, moves it by at most γ_n Σ |w_i| S_i (Cauchy and Schwarz). The variable of an unstable unit is
e times its column, as rounded, times v: no more than that column allows, and what it lacks of the true p is added to
the unit's error. Outside, these errors are 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lliptools.domains.block import BlockBound
from lliptools.domains.box import Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain
from lliptools.nets.activations import Picked, Units
from lliptools.nets.linear import LinearMap
from lliptools.norms.kinds import errs, product_above
from lliptools.norms.masked import kept_first
from lliptools.norms.rounding import enclosed, entry_error, gamma, inflated, is_outward
from lliptools.norms.scaled import length, norm, times_power_of_two

__all__ = ["Slopes"]

LOST = 1e-200  # a sum of products below this may have lost digits to underflow, or all of them
FAINT = 1e-100  # as little for a slope
TINY = torch.finfo(torch.float64).tiny


@errs("upper", encloses=True)
@dataclass(frozen=True, eq=False)
class Slopes(Domain):
    """The state after some steps: Δh = 2^exponent · stateᵀ [Δx; p], as long as |p_k| <= |Z_kᵀ [Δx; p_1 … p_{k−1}]|.

    state: (batch or 1, variables, units); its first `features` variables stand for Δx, up to a rotation.
    error: (batch or 1, units), how far Δh / 2^exponent may be from that, over ‖Δx‖, but for underflow in the last step.
    rows: the Z_k of every layer with unstable units, (batch, variables before it, unstable); samples with fewer of
    them are filled up with 0.
    own: (batch, unstable) upper bounds of |p| / ‖Δx‖, and joint: (batch,) of ‖p_k‖ / ‖Δx‖.
    links: norms of the parts of every Z_k that read Δx, p_1, p_2, …, (batch, 1 + layers before it).
    counts: how many unstable units the layers of every sample have, (batch,) each, on the CPU.
    alive: (batch or 1, units), False where a unit depends on nothing. lost: (batch,), True where underflow took digits.
    """

    state: Tensor
    error: Tensor
    alive: Tensor
    lost: Tensor
    features: int
    eps: Tensor
    fresh: bool = True
    exponent: int = 0
    rows: tuple[Tensor, ...] = ()
    own: tuple[Tensor, ...] = ()
    joint: tuple[Tensor, ...] = ()
    links: tuple[Tensor, ...] = ()
    counts: tuple[Tensor, ...] = ()

    @classmethod
    def start(cls, center: Tensor, eps: Tensor) -> Slopes:
        """The input itself."""
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
        after = self
        for step in block.activation.split(block.box.lower, block.box.upper, block.center) if block.activation else ():
            if isinstance(step, Picked):
                after = after.picked(step.index)
            else:
                move = after.units if isinstance(step, Units) else after.pairs
                after = move(step.least, step.greatest)
        return after

    def picked(self, index: Tensor) -> Slopes:
        """The state of some of the units, in another order, some of them several times: index (units,)."""
        state, error, alive = (part[..., index] for part in (self.state, self.error, self.alive))
        return replace(self, state=state, error=error, alive=alive, fresh=False)

    def branch(self) -> Slopes:
        """The state, whose first variables are Δx itself from here on."""
        return replace(self, fresh=False)

    def beside(self, other: Slopes) -> Slopes:
        """The state, which reads none of the variables that the other branch has added."""
        state = torch.nn.functional.pad(self.state, (0, 0, 0, other.state.shape[1] - self.state.shape[1]))
        return replace(other, state=state, error=self.error, alive=self.alive, exponent=self.exponent, fresh=False)

    def box(self, center: Center) -> Box:
        """The values at the centre ± eps times what `reach` bounds."""
        reach = inflated(product_above(self.eps[:, None], self.reach())).reshape(center.value.shape)
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
        which, kept = kept_first(radius != 0)
        fed = torch.zeros(*which.shape, radius.shape[1], dtype=torch.float64, device=radius.device)
        fed.scatter_(2, which[:, :, None], kept.double()[:, :, None])
        steepest = torch.maximum(least.abs(), greatest.abs())
        lost = self.lost | ((steepest > 0) & (steepest < FAINT)).any(dim=1)
        # |middle| + radius is steepest, so that this holds what the new variables lack, and how both were rounded.
        after = replace(
            self,
            state=self.state * middle[:, None, :],
            error=self.error_of(0) * steepest,
            alive=self.alive & (steepest != 0),
            lost=lost,
        )
        return after._with(self._chosen(which, radius.gather(1, which) * kept), fed, kept)

    def pairs(self, least: Tensor, greatest: Tensor) -> Slopes:
        """The state after [max, min] of the halves a, b of the units, where |a − b| has slopes in [least, greatest].

        least, greatest: (batch, pairs). The larger is (a + b + s (a − b)) / 2 with such a slope s, the smaller has −s.
        """
        one, other = self.state.chunk(2, dim=2)
        one_error, other_error = self.error_of(0).chunk(2, dim=1)
        first, second = self.alive.chunk(2, dim=1)
        share, radius = (2 + least + greatest) / 4, (greatest - least) / 2
        which, kept = kept_first(radius != 0)
        between = replace(self, state=(one - other) / 2, alive=first | second)
        fed = torch.zeros(*which.shape, radius.shape[1], dtype=torch.float64, device=radius.device)
        fed.scatter_(2, which[:, :, None], kept.double()[:, :, None])
        of_first, of_second = share[:, None, :], (1 - share)[:, None, :]
        state = torch.cat([of_first * one + of_second * other, of_second * one + of_first * other], dim=2)
        # The most that either half counts in an output: half of its error in the mean, the rest in the variable.
        straight, crossed = (1 + greatest) / 2, (1 - least) / 2
        error = [straight * one_error + crossed * other_error, crossed * one_error + straight * other_error]
        kept_order, swapped = straight > 0, crossed > 0
        alive = [(kept_order & first) | (swapped & second), (swapped & first) | (kept_order & second)]
        after = replace(self, state=state, error=torch.cat(error, dim=1), alive=torch.cat(alive, dim=1))
        rows = between._chosen(which, radius.gather(1, which) * kept)
        return after._with(rows, torch.cat([fed, -fed], dim=2), kept)

    def add(self, earlier: Slopes) -> Slopes:
        """The sum of this state and an earlier one on its way, as a residual connection makes it."""
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

    def differences(self, y: Tensor) -> Slopes:
        """The state whose unit j is unit y minus unit j; y: (batch,)."""
        parts = self.state, self.error_of(0), self.alive
        state, error, alive = (part.expand(len(y), *part.shape[1:]) for part in parts)
        chosen = state.gather(2, y[:, None, None].expand(-1, state.shape[1], 1))
        same = torch.arange(state.shape[2], device=y.device) == y[:, None]
        error = (error + error.gather(1, y[:, None])).masked_fill(same, 0.0)
        alive = (alive | alive.gather(1, y[:, None])) & ~same
        return replace(self, state=chosen - state, error=error, alive=alive, fresh=False)

    def select(self, index: Tensor) -> Slopes:
        """The state of some of the samples, without the variables and layers that only others need.

        index: (count,), on the CPU.
        """
        most = [int(count[index].max()) for count in self.counts]
        there = index.to(self.lost.device)
        layers = [k for k, count in enumerate(most) if count]

        def trimmed(state: Tensor, before: int) -> Tensor:
            first, *others = state.split([self.features, *(own.shape[1] for own in self.own[:before])], dim=1)
            return torch.cat([first, *(part[:, :count] for part, count in zip(others, most, strict=False))], dim=1)

        def chosen(values: Tensor) -> Tensor:
            return values if len(values) == 1 else values[there]  # one stands for all samples

        return replace(
            self,
            state=trimmed(chosen(self.state), len(most)),
            error=chosen(self.error),
            alive=chosen(self.alive),
            lost=self.lost[there],
            eps=self.eps[there],
            rows=tuple(trimmed(self.rows[k][there, :, : most[k]], k) for k in layers),
            own=tuple(self.own[k][there, : most[k]] for k in layers),
            joint=tuple(self.joint[k][there] for k in layers),
            links=tuple(_columns(self.links[k][there], [0, *(1 + j for j in layers if j < k)]) for k in layers),
            counts=tuple(self.counts[k][index] for k in layers),
        )

    def reach(self) -> Tensor:
        """Upper bound of the Lipschitz constant of every unit over the ball, (batch, units).

        Unit j is aᵀΔx + Σ_k b_kᵀp_k. ‖p_k‖ <= joint_k ‖Δx‖ and |p_ki| <= own_ki ‖Δx‖ elementwise, so its constant is at
        most ‖a‖ + Σ_k min(‖b_k‖ joint_k, |b_k|ᵀ own_k).
        """
        total = self._reach()
        return times_power_of_two(total, self.exponent, upward=True)

    def path(self) -> Tensor:
        """Upper bound of the Lipschitz constant of the state over the ball, (batch,): centre plus radius over paths.

        Δf = C Δx + Σ_k B_k p_k, so the constant is at most ‖C‖ + Σ_k ‖B_k‖ joint_k. C has the middle slopes everywhere;
        B_k those of the layers above k. joint_k itself is ‖Z_kx‖ + Σ_{i<k} ‖Z_ki‖ joint_i: written out, one product of
        norms for every chain of layers in which p is taken, and between two of them all is merged in one matrix.
        """
        total = torch.minimum(self._sum(self.part_norms()), length(self._reach(), dim=1))
        return times_power_of_two(total, self.exponent, upward=True)

    def error_of(self, terms: int) -> Tensor:
        """How far a sum of so many entries in every column of the state may be from the true one, over ‖Δx‖.

        (batch or 1, units). With weights w, the sum errs by at most Σ |w| times this; with 0 terms, up to 8 operations
        on every entry are counted, and in any case up to 8 on the error itself. 0 outside bounds.outward_rounding().
        """
        if not is_outward():
            return self.error
        # Products that underflow lose at most 2^−1075 of each variable, a 2^53rd of TINY.
        variables = 1 + self.features + sum(own.sum(dim=1, keepdim=True) for own in self.own)
        size = self._sizes[1]
        return inflated(self.error + gamma(terms, size) * size + TINY * variables * self.alive, 8)

    def _error_of_product(self, weight: Tensor, beside: Tensor) -> Tensor:
        """The error of state @ weightᵀ, where the entries of weight may be wrong by as much as those of beside."""
        if not is_outward():
            return torch.zeros_like(weight[:, 0])[None]
        error = self.error_of(len(weight.T)) @ weight.abs().T + (self._sizes[1] + self.error) @ beside.T
        return inflated(error, len(weight.T))

    def _chosen(self, which: Tensor, share: Tensor) -> Slopes:
        """The state of some of the units, times their shares, to which new variables keep; both (batch, chosen)."""
        index = which[:, None, :].expand(-1, self.state.shape[1], -1)
        state = self.state.expand(len(which), -1, -1).gather(2, index) * share[:, None, :]
        alive = self.alive.expand(len(which), -1).gather(1, which) & (share > 0)
        return replace(self, state=state, error=torch.zeros_like(share), alive=alive)

    def _with(self, rows: Slopes, fed: Tensor, kept: Tensor) -> Slopes:
        """The state with one variable more for each column of rows, which feeds the units as fed says."""
        if not rows.state.shape[2]:
            return replace(self, fresh=False)
        own, links = rows._reach(), rows.part_norms()
        joint = torch.minimum(rows._sum(links), length(own, dim=1))
        return replace(
            self,
            state=torch.cat([self.state.expand(len(fed), -1, -1), fed], dim=1),
            fresh=False,
            rows=(*self.rows, rows.state),
            own=(*self.own, own),
            joint=(*self.joint, joint),
            links=(*self.links, links),
            counts=(*self.counts, kept.sum(dim=1).cpu()),
        )

    def _parts(self, state: Tensor) -> tuple[Tensor, ...]:
        """The rows of a state that belong to Δx, p_1, p_2, …"""
        return state.split([self.features, *(part.shape[1] for part in self.own)], dim=1)

    @cached_property
    def _sizes(self) -> tuple[Tensor, Tensor]:
        """Bounds of |stateᵀ[Δx; p]| / ‖Δx‖, and of what its products add up to whatever their signs are.

        Both (batch or 1, units), and not widened by their own rounding.
        """
        first, *others = self._parts(self.state)
        total = size = length(first, dim=1)
        for part, own, joint in zip(others, self.own, self.joint, strict=True):
            separately = (part.abs() * own[:, :, None]).sum(dim=1)
            total = total + torch.minimum(length(part, dim=1) * joint[:, None], separately)
            size = size + separately
        return total, size

    def _reach(self) -> Tensor:
        total = self._sizes[0].expand(len(self.lost), -1)
        small = (total < LOST) & (self.state != 0).any(dim=1)
        total = total + self.error_of(self.state.shape[1])
        return torch.where(self.lost[:, None] | small | ~total.isfinite(), torch.inf, total)

    def part_norms(self) -> Tensor:
        """Norms of what the state reads of Δx, p_1, p_2, …, (batch, 1 + layers)."""
        return torch.stack([norm(part).expand(len(self.lost)) for part in self._parts(self.state)], dim=1)

    def _sum(self, links: Tensor) -> Tensor:
        total = links[:, 0]
        for number, joint in enumerate(self.joint, start=1):
            total = total + links[:, number] * joint
        total = inflated(total, 2 * len(self.joint)) + length(self.error_of(0), dim=1)
        return torch.where(self.lost | ~total.isfinite(), torch.inf, total)


def _first(weight: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
    """The state after the first matrix W, and its error; beside: how far the entries of weight may be from those of W.

    With fewer rows than features W = RᵀQᵀ, where Q has orthonormal columns, and QᵀΔx, no longer than Δx, takes the
    place of Δx. A computed Q with ‖QᵀQ − I‖ <= tilt is at most 1 + tilt long, and QᵀΔx / ‖Q‖ takes its place.
    """
    if len(weight) >= len(weight.T) or not weight.isfinite().all():
        return weight.T[None], inflated(length(beside, dim=1))[None]
    Q, R = torch.linalg.qr(weight.T)
    square, rows = length(Q.flatten(), dim=0).square(), length(R, dim=0)
    tilt = (
        length((Q.T @ Q - torch.eye(len(R), dtype=Q.dtype, device=Q.device)).flatten(), dim=0)
        + gamma(len(Q), Q) * square
    )
    missed = length(weight.T - Q @ R, dim=0) + gamma(len(R), Q) * square.sqrt() * rows
    return R[None], inflated(enclosed(missed + tilt * rows) + length(beside, dim=1))[None]


def _columns(matrix: Tensor, which: list[int]) -> Tensor:
    return torch.stack([matrix[:, column] for column in which], dim=1)
