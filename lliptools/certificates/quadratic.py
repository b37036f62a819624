"""Quadratic bounds of a margin: products of what is known of every unstable unit, weighed by multipliers.

Every point of the ball has a w = [1; v] (products.py) with ‖w‖² <= 2 + units, products (a_kᵀw)(b_kᵀw) = 0 or >= 0, and
‖δ/eps‖ <= 1. For any y_k (>= 0 for an inequality), any τ >= 0, and the S that semidefinite.py makes of them,

    f_y − f_j = wᵀCw = λ + Σ_k y_k (a_kᵀw)(b_kᵀw) + τ (1 − ‖δ/eps‖²) + wᵀSw >= λ + wᵀSw,

and wᵀSw >= −‖S − LLᵀ‖ ‖w‖² for every L. How y and L were found does not matter. A product of two factors in [−1, 1]
that are off by d and e lacks at most d + e + de.

This is the dual of Shor's relaxation of the least margin. It is never below the bound by multipliers of centred slopes,
whose inequality is κα >= 0 or κβ >= 0. Source: Raghunathan, Steinhardt, Liang, "Semidefinite relaxations for certifying
robustness to adversarial examples" (NeurIPS 2018), here with the triangles' products.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor

from lliptools.bounds import Bound
from lliptools.certificates.margins import sure_margins
from lliptools.certificates.products import Known, Layer
from lliptools.certificates.semidefinite import Products, solve
from lliptools.domains import BlockBound
from lliptools.domains.center import Center
from lliptools.nets.linear import TINY, LinearMap
from lliptools.norms.rounding import enclosed, entry_error, gamma, inflated, unit
from lliptools.norms.scaled import length

VARIABLES = 400  # beyond so many the cubic cost is not cheap
ENTRIES = 2**21  # of a layer as a matrix
HOPE = 1.5  # a sample that loses so many times a margin by other bounds is out of reach


def raised_by_products(worst: Tensor, asked: Tensor, found: Bound, center: Tensor, logits: Center, y: Tensor) -> Tensor:
    """Lower bounds of margins over the ball, (batch, classes), raised where products of what is known give larger ones.

    worst: what is known of them. asked: (batch, classes) bool, of which margins more is wanted; the worst of a sample
    first, until one cannot be decided. found: an upper bound on the balls. center, logits: inputs, (batch, features),
    and outputs. Nothing is raised for residual blocks, compared units, large layers, or many unstable units.
    """
    worst, blocks = worst.clone(), found.blocks
    if blocks[-1].activation is not None or not all(map(_fits, blocks)):
        return worst
    left = sure_margins(logits, y)
    hopeful = asked.any(dim=1) & (~asked | (left - worst <= HOPE * left)).all(dim=1)
    for sample in hopeful.nonzero()[:, 0]:
        one = sample[None]
        known = Sample.of([block.mapped(itemgetter(one)) for block in blocks[:-1]], center[one], found.eps[one])
        for other in worst[sample].argsort():
            if known is None or not asked[sample, other]:
                continue
            value = known.margin(blocks[-1].linear, y[sample], other, left[sample, other])
            worst[sample, other] = torch.fmax(worst[sample, other], value)
            if not worst[sample, other] > 0:
                break
    return worst


def _fits(block: BlockBound) -> bool:
    elementwise = block.activation is None or block.activation.elementwise
    return not block.inner and elementwise and block.linear.rows * block.linear.columns <= ENTRIES


@dataclass(frozen=True, eq=False)
class Sample:
    """What is known of one sample: products, how far the functions in them may be off, and its last hidden units."""

    products: Products
    error: Tensor
    hidden: Layer

    @classmethod
    def of(cls, blocks: list[BlockBound], center: Tensor, eps: Tensor) -> Sample | None:
        """Of the hidden blocks; None where nothing is to be gained, or it is not written for them, or too dear."""
        if not blocks or not all(map(_fits, blocks)):
            return None
        here, layer, known = Center.exact(center), None, Known(center)
        for block in blocks:
            before, here = here.through(block)
            layer = Layer.first(block.linear, center, eps) if layer is None else layer.times(block.linear)
            layer = layer.after(block, before, here, known)
            if len(layer.state.T) > VARIABLES:
                return None
        assert layer is not None
        variables = len(layer.state.T)
        return cls(*known.gathered(layer.ball, variables), layer) if variables > layer.ball else None

    def margin(self, last: LinearMap, y: Tensor, other: Tensor, left: Tensor) -> Tensor:
        """A lower bound of f_y − f_other over the ball, which is at least `left` at the centre; −inf for none."""
        hidden, beside, size = self.hidden, entry_error(last), self.hidden.size()
        direction = last.weight[y] - last.weight[other]
        off = direction.abs() @ (hidden.off + (gamma(len(size), size) + 4 * unit(size)) * size)
        off = off + enclosed(TINY * hidden.state.numel())
        if beside is not None:
            off = off + (beside[y] + beside[other]) @ (size + hidden.off)
        objective = self.objective(direction, left)
        if not (objective.isfinite().all() and self.products.rows.isfinite().all()):
            return torch.full_like(left, -torch.inf)
        return self.proved(objective, solve(objective, self.products), inflated(off, len(size)))

    def objective(self, direction: Tensor, left: Tensor) -> Tensor:
        """C, with wᵀCw = left + direction · the last hidden units' movements."""
        slope = direction @ self.hidden.state
        objective = slope.new_zeros(1 + len(slope), 1 + len(slope))
        objective[0, 0], objective[0, 1:], objective[1:, 0] = left, slope / 2, slope / 2
        return objective

    def proved(self, objective: Tensor, multipliers: Tensor, off: Tensor | float = 0.0) -> Tensor:
        """What these multipliers [y_k; τ; λ] prove of wᵀ objective w − off over the ball; −inf for nothing."""
        products = self.products
        any_sign = torch.cat([products.equal, products.equal.new_tensor([False, True])])
        multipliers = torch.where(any_sign, multipliers, multipliers.clamp_min(0.0))
        weights = multipliers[:-2].abs()
        S = objective - products.weighed(multipliers)
        factor = torch.linalg.cholesky_ex(S)[0]
        sizes = products.rows.abs()
        sizes = sizes[products.left].mT @ (weights[:, None] * sizes[products.right]) + objective.abs()
        sizes.diagonal().add_(multipliers[-2:].abs().sum())
        rest, sizes = (length(matrix.flatten(), dim=0) for matrix in (S - factor @ factor.mT, sizes))
        hidden = gamma(len(weights), S) * sizes + gamma(len(S), S) * factor.square().sum()
        square = 2 + len(S) - 1 - products.ball
        first, second = self.error[products.left], self.error[products.right]
        lacking = weights * (first + second + first * second)
        lost = lacking.sum() + off + (rest + hidden + enclosed(TINY * S.numel() * (1 + len(weights)))) * square
        found = multipliers[-1] - inflated(lost, S.numel() + len(weights))
        return torch.where(found.isfinite(), found, -torch.inf)
