"""What diagonal multipliers prove: an ellipsoid that holds every reachable difference, and a Cholesky that checks it.

Every Δz_k and Δf is a fixed matrix times v = [Δx; p], and |p_j| <= |z_jᵀv| for every unstable unit (domains.slopes).
Weigh these inequalities with any t > 0:

    vᵀPv = ‖Δx‖² + Σ_j t_j (p_j² − (z_jᵀv)²) <= ‖Δx‖².

If P is positive definite, v lies in the ellipsoid vᵀPv <= ‖Δx‖², and ‖Δf‖² = ‖Oᵀv‖² <= λ_max(OᵀP⁻¹O) ‖Δx‖². Every t is
either a bound or infeasible, and a Cholesky says which.

With D = diag(t)^½ and K = [Z_x D; D⁻¹ Z_p D], k = [O_x; D⁻¹ O_p]: OᵀP⁻¹O = kᵀk + bᵀN⁻¹b, N = I − KᵀK, b = Kᵀk. N is
as large as the number of unstable units; the features only enter through the Gram matrices of Z_x and O_x.

What is proved, in exact arithmetic: if A = [[I − KᵀK, −b/μ], [−bᵀ/μ, I − kᵀk/μ²]] ⪰ 0, then ‖[K, k/μ]‖ <= 1, and at
w = [Δx; Dp], whatever v is, ‖D Zᵀv‖² + ‖Oᵀv‖²/μ² <= ‖w‖², which says ‖Oᵀv‖² <= μ² vᵀPv. With L Lᵀ = N − shift·I,
h = L⁻¹b and C Cᵀ = (1 − shift)μ²I − kᵀk − hᵀh, all as computed, F = [[L, 0], [−hᵀ/μ, C/μ]] has A − FFᵀ = shift·I + R,
and A ⪰ 0 where ‖R‖ <= shift, however the factors were found. R is what rounding leaves in the three equations: what
shows when they are multiplied out may be an eighth of the shift each, and what does not has room too (Problem.of).

Source: LipSDP-Neuron (Fazlyab et al., NeurIPS 2019) on the unstable units, in the form of a reachable ellipsoid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lliptools.domains.slopes import Slopes
from lliptools.nets.linear import UNIT, or_one
from lliptools.norms.rounding import inflated
from lliptools.norms.scaled import length

LEAST, MOST = 1e-30, 1e30  # any t > 0 is allowed; these keep its squares and quotients numbers


class Solved(NamedTuple):
    """What t gives: whether it is feasible, (batch,); shape, OᵀP⁻¹O, (batch, outputs, outputs), or 0 where it is not.

    matrix: N − shift·I, and factor, its Cholesky factor L. border: b. half: L⁻¹b. between: D⁻¹Z_pD. out: D⁻¹O_p.
    """

    feasible: Tensor
    shape: Tensor
    matrix: Tensor
    factor: Tensor
    border: Tensor
    half: Tensor
    between: Tensor
    out: Tensor


@dataclass(frozen=True, eq=False)
class Problem:
    """What is known of a group of samples, in variables of size about 1.

    zz, zo, oo: Gram matrices of Z_x and O_x. between: Z_p, (batch, unstable, unstable); entry (j, k) is what p_j adds
    to the k-th unstable unit. out: O_p, (batch, unstable, outputs). scale: (batch,) or (batch, outputs), by which the
    outputs were divided. layers: number of unstable units of every layer. known: (batch,), False where nothing can be
    said. shift: what is taken off N, more than what rounding can hide. error: (batch, outputs), how far the outputs may
    be from Oᵀv, over ‖Δx‖ and not divided.
    """

    zz: Tensor
    zo: Tensor
    oo: Tensor
    between: Tensor
    out: Tensor
    scale: Tensor
    layers: tuple[int, ...]
    known: Tensor
    shift: float
    error: Tensor

    @classmethod
    def of(cls, slopes: Slopes, *, each: bool = False) -> Problem:
        """The problem that a state poses; each: every output is scaled by itself, to be bounded by itself."""
        batch, features = len(slopes.lost), slopes.features
        own = torch.cat([slopes.lost.new_zeros(batch, 0, dtype=torch.float64), *slopes.own], dim=1)
        unstable, outputs = own.shape[1], slopes.state.shape[2]
        padded = [torch.nn.functional.pad(r, (0, 0, 0, features + unstable - r.shape[1])) for r in slopes.rows]
        rows = torch.cat([slopes.state.new_zeros(batch, features + unstable, 0), *padded], dim=2)
        out = slopes.state.expand(batch, -1, -1)
        # reach() is not finite where a number is not, or where underflow took its digits
        known = own.isfinite().all(dim=1) & slopes.reach().isfinite().all(dim=1)
        known = known & rows.isfinite().all(dim=2).all(dim=1) & out.isfinite().all(dim=2).all(dim=1)
        own, error = torch.where(known[:, None], own, 0.0), torch.where(known[:, None], slopes.error_of(0), 0.0)
        rows, out = torch.where(known[:, None, None], rows, 0.0), torch.where(known[:, None, None], out, 0.0)
        # Divided by its own bound, p is at most 1 for ‖Δx‖ = 1; a p that is 0 rightly, or fills up, feeds nothing.
        rows = rows / torch.where(own > 0, own, 1.0)[:, None, :]
        rows_x, between = rows[:, :features], rows[:, features:] * own[:, :, None]
        out_x, out_p = out[:, :features], out[:, features:] * own[:, :, None]
        both = torch.cat([out_x, out_p], dim=1).abs().amax(dim=1)
        scale = both if each else both.amax(dim=1)
        divisor = torch.where(scale > 0, scale, 1.0).reshape(batch, 1, -1)
        out_x, out_p = out_x / divisor, out_p / divisor
        size = unstable + outputs
        # The columns of [K, k/μ] and the rows of F are at most 1 long: their squared Frobenius norms are at most size.
        # KᵀK, b and kᵀk err by (features + unstable + 16) u times that, L Lᵀ, L h, hᵀh and C Cᵀ by (size + 16) u times
        # that: at most half of the shift, and what shows of R is a quarter of it (√(1 + 2 + 1) eighths).
        shift = 4 * UNIT * size * (size + features + unstable + 16)
        gram = (rows_x.mT @ rows_x, rows_x.mT @ out_x, out_x.mT @ out_x)
        layers = tuple(r.shape[2] for r in slopes.rows)
        return cls(*gram, between, out_p, scale, layers, known, shift, error)

    def picked(self, samples: Tensor, outputs: Tensor) -> Problem:
        """One output by itself of each of some samples, (count,) indices each; of a problem with each=True."""
        one = outputs[:, None, None].expand(-1, self.out.shape[1], 1)
        zo, out = (part[samples].gather(2, one) for part in (self.zo, self.out))
        oo, scale = self.oo[samples, outputs, outputs].reshape(-1, 1, 1), self.scale[samples, outputs]
        error, known = self.error[samples, outputs, None], self.known[samples]
        gram = self.zz[samples], zo, oo
        return Problem(*gram, self.between[samples], out, scale, self.layers, known, self.shift, error)

    def solve(self, multipliers: Tensor) -> Solved:
        """OᵀP⁻¹O and what it was made of, with N − shift·I in the place of N; multipliers: t, (batch, unstable)."""
        root = multipliers.clamp(LEAST, MOST).sqrt()
        between = self.between * root[:, None, :] / root[:, :, None]
        out = self.out / root[:, :, None]
        N = -(root[:, :, None] * self.zz * root[:, None, :]) - between.mT @ between
        N.diagonal(dim1=1, dim2=2).add_(1 - self.shift)
        factor, failed = torch.linalg.cholesky_ex(N)
        feasible = (failed == 0) & multipliers.isfinite().all(dim=1) & self.known
        factor = torch.where(feasible[:, None, None], factor, torch.eye(N.shape[1], dtype=N.dtype, device=N.device))
        border = root[:, :, None] * self.zo + between.mT @ out
        half = torch.linalg.solve_triangular(factor, border, upper=False)
        shape = self.oo + out.mT @ out + half.mT @ half
        feasible = feasible & shape.isfinite().all(dim=2).all(dim=1)
        return Solved(feasible, torch.where(feasible[:, None, None], shape, 0.0), N, factor, border, half, between, out)

    def certify(self, multipliers: Tensor) -> Tensor:
        """The bound that t gives for all outputs together, (batch,), if the bordered Cholesky succeeds; else inf."""
        solved = self.solve(multipliers)
        squared = torch.linalg.eigvalsh(solved.shape)[:, -1] / (1 - self.shift)
        value = torch.full_like(squared, torch.inf)
        for slack in (1e-13, 1e-11, 1e-9, 1e-6, 1e-3):
            tried = squared * (1 + slack)
            bordered = -solved.shape
            bordered.diagonal(dim1=1, dim2=2).add_((tried * (1 - self.shift))[:, None])
            factor, failed = torch.linalg.cholesky_ex(bordered)
            holds = self._holds(solved, tried[:, None]).all(dim=1) & (failed == 0) & value.isinf()
            holds &= torch.linalg.matrix_norm(bordered - factor @ factor.mT) <= self.shift / 8 * tried
            value = torch.where(holds, tried.clamp_min(0.0).sqrt() * (1 + 8 * UNIT) * self.scale, value)
        value = torch.where(self.known & (self.scale == 0), 0.0, value)
        return inflated(value + length(self.error, dim=1))

    def certify_each(self, multipliers: Tensor) -> Tensor:
        """The bound that t gives for every output by itself, (batch, outputs): the same Cholesky with one row more."""
        solved = self.solve(multipliers)
        squared = solved.shape.diagonal(dim1=1, dim2=2) / (1 - self.shift) * (1 + 1e-13)
        scale = self.scale.reshape(len(squared), -1)
        proved = squared.sqrt() * (1 + 8 * UNIT) * scale
        value = torch.where(self._holds(solved, squared), proved, torch.inf)
        value = torch.where(self.known[:, None] & (scale == 0), 0.0, value)
        return inflated(value + self.error)

    def _holds(self, solved: Solved, squared: Tensor) -> Tensor:
        """Whether what was solved proves μ², of all outputs together or of each: (batch, 1 or outputs), twice."""
        seen = torch.linalg.matrix_norm(solved.matrix - solved.factor @ solved.factor.mT)
        border = solved.border - solved.factor @ solved.half
        border = torch.linalg.matrix_norm(border)[:, None] if squared.shape[1] == 1 else border.norm(dim=1)
        right = (seen <= self.shift / 8)[:, None] & (border <= self.shift / 8 * squared.sqrt())
        return solved.feasible[:, None] & right & squared.isfinite()

    def worst(self, multipliers: Tensor, sharpness: float) -> tuple[Tensor, Tensor, Tensor]:
        """λ_max, or inf, and t_j (z_jᵀv)², t_j p_j² at its v; outputs nearly as bad count by share^sharpness."""
        solved = self.solve(multipliers)
        values, vectors = torch.linalg.eigh(solved.shape)
        largest = values[:, -1:]
        vectors = vectors * ((values / or_one(largest)).clamp_min(0.0) ** (sharpness / 2))[:, None, :]
        read = torch.linalg.solve_triangular(solved.factor.mT, solved.half @ vectors, upper=True)
        put = solved.out @ vectors + solved.between @ read
        value = torch.where(solved.feasible, largest[:, 0], torch.inf)
        return value, read.square().sum(dim=2), put.square().sum(dim=2)
