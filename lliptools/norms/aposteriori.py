"""Norms without the matrix, from above: a probabilistic bound on what Golub–Kahan saw.

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
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lliptools.errors import InvalidInput, check_whole
from lliptools.nets.checks import check_probability, check_tolerance
from lliptools.nets.linear import LinearMap
from lliptools.nets.rows import largest_size
from lliptools.norms.joint import LEAST, Joint
from lliptools.norms.kinds import errs, product_above, steepest
from lliptools.norms.krylov import NOISE, GolubKahan, ScaledMap, fresh_start
from lliptools.norms.rounding import gamma, is_outward, matrix_slack

BASIS = 2**26  # entries of the basis vectors that are held at a time
DEAR = 10**6  # multiplications
FIRST_LOOK = 8  # steps before the first look at the bound; then one after every quarter, or twelfth, as many again


def largest_ritz(diagonal: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """The largest eigenvalue of each tridiagonal, (batch, steps) twice -> (batch,), or 0; beside ends one earlier."""
    from scipy.linalg import eigvalsh_tridiagonal  # only norms of large layers need it, and wait for it

    last = diagonal.shape[1] - 1
    known = np.isfinite(diagonal + beside).all(axis=1, keepdims=True)
    rows = zip(np.where(known, diagonal, 0.0), np.where(known, beside, 0.0), strict=True)
    return np.array([eigvalsh_tridiagonal(d, e[:-1], select="i", select_range=(last, last))[0] for d, e in rows])


def bound_above(
    diagonal: np.ndarray, beside: np.ndarray, dimension: np.ndarray, delta: Any, epsilon: float = 2.0**-52
) -> np.ndarray:
    """Upper bound of the largest eigenvalue with probability 1 − delta, from a Lanczos process with a random start.

    - diagonal, beside: (batch, steps) of the tridiagonal, the last of beside leading out of the space; 0 in it says
      that the space was exhausted, up to rounding, and what comes later is not looked at.
    - dimension: (batch,) of the start's space. delta: a number, or (levels,). epsilon: spacing of the numbers used.
    - Returns (batch,), or (batch, levels), found on grids that close in, from above.
    """
    levels = np.atleast_1d(delta)
    target = _target(dimension[:, None], levels)
    known = np.isfinite(diagonal + beside).all(axis=1) & np.isfinite(target).all(axis=1)
    diagonal, beside = np.where(known[:, None], diagonal, 1.0), np.where(known[:, None], beside, 1.0)
    target = np.where(known[:, None], target, 0.0)
    scale = np.maximum((diagonal + 2 * beside).max(axis=1), np.finfo(float).tiny)[:, None]
    low, high = np.zeros_like(target), np.full_like(target, 3.0)
    while not (found := _log_sum(diagonal, beside, high * scale, epsilon) >= target).all():
        high = np.where(found, high, 2 * high)
    fractions = np.linspace(0, 1, 33)
    for _ in range(4):
        grid = low[:, :, None] + (high - low)[:, :, None] * fractions
        tried = (grid * scale[:, :, None]).reshape(len(grid), -1)
        enough = _log_sum(diagonal, beside, tried, epsilon).reshape(grid.shape) >= target[:, :, None]
        enough[:, :, -1] = True
        first = enough.argmax(axis=2)[:, :, None]
        high, low = (np.take_along_axis(grid, k, 2)[:, :, 0] for k in (first, np.maximum(first - 1, 0)))
    bound = np.where(known[:, None], high * scale, np.inf)
    return bound if np.ndim(delta) else bound[:, 0]


def _target(dimension: np.ndarray, delta: Any) -> np.ndarray:
    """log 2n/(πδ²), what the sum reaches beyond the bound."""
    return np.log(2 * dimension / math.pi) - 2 * np.log(delta)


def _log_sum(diagonal: np.ndarray, beside: np.ndarray, value: np.ndarray, epsilon: float) -> np.ndarray:
    """log Σ_j p_j(value)², (batch, tried), by the recurrence in ratios, which stay finite; −inf below a Ritz value."""
    scale = np.maximum((diagonal + 2 * beside).max(axis=1, keepdims=True), np.finfo(float).tiny)
    a, value = diagonal / scale, value / scale
    # Of a space that is exhausted only so much is known: what leads out of it is below the noise.
    b = np.maximum(beside / scale, 2 * NOISE * epsilon)
    seen = np.cumprod(np.pad(beside[:, :-1] > 0, ((0, 0), (1, 0)), constant_values=True), axis=1).astype(bool)
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

    Golub–Kahan from a start of each sample's own (krylov.fresh_start); a sample is done when the bound is within the
    relative tolerance of the largest Ritz value, or after so many steps. The hash counts as a random function.
    """

    delta: float = 1e-9
    tolerance: float = 1e-3
    steps: int = 120

    def __post_init__(self) -> None:
        check_probability(self.delta)
        check_tolerance(self.tolerance)
        check_whole("steps", self.steps, 1, "a norm instead of a number of steps", "leave it at its default")

    def failure_probability(self, linear: LinearMap) -> float:
        """That of one call."""
        return self.delta

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        return self.bracket(linear, row_slope, column_slope)[1]

    def bracket(
        self,
        linear: LinearMap,
        row_slope: Tensor,
        column_slope: Tensor,
        ceiling: Tensor | None = None,
        joint: Joint | None = None,
    ) -> Tensor:
        """The largest Ritz value, never above the norm, and the bound: (2, batch).

        ceiling: (batch,), another upper bound; a sample is also done when that is close enough to the Ritz value.
        joint: of the layers that share a failure probability; the bounds at all of its deltas, (1 + deltas, batch).
        """
        batch = len(row_slope)
        if not LEAST * batch <= self.delta < 1:
            got = f"{self.delta:.3g} for {batch} samples of a layer"
            cause = "a certainty beyond that of float64 arithmetic, or a batch that is too large for it"
            step = "bound fewer points at a time, or raise delta"
            raise InvalidInput(f"delta of at least {LEAST:g} per sample and layer, and below 1", got, cause, step)
        if torch.is_grad_enabled() and linear.requires_grad:
            got = "the a-posteriori bound of a large layer, which has none"
            cause = "differentiable=True with the default norm"
            step = "pass norm=lliptools.bounds.LanczosNorm(6), an estimate, for training"
            raise InvalidInput("a norm with a gradient", got, cause, step)
        n = min(linear.rows, linear.columns)
        at_once = max(1, BASIS // (n * min(self.steps, n)))
        deltas = np.array([self.delta / batch]) if joint is None else joint.deltas(batch)
        ceiling = torch.full_like(row_slope.flatten(1)[:, 0], torch.inf) if ceiling is None else ceiling
        found = torch.empty(1 + len(deltas), batch, dtype=row_slope.dtype, device=row_slope.device)
        for index in torch.arange(batch, device=row_slope.device).split(at_once):
            scaled = ScaledMap(linear, row_slope[index], column_slope[index])
            start = fresh_start(scaled, joint.number if joint else 0)
            found[:, index] = self._bracket(scaled, start, deltas, ceiling[index]).to(found)
        found[1:] = _with_slack(linear, found[1:], row_slope, column_slope)
        return found

    def _bracket(self, scaled: ScaledMap, start: Tensor, deltas: np.ndarray, ceiling: Tensor) -> Tensor:
        live, scale, epsilon = scaled.live(), scaled.scale, torch.finfo(scaled.row.dtype).eps
        dimension = live.sum(dim=1).clamp_min(1).cpu().double().numpy()
        most = max(1, min(self.steps, live.shape[1]))
        found, waiting = np.full((1 + len(deltas), len(live)), np.inf), np.arange(len(live))
        pace = 12 if is_dear(scaled.linear) else 4
        process, nothing = GolubKahan(scaled, start), scaled.nothing().cpu().numpy()
        others = (ceiling / scale).nan_to_num(nan=np.inf).detach().cpu().double().numpy()  # in units of the process
        while len(waiting):
            process.advance(min(process.steps // pace or FIRST_LOOK, most - process.steps))
            tridiagonal, n = process.tridiagonal(), dimension[waiting]
            lower = np.sqrt(np.maximum(largest_ritz(*tridiagonal), 0.0))
            far = (1 + self.tolerance) * lower
            with np.errstate(all="ignore"):
                sum_there = _log_sum(*tridiagonal, far[:, None] ** 2, epsilon)[:, 0]
            close = (sum_there >= _target(n, deltas[0])) | (others[waiting] <= far)
            done = close | nothing[waiting] | (process.steps == most)
            found[0, waiting] = lower
            if done.any():
                diagonal, beside = (part[done] for part in tridiagonal)
                upper = np.sqrt(bound_above(diagonal, beside, n[done], deltas, epsilon)).T
                # A start that the matrix takes to 0 tells nothing.
                found[1:, waiting[done]] = np.where(diagonal[:, 0] == 0, np.inf, upper)
                process.keep(torch.from_numpy((~done).nonzero()[0]).to(live.device))
                waiting = waiting[~done]
        found[:, nothing] = 0.0
        return product_above(torch.from_numpy(found).to(scale.device), scale.double().expand(len(found), -1))


def is_dear(linear: LinearMap) -> bool:
    """Whether one application costs so much that another look at the bound hardly counts."""
    return sum(prod(operator.out_shape) * operator.terms for operator in linear.operators) >= DEAR


def _with_slack(linear: LinearMap, upper: Tensor, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """The bound with the rounding of the process, which full reorthogonalisation keeps at some units per product."""
    if not is_outward():
        return upper
    slopes = steepest(row_slope) * steepest(column_slope)
    products = 4 * gamma(linear.terms, upper) * largest_size(linear) * slopes * (upper > 0)
    return upper * (1 + 64 * gamma(1, upper)) + products + matrix_slack(linear, row_slope, column_slope)
