"""One failure probability for a product of norms: unlucky starts of several layers hardly ever come together.

Let c_k be the share of the start of layer k on the leading vector of its matrix. aposteriori.py proves ‖A_k‖ <= g_k(q)
wherever |c_k| is above what a random start falls below with probability e^−q. Let q_k be the least whole number with
that: whatever the starts before it were, P(q_k > q) <= e^−q. Weigh it by COSTS and let S be the budget for which
Σ_k cost(q_k) <= S fails with probability δ at most, of independent q_k (the worst case). Then with probability 1 − δ

    ∏_{i<=k} ‖A_i‖ <= max { ∏_{i<=k} g_i(q_i) : Σ_i cost(q_i) <= S }  for every k,

and ‖A_k‖ <= g_k(q) for the largest q within the budget. One layer may be as unlucky as if each had its share of δ, but
not all of them at once: of six layers the product has a quarter of the excess, or half as many steps have the same.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from lliptools.norms.rounding import inflated

COSTS = [((q + 4) ** 2 - 25) // 8 for q in range(1, 33)]  # as an excess grows with q; any numbers are sound
LEAST = 2e-14  # of a failure probability per sample and layer: below it rounding to float64 outweighs chance


class Joint:
    """The product of the norms of so many layers, in the order of a pass; delta is shared by all samples."""

    def __init__(self, layers: int, delta: float) -> None:
        self.layers, self.delta, self.number = layers, delta, 0
        self._state: Tensor | None = None
        self._levels: Tensor | None = None

    def deltas(self, batch: int) -> np.ndarray:
        """The probabilities e^−q for which the norms of a layer are to be bounded, the smallest first."""
        budget = _budget(self.layers, self.delta / batch)
        return np.exp(-np.arange(sum(cost <= budget for cost in COSTS), 0.0, -1.0))

    def note(self, levels: Tensor) -> None:
        """The bounds of the norm of the next layer at these probabilities, (levels, batch)."""
        self._levels = levels.nan_to_num(nan=torch.inf, posinf=torch.inf)

    def growth(self, norm: Tensor) -> Tensor:
        """By how much the bound of the product grows at a layer whose norm is bounded by this: (batch,), no more."""
        if self._levels is None:
            return norm
        levels, self._levels, self.number = self._levels.flip(0), None, self.number + 1
        if self._state is None:
            self._state = levels.new_ones(_budget(self.layers, self.delta / len(norm)) + 1, len(norm))
        # For every part of the budget the best product so far, over that of the whole budget.
        best = torch.zeros_like(self._state)
        for cost, level in zip(COSTS, levels, strict=False):
            best[cost:] = torch.maximum(best[cost:], self._state[: len(best) - cost] * level)
        found = torch.where(norm.isfinite(), torch.minimum(inflated(best[-1]), norm), norm)
        self._state = torch.where((found > 0) & best[-1].isfinite(), best / best[-1], self._state)
        return found


@cache
def _budget(layers: int, delta: float) -> int:
    """The least budget that independent layers exceed with probability delta at most."""
    one = np.zeros(COSTS[-1] + 1)
    np.add.at(one, COSTS, [math.exp(1 - q) - math.exp(-q) for q in range(1, len(COSTS) + 1)])
    spent = np.ones(1)
    for _ in range(layers):
        spent = np.convolve(spent, one)
    exceeded = np.append(spent[::-1].cumsum()[-2::-1], 0.0) + layers * math.exp(-len(COSTS))
    return int(np.flatnonzero(exceeded * (1 + 1e-9) <= delta)[0])
