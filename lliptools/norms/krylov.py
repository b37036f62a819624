"""Golub–Kahan–Lanczos: a layer seen through a few of its products, without the matrix."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from lliptools.nets.linear import LinearMap, or_one
from lliptools.norms.kinds import product_above, steepest

NOISE = 16  # what is left of a vector after so many units of rounding is nothing


class ScaledMap:
    """A = D_row^½ W D_column^½ / scale per sample, or its transpose, from the side with fewer units; scale: (batch,).

    The largest entry of W and the largest slopes of every sample are brought to 1, so that lengths stay numbers.
    """

    def __init__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> None:
        self.linear, scale = linear.normalised
        sides, self.scale = [], scale.expand(len(row_slope))
        for slope, shape in ((row_slope, linear.out_shape), (column_slope, linear.in_shape)):
            largest = steepest(slope)
            self.scale = product_above(self.scale, largest)
            sides.append(slope.sqrt().reshape(len(slope), *shape) / or_one(largest).view(-1, *[1] * len(shape)))
        self.row, self.column = sides
        self.transposed = linear.rows < linear.columns

    def keep(self, index: Tensor) -> None:
        """Go on with these samples only."""
        self.row, self.column, self.scale = self.row[index], self.column[index], self.scale[index]

    def nothing(self) -> Tensor:
        """Samples of which no entry is left: (batch,) bool."""
        alive = self.linear.reached(self.column != 0) & (self.row != 0)
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


def fresh_start(scaled: ScaledMap, number: int = 0) -> Tensor:
    """Where an iteration starts: normal numbers for every sample, 0 where no column is left, (batch, n).

    They come from a generator of their own, which a cryptographic hash of the sample's matrix seeds. So the same matrix
    has the same start wherever it is met, and neither what a caller seeds nor what torch has drawn before can be
    correlated with it, as it could if weights and start were of one stream. Another number gives another start: equal
    layers of one network have starts that are independent.
    """
    live, starts = scaled.live(), []
    sides = (side.detach().cpu().numpy() for side in (scaled.row, scaled.column))
    for row, column in zip(*sides, strict=True):
        seen = scaled.linear.digest + number.to_bytes(8, "little") + row.tobytes() + column.tobytes()
        seed = hashlib.blake2b(seen, digest_size=32).digest()
        generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
        starts.append(torch.from_numpy(generator.standard_normal(live.shape[1])))
    return torch.stack(starts).to(scaled.row) * live


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
        self.largest_seen = start.new_zeros(len(start))
        self.basis = start.new_zeros(len(start), 0, start.shape[1])
        self.steps = 0

    def advance(self, steps: int) -> None:
        """So many steps more: each applies the matrix and its transpose once."""
        empty = self.alpha.new_zeros(len(self.alpha), steps)
        if self.steps + steps > self.basis.shape[1]:  # as much again, so that it is seldom copied
            larger = self.basis.new_empty(len(self.basis), 2 * (self.steps + steps), self.basis.shape[2])
            larger[:, : self.steps] = self.basis[:, : self.steps]
            self.basis = larger
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
        nothing = length <= NOISE * torch.finfo(w.dtype).eps * self.largest_seen  # NaN stays NaN
        self.largest_seen = torch.maximum(self.largest_seen, length)
        return w / length.masked_fill(nothing, torch.inf)[:, None], length.masked_fill(nothing, 0.0)

    def keep(self, index: Tensor) -> None:
        """Go on with these samples only."""
        self.scaled.keep(index)
        self.next, self.left, self.basis = self.next[index], self.left[index], self.basis[index]
        self.alpha, self.beta, self.largest_seen = self.alpha[index], self.beta[index], self.largest_seen[index]

    def tridiagonal(self) -> tuple[np.ndarray, np.ndarray]:
        """BᵀB: its diagonal (batch, steps), and what stands beside it (batch, steps), the last leading out."""
        alpha, beta = (entries.detach().cpu().double().numpy() for entries in (self.alpha, self.beta))
        before = np.pad(beta[:, :-1], ((0, 0), (1, 0)))
        return alpha**2 + before**2, alpha * beta

    def largest(self) -> tuple[Tensor, Tensor]:
        """The largest singular value of B, (batch,), NaN on overflow, and its vector in the space of V, (batch, n)."""
        matrix = torch.diag_embed(self.alpha) + torch.diag_embed(self.beta[:, :-1], offset=1)
        finite = matrix.isfinite().all(dim=2).all(dim=1)
        matrix = torch.where(finite[:, None, None], matrix, 0.0)  # the solver refuses what is no number
        _, values, right = torch.linalg.svd(matrix)
        largest = torch.where(finite, values[:, 0], torch.nan)
        return largest, torch.bmm(right[:, :1], self.basis[:, : self.steps])[:, 0]


def _without(w: Tensor, basis: Tensor) -> Tensor:
    return w - torch.bmm(torch.bmm(basis, w[:, :, None]).mT, basis)[:, 0]
