"""The exercises of notebook 07: AOL's scale is feasible, the q at which SLL meets SN, eight columns."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lliptools.layers.condition import gershgorin_scale
from lliptools.teach.exercises.answers import ask_numbers, from_below
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show

__all__ = ["AolScale", "EightColumns", "QOfSn"]

ROUNDING = 1e-6  # relative: what an answer in float32 may have lost; no wrong answer is so near


def _matrices(columns: tuple[int, ...]) -> Iterator[Tensor]:
    """Whole numbers first, the matrix of the central figure among them; then random ones."""
    yield torch.tensor([[1.0, 1.0], [1.0, -2.0]], dtype=torch.float64)
    yield torch.tensor([[1.0, 0.6], [0.2, 0.9]], dtype=torch.float64)
    for inner in columns:
        for features in (inner, inner + 3, max(1, inner - 1)):
            yield torch.randn(features, inner, dtype=torch.float64)


def _feasible(W: Tensor, T: Tensor, case: str, name: str) -> None:
    """Raise Wrong, with a vector that W stretches too far, unless T ⪰ WᵀW up to rounding."""
    if not (T >= 0).all():
        raise Wrong(f"on {case} {name} has a negative number: {show(T)}")
    slack, vectors = torch.linalg.eigh(torch.diag(T) - W.T @ W)
    if not slack[0] >= -ROUNDING * float(T.amax().clamp_min(1.0)):
        v = vectors[:, 0]
        raise Wrong(
            f"not feasible. On {case}, {name} = {show(T)} and v = {show(v)}, ‖Wv‖² is "
            f"{(W @ v).square().sum():.6g}, but Σ T_i v_i² only {(T * v.square()).sum():.6g}"
        )


class AolScale(Exercise):
    """aol_scale(W): AOL's scale T (inputs,), the sums over the rows of |WᵀW|; T ⪰ WᵀW as a diagonal matrix."""

    hints = (
        "WᵀW contains the inner products of W's columns. T_j sums the absolute values of its row j, with the diagonal.",
        "Why it is feasible: Σ T_i v_i² − ‖Wv‖² = ½ Σ_ij |g_ij| (v_i − s_ij v_j)² with s_ij the sign of g = WᵀW at ij. "
        "Without the absolute values nothing keeps the squares positive.",
        "return (W.T @ W).abs().sum(dim=1)",
    )

    reference = staticmethod(lambda W: (W.T @ W).abs().sum(dim=1))
    wrong = (
        (lambda W: (W.T @ W).sum(dim=1).abs(), "not feasible. On W = [[1.0, -1.0]]"),
        (lambda W: (W.T @ W).sum(dim=1), "not feasible"),
        (lambda W: (W.T @ W).diagonal(), "not feasible"),
        (lambda W: (W.T @ W).abs().sum(dim=1).sqrt(), "not feasible"),
        (lambda W: (W @ W.T).abs().sum(dim=1), "numbers of shape (2,) are expected"),
        (lambda W: torch.linalg.matrix_norm(W, 2) ** 2 * torch.ones(W.shape[1]), "feasible, but not AOL"),
        (lambda W: 2 * AolScale.reference(W), "feasible, but not AOL"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor]]:
        for W in (torch.tensor([[1.0, -1.0]]).double(), *_matrices((2, 3, 4, 8)), torch.eye(3).double()):
            yield (W,)

    def check(self, answer: Answer, W: Tensor) -> None:
        case, wanted = self.described(W), self.reference(W)
        T = ask_numbers(answer, case, (W.shape[1],), W).detach()
        _feasible(W, T, case, "T")
        if not torch.allclose(T, wanted, rtol=ROUNDING, atol=0.0):
            raise Wrong(f"feasible, but not AOL's. On {case} AOL's T is {show(wanted)}; yours is {show(T)}")


def _in_three_steps(W: Tensor) -> Tensor:
    overlap, q = (W.T @ W).abs(), torch.ones(W.shape[1], dtype=torch.float64)
    for _ in range(3):
        q = overlap @ q / (overlap @ q).sum()
    return q


class QOfSn(Exercise):
    """q_of_sn(W): the positive weights q (inputs,) for which all of SLL's T_i are equal."""

    hints = (
        "All T_i = t says Σ_j |WᵀW|_ij q_j = t q_i. What is such a q called?",
        "An eigenvector of |WᵀW|, absolute values entry by entry. Which of its eigenvectors has no negative entry?",
        "The last column of torch.linalg.eigh((W.T @ W).abs())[1], by Perron and Frobenius; take its absolute value.",
    )

    reference = staticmethod(lambda W: torch.linalg.eigh((W.T @ W).abs())[1][:, -1].abs())
    wrong = (
        (lambda W: torch.ones(W.shape[1]), "all T_i have to be equal"),
        (lambda W: torch.linalg.eigh(W.T @ W)[1][:, -1], "has to be positive"),
        (lambda W: torch.linalg.svd(W)[2][0].abs(), "all T_i have to be equal"),
        (lambda W: 1 / QOfSn.reference(W), "all T_i have to be equal"),
        (lambda W: QOfSn.reference(W).log(), "has to be positive"),
        (_in_three_steps, "all T_i have to be equal"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor]]:
        yield from ((W,) for W in _matrices((2, 3, 4, 8)))

    def check(self, answer: Answer, W: Tensor) -> None:
        case = self.described(W)
        q = ask_numbers(answer, case, (W.shape[1],), W).detach()
        if not (q > 0).all():
            raise Wrong(f"on {case} every q_i has to be positive; yours is {show(q)}")
        T = gershgorin_scale(W, q)
        if not (T.isfinite().all() and T.amax() - T.amin() <= 1e-6 * T.amax()):
            raise Wrong(
                f"on {case} q = {show(q)} gives T from {T.amin():.6g} to {T.amax():.6g}; all T_i have to be equal"
            )


class EightColumns(Exercise):
    """smallest_factor(W, T): the smallest t for which t·T ⪰ WᵀW, T (inputs,) as a diagonal matrix."""

    hints = (
        "t·T ⪰ WᵀW says ‖Wv‖² ≤ t Σ T_i v_i² for all v. Substitute u_i = √T_i v_i.",
        "With u: ‖W T^(−½) u‖² ≤ t ‖u‖² for all u. The smallest such t is the square of a spectral norm.",
        "return torch.linalg.matrix_norm(W / T.sqrt(), 2) ** 2",
    )

    reference = staticmethod(lambda W, T: torch.linalg.matrix_norm(W / T.sqrt(), 2) ** 2)
    wrong = (
        (lambda W, T: from_below(W / T.sqrt()) ** 2, "not feasible"),
        (lambda W, T: EightColumns.reference(W, T).sqrt(), "not"),
        (lambda W, T: torch.ones(()), "not"),
        (lambda W, T: torch.linalg.matrix_norm(W, 2) ** 2 / T.min(), "not the smallest"),
        (lambda W, T: torch.linalg.matrix_norm(W, 2) ** 2 / T.max(), "not feasible"),
        (lambda W, T: 1.001 * EightColumns.reference(W, T), "not the smallest"),
        (lambda W, T: -1.0, "negative"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, str]]:
        for W in _matrices((2, 8)):
            size = W.square().sum(dim=0)
            yield W, gershgorin_scale(W, torch.ones_like(size)), "AOL's T"
            yield W, size, "T_i = ‖column i‖²"

    def check(self, answer: Answer, W: Tensor, T: Tensor, name: str) -> None:
        case = f"W = {show(W)} and {name}"
        t = ask_numbers(answer, case, (), W, T).detach()
        _feasible(W, t * T, f"{case}, your factor {t:.6g}", "t·T")
        least = (0.0 if t <= 0 else float(t)) * (1 - 1e-6)
        if torch.linalg.eigvalsh(torch.diag(least * T) - W.T @ W)[0] > 0:
            raise Wrong(f"not the smallest. On {case} your t = {t:.6g} leaves room: {least:.6g} is enough too")
