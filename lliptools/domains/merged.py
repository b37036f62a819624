"""Units that are provably linear in the ball are merged with the matrices around them; only unstable units cost.

Between any two points of the ball every unit has a slope mid + rad·e with |e| <= 1. Each unstable unit adds one
variable p = rad·e·Δz, so |p| <= rad·|Δz|, and all else is linear: every Δz_k and Δf is a fixed matrix times [Δx; p].

Inside bounds.outward_rounding() every unit knows how far its column of the state, times v = [Δx; p], may be from its
true difference. With S = ‖s_x‖ ‖Δx‖ + Σ |s_k| |p_k| >= |sᵀv| for every column s, the rounding of a sum of n columns,
w_1 s_1 + … + w_n s_n, moves it by at most γ_n Σ |w_i| S_i (Cauchy and Schwarz). The variable of an unstable unit is
e times its column, as rounded, times v; what it lacks of the true p is added to the unit's error. Outside these are 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from lliptools.nets.linear import TINY
from lliptools.norms.rounding import gamma, inflated, is_outward
from lliptools.norms.scaled import length, norm, times_power_of_two

LOST = 1e-200  # a sum of products below this may have lost digits to underflow, or all of them


@dataclass(frozen=True, eq=False)
class Merged:
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

    def differences(self, y: Tensor) -> Self:
        """The state whose unit j is unit y minus unit j; y: (batch,)."""
        parts = self.state, self.error_of(0), self.alive
        state, error, alive = (part.expand(len(y), *part.shape[1:]) for part in parts)
        chosen = state.gather(2, y[:, None, None].expand(-1, state.shape[1], 1))
        same = torch.arange(state.shape[2], device=y.device) == y[:, None]
        error = (error + error.gather(1, y[:, None])).masked_fill(same, 0.0)
        alive = (alive | alive.gather(1, y[:, None])) & ~same
        return replace(self, state=chosen - state, error=error, alive=alive, fresh=False)

    def select(self, index: Tensor) -> Self:
        """Some of the samples, index (count,) on the CPU, without the variables and layers that only others need."""
        most = [int(count[index].max()) for count in self.counts]
        there = index.to(self.lost.device)
        layers = [k for k, count in enumerate(most) if count]

        def trimmed(state: Tensor, before: int) -> Tensor:
            first, *others = state.split([self.features, *(own.shape[1] for own in self.own[:before])], dim=1)
            return torch.cat([first, *(part[:, :count] for part, count in zip(others, most, strict=False))], dim=1)

        def chosen(values: Tensor) -> Tensor:
            return values if len(values) == 1 else values[there]  # one stands for all samples

        def linked(k: int) -> Tensor:
            first, *others = self.links[k][there].unbind(dim=1)
            return torch.stack([first, *(others[j] for j in layers if j < k)], dim=1)

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
            links=tuple(linked(k) for k in layers),
            counts=tuple(self.counts[k][index] for k in layers),
        )

    def reach(self) -> Tensor:
        """Upper bound of the Lipschitz constant of every unit over the ball, (batch, units).

        Unit j is aᵀΔx + Σ_k b_kᵀp_k. ‖p_k‖ <= joint_k ‖Δx‖ and |p_ki| <= own_ki ‖Δx‖ elementwise, so its constant is at
        most ‖a‖ + Σ_k min(‖b_k‖ joint_k, |b_k|ᵀ own_k).
        """
        return times_power_of_two(self._reach(), self.exponent, upward=True)

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

    def _parts(self, state: Tensor) -> tuple[Tensor, ...]:
        """The rows of a state that belong to Δx, p_1, p_2, …"""
        return state.split([self.features, *(part.shape[1] for part in self.own)], dim=1)

    @cached_property
    def _sizes(self) -> tuple[Tensor, Tensor]:
        """Bounds of |stateᵀ[Δx; p]| / ‖Δx‖, and whatever signs are, (batch or 1, units); own rounding left out."""
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
