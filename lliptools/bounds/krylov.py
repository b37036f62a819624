"""Norms without the matrix: Golub–Kahan–Lanczos from below, and a probabilistic bound from above on what it saw.

The bound. Start from z, uniform on the unit sphere of the n live inputs, and let p₀, p₁, …, p_k be the orthonormal
polynomials of the Lanczos process on AᵀA. The spectral measure of z is a probability measure that puts the mass
c² = ⟨z, v₁⟩² on λ = ‖A‖². Hence, for any polynomial p that the measure's integral normalises,
c² p(λ)² <= ∫ p² dμ = 1, and for the best combination of p₀ … p_k: c² Σ_j p_j(λ)² <= 1 (Christoffel).
For n >= 3 the density of ⟨z, v₁⟩ is nowhere above its value at 0, Γ(n/2)/(√π Γ((n−1)/2)) <= √(n/2π), so that
P(|c| <= s) <= 2s√(n/2π) = δ at s² = πδ²/2n. For n = 2 that probability is (2/π) arcsin s <= s√(4/π) = 2s√(n/2π), and
for n = 1 it is 0. With probability at least 1 − δ therefore Σ_j p_j(λ)² < 2n/(πδ²).
Above the largest Ritz value θ every p_j grows, so the λ at which the sum reaches 2n/(πδ²) is above ‖A‖².
The event depends on z alone: the bound may be looked at after every step, but never with a start that knows A.
Compare Hochstenbach, "Probabilistic upper bounds for the matrix two-norm" (Journal of Scientific Computing, 2013).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigvalsh_tridiagonal
from torch import Tensor

from lliptools.bounds.record import errs, product_above
from lliptools.bounds.rounding import gamma, is_outward, matrix_slack
from lliptools.errors import InvalidInput
from lliptools.nets.linear import LinearMap

__all__ = ["AposterioriNorm", "GolubKahan", "LanczosNorm", "ScaledMap", "bound_above", "largest_ritz"]

BASIS = 2**26  # entries of the basis vectors that are held at a time
FIRST_LOOK = 8  # steps before the first look at the bound; then one after every half as many again
NOISE = 16  # what is left of a vector after so many units of rounding is nothing
LEAST_DELTA = 1e-14  # per sample; rarer events than float64 arithmetic itself cannot be spoken of


class ScaledMap:
    """A = D_row^½ W D_column^½ / scale per sample, or its transpose, from the side with fewer units; scale: (batch,).

    The largest entry of W and the largest slopes of every sample are brought to 1, so that lengths stay numbers.
    """

    def __init__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> None:
        self.linear, scale = linear.normalised
        sides, self.scale = [], scale.expand(len(row_slope))
        for slope, shape in ((row_slope, linear.out_shape), (column_slope, linear.in_shape)):
            root = slope.sqrt().reshape(len(slope), *shape)
            steepest = root.flatten(1).amax(dim=1)
            self.scale = product_above(self.scale, steepest)
            sides.append(root / torch.where(steepest > 0, steepest, 1.0).view(-1, *[1] * len(shape)))
        self.row, self.column = sides
        self.transposed = linear.rows < linear.columns

    def keep(self, index: Tensor) -> None:
        """Go on with these samples only."""
        self.row, self.column, self.scale = self.row[index], self.column[index], self.scale[index]

    def nothing(self) -> Tensor:
        """Samples of which no entry is left: (batch,) bool."""
        alive = self.linear.reached(self.column > 0) & (self.row > 0)
        return ~alive.flatten(1).any(dim=1)

    def live(self) -> Tensor:
        """Where the start may live: (batch, n)."""
        return (self.row if self.transposed else self.column).flatten(1) > 0

    def forth(self, v: Tensor) -> Tensor:
        """A v, flat."""
        return self._back(v) if self.transposed else self._forth(v)

    def back(self, u: Tensor) -> Tensor:
        """Aᵀ u, flat."""
        return self._forth(u) if self.transposed else self._back(u)

    def _forth(self, v: Tensor) -> Tensor:
        return (self.row * self.linear.linear(self.column * v.view_as(self.column))).flatten(1)

    def _back(self, u: Tensor) -> Tensor:
        return (self.column * self.linear.adjoint(self.row * u.view_as(self.row))).flatten(1)


class GolubKahan:
    """Bidiagonalisation AV = UB of every sample's matrix, with full reorthogonalisation of the right vectors.

    alpha, beta: (batch, steps), B's diagonal and the entries above it; the last beta leads out of the space.
    basis: V, (batch, steps, n). A sample whose Krylov space is exhausted stands still: its further entries are 0.
    """

    def __init__(self, scaled: ScaledMap, start: Tensor) -> None:
        self.scaled = scaled
        self.next = start / torch.linalg.vector_norm(start, dim=1, keepdim=True).clamp_min(1e-30)
        self.left = torch.zeros((), dtype=start.dtype, device=start.device)
        self.alpha = self.beta = start.new_zeros(len(start), 0)
        self.basis = start.new_zeros(len(start), 0, start.shape[1])
        self.steps = 0

    def advance(self, steps: int) -> None:
        """So many steps more: each applies the matrix and its transpose once."""
        empty = self.alpha.new_zeros(len(self.alpha), steps)
        self.basis = torch.cat([self.basis, empty[:, :, None].expand(-1, -1, self.basis.shape[2])], dim=1)
        self.alpha, self.beta = torch.cat([self.alpha, empty], dim=1), torch.cat([self.beta, empty], dim=1)
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        k, v = self.steps, self.next
        self.basis[:, k] = v
        w = self.scaled.forth(v)
        if k:
            w = w - self.beta[:, k - 1 : k] * self.left
        self.left, self.alpha[:, k] = self._unit(w)
        w = self.scaled.back(self.left) - self.alpha[:, k : k + 1] * v
        before = torch.linalg.vector_norm(w, dim=1)
        w = _without(w, self.basis[:, : k + 1])
        if (torch.linalg.vector_norm(w, dim=1) < 0.5 * before).any():  # much was taken away: once more is enough
            w = _without(w, self.basis[:, : k + 1])
        self.next, self.beta[:, k] = self._unit(w)
        self.steps += 1

    def _unit(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """w at length 1 and its length; both 0 where nothing but rounding is left of it."""
        length = torch.linalg.vector_norm(w, dim=1)
        largest = torch.maximum(self.alpha.amax(dim=1), self.beta.amax(dim=1))
        length = torch.where(length > NOISE * torch.finfo(w.dtype).eps * largest, length, 0.0)
        return w * (length > 0)[:, None] / torch.where(length > 0, length, 1.0)[:, None], length

    def keep(self, index: Tensor) -> None:
        """Go on with these samples only."""
        self.scaled.keep(index)
        self.next, self.left, self.basis = self.next[index], self.left[index], self.basis[index]
        self.alpha, self.beta = self.alpha[index], self.beta[index]

    def tridiagonal(self) -> tuple[np.ndarray, np.ndarray]:
        """BᵀB: its diagonal (batch, steps), and what stands beside it (batch, steps), the last leading out."""
        alpha, beta = (entries.detach().cpu().double().numpy() for entries in (self.alpha, self.beta))
        before = np.pad(beta[:, :-1], ((0, 0), (1, 0)))
        return alpha**2 + before**2, alpha * beta

    def largest(self) -> tuple[Tensor, Tensor]:
        """The largest singular value of B, (batch,), and its vector in the space of V, (batch, n)."""
        matrix = torch.diag_embed(self.alpha) + torch.diag_embed(self.beta[:, :-1], offset=1)
        _, values, right = torch.linalg.svd(matrix)
        return values[:, 0], torch.bmm(right[:, :1], self.basis)[:, 0]


def _without(w: Tensor, basis: Tensor) -> Tensor:
    return w - torch.bmm(torch.bmm(basis, w[:, :, None]).mT, basis)[:, 0]


def largest_ritz(diagonal: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """The largest eigenvalue of each tridiagonal, the last of beside left out: (batch, steps) twice -> (batch,)."""
    last = diagonal.shape[1] - 1
    return np.array(
        [
            eigvalsh_tridiagonal(d, e[:-1], select="i", select_range=(last, last))[0] if last else d[0]
            for d, e in zip(diagonal, beside, strict=True)
        ]
    )


def bound_above(
    diagonal: np.ndarray, beside: np.ndarray, dimension: np.ndarray, delta: float, epsilon: float = 2.0**-52
) -> np.ndarray:
    """Upper bound of the largest eigenvalue with probability 1 − delta, from a Lanczos process with a random start.

    diagonal, beside: (batch, steps) of the tridiagonal, the last of beside leading out of the space; 0 in it says that
    the space was exhausted, up to rounding, and what comes later is not looked at. dimension: (batch,) of the space of
    the start. epsilon: spacing of the numbers it was computed in. Found on grids that close in, from above: (batch,).
    """
    target = np.log(2 * dimension / math.pi) - 2 * math.log(delta)
    scale = np.maximum((diagonal + 2 * beside).max(axis=1), np.finfo(float).tiny)
    a = diagonal / scale[:, None]
    # Of a space that is exhausted only so much is known: what leads out of it is below the noise.
    b = np.maximum(beside / scale[:, None], 2 * NOISE * epsilon)
    seen = np.cumprod(np.pad(beside[:, :-1] > 0, ((0, 0), (1, 0)), constant_values=True), axis=1).astype(bool)
    low, high = np.zeros_like(scale), np.full_like(scale, 3.0)
    while not (found := _log_sum(a, b, seen, high[:, None])[:, 0] >= target).all():
        high = np.where(found, high, 2 * high)
    fractions = np.linspace(0, 1, 33)
    each = np.arange(len(a))
    for _ in range(4):
        grid = low[:, None] + (high - low)[:, None] * fractions
        enough = _log_sum(a, b, seen, grid) >= target[:, None]
        enough[:, -1] = True
        first = enough.argmax(axis=1)
        high, low = grid[each, first], grid[each, np.maximum(first - 1, 0)]
    return high * scale


def _log_sum(a: np.ndarray, b: np.ndarray, seen: np.ndarray, value: np.ndarray) -> np.ndarray:
    """log Σ_j p_j(value)² by the three-term recurrence, −inf where the value is not above all Ritz values.

    a, b, seen: (batch, steps), value: (batch, tried). Ratios p_j/p_{j−1} and sums relative to the last p_j² keep it
    finite.
    """
    above = np.ones(value.shape, dtype=bool)
    ratio, logarithm, total = np.ones_like(value), np.zeros_like(value), np.ones_like(value)
    for j in range(a.shape[1]):
        following = value - a[:, j : j + 1]
        if j:
            following -= b[:, j - 1 : j] / ratio
        here = seen[:, j : j + 1]
        ratio = following / b[:, j : j + 1]
        above &= (ratio > 0) | ~here
        ratio = np.where(above & here, ratio, 1.0)
        total = np.where(here, 1 + total / ratio**2, total)
        logarithm += 2 * np.log(ratio)
    return np.where(above, logarithm + np.log(total), -np.inf)


@errs("upper", encloses=True)
@dataclass(frozen=True)
class AposterioriNorm:
    """Upper bound of the norm that fails with probability at most delta for the whole batch of one layer.

    Golub–Kahan from a fresh random start per sample (torch's generator), looked at every few steps; a sample is done
    when the bound is within the relative tolerance of the largest Ritz value, or after the most steps.
    """

    delta: float = 1e-9
    tolerance: float = 1e-3
    steps: int = 120

    def failure_probability(self, linear: LinearMap) -> float:
        """That of one call."""
        return self.delta

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        """Per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,)."""
        return self.bracket(linear, row_slope, column_slope)[1]

    def bracket(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> tuple[Tensor, Tensor]:
        """The largest Ritz value, never above the norm, and the bound: (batch,) each."""
        batch = len(row_slope)
        if self.delta < LEAST_DELTA * batch:
            raise InvalidInput(
                expected=f"delta of at least {LEAST_DELTA:g} a sample and layer",
                got=f"{self.delta:.3g} for {batch} samples of a layer",
                cause="a certainty beyond that of float64 arithmetic, or a batch that is too large for it",
                next_step="bound fewer points at a time, or raise delta",
            )
        if torch.is_grad_enabled() and linear.requires_grad:
            raise InvalidInput(
                expected="a norm with a gradient",
                got="the a-posteriori bound of a large layer, which has none",
                cause="differentiable=True with the default norm",
                next_step="pass norm=lliptools.bounds.LanczosNorm(6), an estimate, for training",
            )
        n = min(linear.rows, linear.columns)
        at_once = max(1, BASIS // (n * min(self.steps, n)))
        found = torch.empty(2, batch, dtype=row_slope.dtype, device=row_slope.device)
        for index in torch.arange(batch, device=row_slope.device).split(at_once):
            scaled = ScaledMap(linear, row_slope[index], column_slope[index])
            found[:, index] = self._bracket(scaled, self.delta / batch).to(found)
        return found[0], _with_slack(linear, found[1], row_slope, column_slope)

    def _bracket(self, scaled: ScaledMap, delta: float) -> Tensor:
        live = scaled.live()
        dimension = live.sum(dim=1).clamp_min(1).cpu().double().numpy()
        live_dtype = scaled.row.dtype
        scale = scaled.scale
        most = max(1, min(self.steps, live.shape[1]))
        found = np.full((2, len(live)), np.inf)
        waiting = np.arange(len(live))
        process = GolubKahan(scaled, torch.randn(live.shape, dtype=scaled.row.dtype, device=live.device) * live)
        nothing = scaled.nothing().cpu().numpy()
        while len(waiting) and process.steps < most:
            process.advance(min(max(FIRST_LOOK, process.steps // 2), most - process.steps))
            tridiagonal = process.tridiagonal()
            lower = np.sqrt(np.maximum(largest_ritz(*tridiagonal), 0.0))
            upper = np.sqrt(bound_above(*tridiagonal, dimension[waiting], delta, torch.finfo(live_dtype).eps))
            upper[tridiagonal[0][:, 0] == 0] = np.inf  # a start that the matrix takes to 0 tells nothing
            found[:, waiting] = lower, upper
            going_on = ~((upper <= (1 + self.tolerance) * lower) | nothing[waiting])
            if not going_on.all():
                process.keep(torch.from_numpy(going_on.nonzero()[0]).to(live.device))
                waiting = waiting[going_on]
        found[:, nothing] = 0.0
        both = torch.from_numpy(found).to(device=scale.device)
        return product_above(both, scale.double().expand(2, -1))


def _with_slack(linear: LinearMap, upper: Tensor, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """Room for the rounding of the process itself, which full reorthogonalisation keeps at some units a product."""
    if not is_outward() and upper.dtype == torch.float64:
        return upper
    steepest = (row_slope.flatten(1).amax(dim=1) * column_slope.flatten(1).amax(dim=1)).sqrt()
    products = 4 * gamma(linear.terms, upper) * linear.largest_size() * steepest * (upper > 0)
    return upper * (1 + 64 * gamma(1, upper)) + products + matrix_slack(linear, row_slope, column_slope)


@errs("lower")
@dataclass(frozen=True)
class LanczosNorm:
    """The largest Ritz value after some steps of Golub–Kahan: never above the norm, close to it after 10 to 20 steps.

    Differentiable in the weights: σ = uᵀ A v with the vectors held fixed, which is the exact gradient at convergence.
    """

    steps: int = 10

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        """Per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,)."""
        scaled = ScaledMap(linear, row_slope.detach(), column_slope.detach())
        with torch.no_grad():
            live = scaled.live()
            process = GolubKahan(scaled, torch.randn(live.shape, dtype=scaled.row.dtype, device=live.device) * live)
            process.advance(max(1, min(self.steps, live.shape[1])))
            value, v = process.largest()
        if torch.is_grad_enabled():
            u = (scaled.forth(v) / torch.where(value > 0, value, 1.0)[:, None]).detach()
            value = (u * scaled.forth(v)).sum(dim=1)
        return product_above(value, scaled.scale)
