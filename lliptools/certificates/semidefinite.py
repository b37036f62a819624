"""A small semidefinite program, solved from both sides: what it returns is a guess, which the caller has to prove.

Maximise λ over y, with y_k >= 0 where the k-th product is an inequality, and τ >= 0, such that

    S = C − Σ_k y_k sym(a_k b_kᵀ) − τ (e₀e₀ᵀ − E) − λ e₀e₀ᵀ ⪰ 0,    E = diag(0, 1, …, 1, 0, …) on the ball's variables.

Primal: minimise ⟨C, X⟩ over X ⪰ 0 with X₀₀ = 1, ⟨E, X⟩ <= 1, a_kᵀXb_k = 0 or >= 0. All matrices have rank one or two,
so that a step costs a few products of the size of S and of the number of products.

Source: the HKM direction with predictor and corrector (Helmberg, Rendl, Vanderbei, Wolkowicz, "An interior-point method
for semidefinite programming", SIAM J. Optim. 1996; Mehrotra, SIAM J. Optim. 1992).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

STEPS = 40
CLOSE = 1e-6  # relatively: how near to 0 what is sought, and the primal's residual, have to be
SHORTER = 0.8  # a step that leaves the cone is made so much shorter
INSIDE = 0.95  # and so far the way to where it does not is gone


@dataclass(frozen=True, eq=False)
class Products:
    """What is known of w = [1; v]: products of affine functions, and that the first variables of v lie in a unit ball.

    rows: (functions, 1 + variables), the first of them 1. left, right: (products,), which rows a_k and b_k are. equal:
    (products,) bool, whether the product is 0, or else >= 0. ball: how many variables the ball holds.
    """

    rows: Tensor
    left: Tensor
    right: Tensor
    equal: Tensor
    ball: int

    def weighed(self, y: Tensor) -> Tensor:
        """Σ_k y_k sym(a_k b_kᵀ) + τ (e₀e₀ᵀ − E) + λ e₀e₀ᵀ; y: [y_k; τ; λ]."""
        found = _symmetric(self.rows[self.left].mT @ (y[:-2, None] * self.rows[self.right]))
        found[0, 0] += y[-2] + y[-1]
        found.diagonal()[1 : self.ball + 1] -= y[-2]
        return found

    def values(self, X: Tensor) -> Tensor:
        """What the matrices of y_k, τ and λ are on X: (products + 2,)."""
        products = ((self.rows @ X)[self.left] * self.rows[self.right]).sum(dim=1)
        ball = X[0, 0] - X.diagonal()[1 : self.ball + 1].sum()
        return torch.cat([products, torch.stack([ball, X[0, 0]])])

    def curvature(self, X: Tensor, inverse: Tensor) -> Tensor:
        """⟨A_k, X A_l S⁻¹⟩, with inverse S⁻¹: (products + 2, products + 2)."""
        with_x, with_s, inner = self.rows @ X, self.rows @ inverse, slice(1, self.ball + 1)
        P, G = with_x @ self.rows.mT, with_s @ self.rows.mT
        in_x, in_s = with_x[:, inner], with_s[:, inner]
        a, b, count = self.left, self.right, len(self.left)
        P_a, P_b, G_a, G_b = P[a], P[b], G[a], G[b]
        crossed = P_b[:, a] * G_a[:, b]
        found = P.new_empty(count + 2, count + 2)
        found[:count, :count] = (crossed + crossed.mT + P_b[:, b] * G_a[:, a] + P_a[:, a] * G_b[:, b]) / 4
        one = (P_b[:, 0] * G_a[:, 0] + P_a[:, 0] * G_b[:, 0]) / 2
        ball = one - ((in_x[b] * in_s[a]).sum(dim=1) + (in_x[a] * in_s[b]).sum(dim=1)) / 2
        corner, across = P[0, 0] * G[0, 0], in_x[0] @ in_s[0]
        found[:count, -2], found[:count, -1] = ball, one
        found[-2, :count], found[-1, :count] = ball, one
        found[-2, -2] = corner - 2 * across + (X[inner, inner] * inverse[inner, inner]).sum()
        found[-2, -1], found[-1, -2], found[-1, -1] = corner - across, corner - across, corner
        return found


class _Step(NamedTuple):
    """A direction: of X, x on the primal side, of S, z, y on the dual side."""

    X: Tensor
    x: Tensor
    S: Tensor
    z: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class _System:
    """The equations of a direction at X, x and the dual's S, z, with inverse S⁻¹; above: which of y are not below 0."""

    products: Products
    above: Tensor
    X: Tensor
    x: Tensor
    S: Tensor
    z: Tensor
    inverse: Tensor
    root: Tensor

    def direction(self, level: float, earlier: _Step | None = None) -> _Step:
        """Towards complementary products of this level; with the second-order terms of an earlier direction."""
        second, small = torch.zeros_like(self.X), torch.zeros_like(self.x)
        if earlier is not None:
            second, small = _symmetric(earlier.X @ earlier.S @ self.inverse), earlier.x * earlier.z
        right = self.products.values(second - level * self.inverse)
        right[-1] += 1
        right[self.above] += (level - small) / self.z
        dy = torch.cholesky_solve(right[:, None], self.root)[:, 0]
        dS, dz = -self.products.weighed(dy), dy[self.above]
        dX = level * self.inverse - self.X - _symmetric(self.X @ dS @ self.inverse) - second
        return _Step(dX, (level - self.x * dz - small) / self.z - self.x, dS, dz, dy)

    def lengths(self, step: _Step) -> tuple[float, float]:
        """How far the two sides can go, at most 1."""
        return _longest(self.X, step.X, self.x, step.x), _longest(self.S, step.S, self.z, step.z)


def solve(C: Tensor, products: Products) -> Tensor:
    """Good multipliers [y_k; τ; λ]: as soon as λ > 0, or at the optimum, or where none can reach 0.

    The start, where equations count twice as much as inequalities, has to leave S ≻ 0 but for λ; triangles do.
    """
    scale = float(C.norm())
    above = torch.cat([~products.equal, products.equal.new_tensor([True, False])])
    y = scale * (2.0 - above.to(C))
    y[-1] = 0.0
    while torch.linalg.cholesky_ex(C - products.weighed(y))[1] and y[-1] > -1e6 * scale:
        y[-1] = 2 * y[-1] - scale
    X, x = torch.eye(len(C), dtype=C.dtype, device=C.device), torch.ones_like(y[above])
    for _ in range(STEPS):
        S, z = C - products.weighed(y), y[above]
        factor, failed = torch.linalg.cholesky_ex(S)
        if failed:
            break
        inverse = torch.cholesky_inverse(factor)
        curvature = products.curvature(X, inverse)
        curvature.diagonal()[above] += x / z
        root, indefinite = torch.linalg.cholesky_ex(curvature)
        gap, missing = float((X * S).sum() + x @ z), -products.values(X)
        missing[-1] += 1
        missing[above] += x
        hopeless = float((C * X).sum()) < 0 and float(missing.norm()) < CLOSE
        if indefinite or hopeless or float(y[-1]) > CLOSE * scale or not gap > CLOSE * scale:
            break
        system = _System(products, above, X, x, S, z, inverse, root)
        guess = system.direction(0.0)
        one, other = system.lengths(guess)
        after = float(((X + one * guess.X) * (S + other * guess.S)).sum() + (x + one * guess.x) @ (z + other * guess.z))
        share = max((after / gap) ** 2, 1e-3) if one > 0.1 else 0.5
        step = system.direction(share * gap / (len(C) + len(x)), guess)
        one, other = system.lengths(step)
        X, x, y = X + one * step.X, x + one * step.x, y + other * step.y
    return y


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2


def _longest(X: Tensor, dX: Tensor, x: Tensor, dx: Tensor) -> float:
    """How far to go, at most 1, so that the matrix stays positive definite and the numbers above 0."""
    step = min(1.0, INSIDE / max(float((-dx / x).max()), 1e-9))
    while step > 1e-8 and torch.linalg.cholesky_ex(X + step / INSIDE * dX)[1]:
        step *= SHORTER
    return step
