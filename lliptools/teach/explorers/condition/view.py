"""The condition T ⪰ WᵀW for one matrix and one q: scales, discs, singular values, the plane of two of the scales."""

import torch
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.layers.condition import balanced_scale, slack

ROUNDING = 1e-9  # relative to the largest scale: what eigenvalues in float64 can be off by
LARGEST = 1e100  # of a weight: the square of it is still a number
WIDEST = 64


class Section:
    """All (t₁, t₂) that fulfil the condition while the other scales T stay as they are: those above a hyperbola.

    corner: its asymptotes, (t₁, t₂). overlap: (t₁ − corner₁)(t₂ − corner₂) >= overlap² above it.
    """

    def __init__(self, gram: Tensor, T: Tensor) -> None:
        left = gram[:2, :2]
        if len(T) > 2:  # what WᵀW leaves of the two when the others have done their part: a Schur complement
            across = gram[:2, 2:]
            left = left + across @ torch.linalg.pinv(T[2:].diag() - gram[2:, 2:], hermitian=True) @ across.T
        self.corner, self.overlap = (left[0, 0].item(), left[1, 1].item()), left[0, 1].abs().item()

    def boundary(self, low: float, high: float, count: int = 200) -> tuple[Tensor, Tensor]:
        """Points (t₁, t₂) of the hyperbola, as far from its corner as from low to high times the overlap."""
        away = torch.logspace(low, high, count, base=10.0, dtype=torch.float64)
        return self.corner[0] + self.overlap * away, self.corner[1] + self.overlap / away


class ConditionView:
    """A matrix W (features, inner), inner at least 2, and a q > 0, with what T ⪰ WᵀW makes of them.

    * log_q: (inner,), by default 0
    * scales: by the name of the layer, the diagonal of T: (inner,)
    * slack: the smallest eigenvalue of T − WᵀW
    * singular: the singular values of W T^(−½), largest first; none is above 1
    * eigenvalues: of T − WᵀW, with T of SLL
    * centres, radii: of the Gershgorin discs of T − Q⁻¹ WᵀW Q, which has these eigenvalues: both T_i − (WᵀW)_ii, so
      that all discs touch 0 from the right, which proves T ⪰ WᵀW; where a column of W is 0, T_i is 1 and the radius 0
    * section: the plane of the first two columns

    Raises InvalidInput.
    """

    def __init__(self, W: Tensor, log_q: Tensor | None = None) -> None:
        _check(W)
        log_q = torch.zeros(W.shape[1], device=W.device) if log_q is None else log_q
        _check_log_q(W, log_q)
        W, log_q = W.detach().double(), log_q.detach().double()
        gram, norm = W.T @ W, torch.linalg.matrix_norm(W, 2)
        self.W, self.log_q = W, log_q
        self.scales = {
            "spectral": (norm.square() if norm > 0 else torch.ones_like(norm)).expand(len(log_q)),
            "AOL": _scale(W, torch.zeros_like(log_q)),
            "SLL": _scale(W, log_q),
        }
        self.slack = {name: slack(W, T).item() for name, T in self.scales.items()}
        self.singular = {name: torch.linalg.svdvals(W / T.sqrt()) for name, T in self.scales.items()}
        self.eigenvalues = torch.linalg.eigvalsh(self.scales["SLL"].diag() - gram)
        q = (log_q - log_q.max()).exp()
        self.centres = self.scales["SLL"] - gram.diagonal()
        self.radii = ((gram - gram.diagonal().diag()).abs() @ q) / q
        self.section = Section(gram, self.scales["SLL"])

    @property
    def whole(self) -> bool:
        """Whether the plane shows all there is: two columns."""
        return self.W.shape[1] == 2

    def holds(self, name: str) -> bool:
        """Whether T − WᵀW has no eigenvalue below 0 by more than rounding."""
        return self.slack[name] >= -ROUNDING * float(self.scales[name].max())

    def summary(self) -> tuple[str, ...]:
        """What the scales cost in a sentence; then all that the layers make of the matrix."""
        traces = {name: scale.sum().item() for name, scale in self.scales.items()}
        few, good = min(traces.values()) * (1 + ROUNDING), all(map(self.holds, self.scales))
        least = " and ".join(name for name, trace in traces.items() if trace <= few)
        shares = ", ".join(f"{name} {trace:.3g}" for name, trace in traces.items())
        verdict = f"{'All three' if good else 'Not all'} scales fulfil T ⪰ WᵀW. Trace of T: {shares}; least: {least}."
        ratio = (self.log_q[1] - self.log_q[0]).exp().item()
        first = f"q₂/q₁ = {ratio:.4g} · T by SLL {_numbers(self.scales['SLL'])}"
        second = [
            f"{name}: trace of T {scale.sum():.4g}, "
            f"singular values of W T^(−½) {_numbers(self.singular[name])}, "
            + ("T ⪰ WᵀW holds" if self.holds(name) else "T ⪰ WᵀW does not hold")
            for name, scale in self.scales.items()
        ]
        shown = "" if self.whole else f" · the plane shows columns 1 and 2 of {self.W.shape[1]}"
        return verdict, first + shown, *second


def _scale(W: Tensor, log_q: Tensor) -> Tensor:
    _, size, scale = balanced_scale(W.T, log_q)
    return size.square() * scale


def _check(W: Tensor) -> None:
    fits = isinstance(W, Tensor) and W.dim() == 2 and W.is_floating_point() and len(W) > 0
    if not fits or not 2 <= W.shape[1] <= WIDEST or not W.isfinite().all() or W.abs().max() > LARGEST:
        wanted = f"W as a matrix (features, inner) of finite numbers up to {LARGEST:g}, 2 to {WIDEST} columns"
        got = f"{tuple(W.shape)} of {W.dtype}" if isinstance(W, Tensor) else type(W).__name__
        cause = "a kernel or a list, one column, or the Wᵀ that residual layers keep as their weight"
        mend = "pass a two-dimensional tensor, such as layer.weight.T[:, :8]"
        raise InvalidInput(expected=wanted, got=got, cause=cause, next_step=mend)


def _check_log_q(W: Tensor, log_q: Tensor) -> None:
    if log_q.shape != W.shape[1:] or not log_q.isfinite().all():
        cause, mend = "one number per feature, or q itself where it is 0", "pass torch.zeros(W.shape[1]) for q = 1"
        wanted, got = f"log_q as {W.shape[1]} finite numbers", f"shape {tuple(log_q.shape)}"
        raise InvalidInput(expected=wanted, got=got, cause=cause, next_step=mend)


def _numbers(values: Tensor) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:4].tolist())
    return f"({shown}{', …' if len(values) > 4 else ''})"
