"""A norm from below and from above: what power, Lanczos and Gram iteration know of a matrix after every step."""

import torch
from torch import Tensor

from lliptools.bounds import outward_rounding, round_down, round_up, spectral_norm
from lliptools.errors import InvalidInput
from lliptools.nets import LinearMap
from lliptools.norms.krylov import GolubKahan, ScaledMap

SQUARINGS = 8
FLOOR = 1e-16  # a relative gap below which float64 tells nothing


class NormView:
    """Estimates of the norm σ of a matrix (rows, columns), step by step, from starts (starts, columns), none of them 0.

    shape: of the matrix. norm: σ. second: the next singular value, 0 where there is none.
    power: (starts, steps + 1) ‖W v‖ after so many power iterations, never above σ. lanczos: (starts, steps) the largest
    Ritz value after 1, 2, … steps from the start, or from its image where that is shorter, never above σ. gram:
    (squarings + 1,) the Frobenius norm and what Gram iteration makes of it, never below σ.
    before, after: (starts, steps + 1, 2) the power iterate, and its image in units of σ, in the plane of the first two
    singular directions of either side, where the unit circle becomes an ellipse of half-axes 1 and second / σ.

    Raises InvalidInput for anything but a matrix of finite numbers, and for starts that do not fit.
    """

    def __init__(self, matrix: Tensor, starts: Tensor, steps: int = 40) -> None:
        self.norm = spectral_norm(matrix.detach(), "exact").item()  # refuses what is no matrix of numbers
        W = matrix.detach().double()
        size = W.abs().max().item() or 1.0  # the square of 1e-200 or 1e200 is not a number
        fits = starts.dim() == 2 and starts.shape[1] == W.shape[1] and bool(starts.isfinite().all())
        if not fits or not starts.norm(dim=1).all():
            wanted, cause = f"starts (starts, {W.shape[1]}), finite and none of them 0", "starts for the transpose"
            got, mend = f"shape {tuple(starts.shape)}", "pass one row per start, as long as a row of the matrix"
            raise InvalidInput(expected=wanted, got=got, cause=cause, next_step=mend)
        with outward_rounding():
            gram = [spectral_norm(W, "gram", steps=t).item() for t in range(1, SQUARINGS + 1)]
        W = W / size
        left, values, right = torch.linalg.svd(W, full_matrices=False)
        v = _unit(starts.to(W))
        iterates = [v]
        for _ in range(steps):
            moved = _unit(_unit(v @ W.T) @ W)
            v = torch.where(moved.norm(dim=1, keepdim=True) > 0, moved, v)  # what is mapped to 0 stays where it is
            iterates.append(v)
        every = torch.stack(iterates, dim=1)
        images, frobenius = every @ W.T, size * torch.linalg.matrix_norm(W).item() * (1 + 1e-9)
        self.shape, self.second = (W.shape[0], W.shape[1]), size * values[1].item() if len(values) > 1 else 0.0
        self.power, self.lanczos = size * images.norm(dim=2), size * _ritz(W, starts.to(W), steps)
        self.gram = torch.tensor([frobenius, *gram], dtype=torch.float64)
        self.before = _pair(every @ right[:2].T)
        self.after = _pair(images @ left[:, :2]) * (size / self.norm if self.norm else 1.0)

    @property
    def steps(self) -> int:
        """How many steps of power iteration there are."""
        return self.power.shape[1] - 1

    def gap(self, values: Tensor) -> Tensor:
        """|value − σ| / σ, no less than what float64 can tell."""
        return ((values - self.norm).abs() / (self.norm or 1.0)).clamp_min(FLOOR)

    def summary(self, start: int, step: int) -> tuple[str, ...]:
        """What is known of σ after so many steps in a sentence; then the matrix, and all that each method says."""
        squarings = min(step, len(self.gram) - 1)
        rows, columns = self.shape
        below, above = round_down(self.power[start, step].item(), 6), round_up(self.gram[squarings].item(), 6)
        ritz = f" · Lanczos ≥ {round_down(self.lanczos[start, step - 1].item(), 6)}" if step else ""
        return (
            f"Iteration {step}: {below} ≤ σ ≤ {above}; only the upper one, of Gram iteration, can certify.",
            f"{rows}×{columns} matrix: σ = {self.norm:.6g}, σ₂ = {self.second:.6g}, "
            f"σ₂/σ = {self.second / (self.norm or 1.0):.4g}",
            f"iteration {step}: power ≥ {below} (from below){ritz} · "
            f"Gram after {squarings} squarings ≤ {above} (from above)",
        )


def _ritz(W: Tensor, starts: Tensor, steps: int) -> Tensor:
    """The largest Ritz value of Golub–Kahan after 1 … steps steps: (starts, steps)."""
    ones = [torch.ones(len(starts), size, dtype=W.dtype, device=W.device) for size in W.shape]
    scaled = ScaledMap(LinearMap.dense(W), *ones)
    # The process starts on the side with fewer units.
    process = GolubKahan(scaled, starts @ W.T if scaled.transposed else starts)
    process.advance(steps)
    whole = torch.diag_embed(process.alpha) + torch.diag_embed(process.beta[:, :-1], offset=1)
    ritz = [torch.linalg.matrix_norm(whole[:, :k, :k], ord=2) for k in range(1, steps + 1)]
    return torch.stack(ritz, dim=1) * scaled.scale[:, None]


def _unit(v: Tensor) -> Tensor:
    """Rows at length 1, a row of 0 as it is."""
    v = v / v.abs().amax(dim=1, keepdim=True).clamp_min(1e-300)
    return v / v.norm(dim=1, keepdim=True).clamp_min(1e-300)


def _pair(coordinates: Tensor) -> Tensor:
    """Two coordinates, the second 0 where there is one only."""
    return torch.nn.functional.pad(coordinates, (0, 2 - coordinates.shape[-1]))
