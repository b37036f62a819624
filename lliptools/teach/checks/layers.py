"""The exercises of notebook 07: AOL's scale is feasible, the q at which SLL meets SN, eight columns."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from lliptools.layers.condition import gershgorin_scale
from lliptools.teach.checks.answers import ask, numbers, told
from lliptools.teach.exercise import Exercise, Fault, show

__all__ = ["aol_scale", "eight_columns", "q_of_sn"]

ROUNDING = 1e-6  # relative: what an answer in float32 may have lost; no wrong answer is so near


def _matrices(seed: int, columns: tuple[int, ...]) -> Iterator[Tensor]:
    """Whole numbers first, the matrix of the central figure among them; then random ones."""
    generator = torch.Generator().manual_seed(seed)
    if 2 in columns:
        yield torch.tensor([[1.0, 1.0], [1.0, -2.0]], dtype=torch.float64)
        yield torch.tensor([[1.0, 0.6], [0.2, 0.9]], dtype=torch.float64)
    for inner in columns:
        for features in (inner, inner + 3, max(1, inner - 1)):
            yield torch.randn(features, inner, generator=generator, dtype=torch.float64)


def _named(W: Tensor) -> str:
    return f"W = {show(W)}" if W.numel() <= 9 else f"a random W of shape {tuple(W.shape)}"


def _feasible(W: Tensor, T: Tensor, described: str, name: str) -> None:
    """Raise Fault, with a vector that W stretches too far, unless T ⪰ WᵀW up to rounding."""
    if not (T >= 0).all():
        raise Fault(f"on {described} {name} holds a negative number: {show(T)}")
    slack, vectors = torch.linalg.eigh(torch.diag(T) - W.T @ W)
    if not slack[0] >= -ROUNDING * float(T.amax().clamp_min(1.0)):
        v = vectors[:, 0]
        raise Fault(
            f"not feasible. On {described}, {name} = {show(T)} and v = {show(v)}, ‖Wv‖² is "
            f"{(W @ v).square().sum():.6g}, but Σ T_i v_i² only {(T * v.square()).sum():.6g}"
        )


def _aol_cases(function: Callable[..., Any], seed: int) -> Iterator[None]:
    for W in (torch.tensor([[1.0, -1.0]]).double(), *_matrices(seed, (2, 3, 4, 8)), torch.eye(3).double()):
        described = _named(W)
        T = numbers(ask(function, described, W), (W.shape[1],), described).detach()
        _feasible(W, T, described, "T")
        wanted = torch.stack([torch.stack([(w @ v).abs() for v in W.T]).sum() for w in W.T])
        if not torch.allclose(T, wanted, rtol=ROUNDING, atol=0.0):
            raise Fault(f"feasible, but not AOL's. On {described} AOL's T is {show(wanted)}; yours is {show(T)}")
        yield


def _q_cases(function: Callable[..., Any], seed: int) -> Iterator[None]:
    for W in _matrices(seed, (2, 3, 4, 8)):
        described = _named(W)
        q = numbers(ask(function, described, W), (W.shape[1],), described).detach()
        if not (q > 0).all():
            raise Fault(f"on {described} every q_i has to be positive; yours is {show(q)}")
        T = gershgorin_scale(W, q)
        if not (T.isfinite().all() and T.amax() - T.amin() <= 1e-6 * T.amax()):
            raise Fault(
                f"on {described} q = {show(q)} gives T from {T.amin():.6g} to {T.amax():.6g}; all T_i have to be equal"
            )
        yield


def _factor_cases(function: Callable[..., Any], seed: int) -> Iterator[None]:
    for W in _matrices(seed, (2, 8)):
        size = W.square().sum(dim=0)
        for name, T in (("AOL's T", gershgorin_scale(W, torch.ones_like(size))), ("T_i = ‖column i‖²", size)):
            described = f"{_named(W)} and {name}"
            t = numbers(ask(function, described, W, T), (), described).detach()
            _feasible(W, t * T, f"{described}, your factor {t:.6g}", "t·T")
            least = (0.0 if t <= 0 else float(t)) * (1 - 1e-6)
            if torch.linalg.eigvalsh(torch.diag(least * T) - W.T @ W)[0] > 0:
                raise Fault(f"not the smallest. On {described} your t = {t:.6g} leaves room: {least:.6g} is enough too")
            yield


aol_scale = Exercise(
    "aol_scale",
    told(_aol_cases),
    (
        "WᵀW holds the inner products of W's columns. T_j sums the absolute values of its row j, with the diagonal.",
        "Why it is feasible: Σ T_i v_i² − ‖Wv‖² = ½ Σ_ij |g_ij| (v_i − s_ij v_j)² with s_ij the sign of g = WᵀW at ij. "
        "Without the absolute values nothing keeps the squares positive.",
        "return (W.T @ W).abs().sum(dim=1)",
    ),
)
q_of_sn = Exercise(
    "q_of_sn",
    told(_q_cases),
    (
        "All T_i = t says Σ_j |WᵀW|_ij q_j = t q_i. What is such a q called?",
        "An eigenvector of |WᵀW|, absolute values entry by entry. Which of its eigenvectors has no negative entry?",
        "The last column of torch.linalg.eigh((W.T @ W).abs())[1], by Perron and Frobenius; take its absolute value.",
    ),
)
eight_columns = Exercise(
    "eight_columns",
    told(_factor_cases),
    (
        "t·T ⪰ WᵀW says ‖Wv‖² ≤ t Σ T_i v_i² for all v. Substitute u_i = √T_i v_i.",
        "With u: ‖W T^(−½) u‖² ≤ t ‖u‖² for all u. The smallest such t is the square of a spectral norm.",
        "return torch.linalg.matrix_norm(W / T.sqrt(), 2) ** 2",
    ),
)
