"""The exercises of notebook 02: power iteration, Gram iteration, a layer that PyTorch's spectral_norm misjudges."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.teach.checks.answers import ask, number
from lliptools.teach.checks.pictures import picture_of
from lliptools.teach.exercise import Exercise, Finding, NotAttempted, show
from lliptools.teach.shared.pair import Pair, pair_of

__all__ = ["break_spectral_norm", "gram_iteration", "power_iteration"]

SIDE = 16  # of the images on which a kernel is judged
WANTED = 2.5


def _power_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str]:
    for W, start, story in _matrices(seed):
        top = torch.linalg.matrix_norm(W, 2).item()
        before, expected = 0.0, start / start.norm()
        for steps in (0, 1, 2, 5, 40):
            described = f"{story}, v = {_short(start)}, steps = {steps}"
            got = ask(function, described, W, start, steps, read=number, wanted="a number")
            expected = start / start.norm()
            for _ in range(steps):
                expected = W.T @ (W @ expected)
                expected = expected / expected.norm()
            truth = (W @ expected).norm().item()
            squared = ": that is the square" if abs(got - truth**2) < 1e-6 * truth**2 else ""
            if not abs(got) < torch.inf:
                yield f"on {described} your estimate is {got}: scale v to length 1 in every step"
            elif got > top * (1 + 1e-6):
                yield f"on {described} ‖W‖ is {top:.4g}, and no ‖Wv‖ with ‖v‖ = 1 is more; yours is {got:.4g}{squared}"
            elif got < before * (1 - 1e-6):
                yield f"on {described} your estimate fell from {before:.4g} to {got:.4g}; it can only rise"
            elif abs(got - truth) > 1e-6 * truth:
                yield f"on {described} the estimate is {truth:.6g}; yours is {got:.6g}{squared}"
            else:
                yield ""
            before = got


def _gram_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str]:
    for W, _, story in _matrices(seed):
        top = torch.linalg.matrix_norm(W, 2).item()
        values = torch.linalg.svdvals(W) / top
        for steps in (0, 1, 2, 4, 8):
            described = f"{story}, steps = {steps}"
            got = ask(function, described, W, steps, read=number, wanted="a number")
            truth = top * values.pow(2 ** (steps + 1)).sum().item() ** 0.5 ** (steps + 1)
            if not abs(got) < torch.inf:
                yield f"on {described} your bound is {got}: powers of WᵀW overflow; take their scale out first"
            elif got < top * (1 - 1e-6):
                yield f"unsound. On {described} ‖W‖ is {top:.4g}, but your bound is {got:.4g}" + (
                    ": the entries underflow to 0; take their scale out before squaring" if got == 0 else ""
                )
            elif abs(got - truth) > 1e-6 * truth:
                yield f"on {described} the bound is {truth:.6g}; yours is {got:.6g}"
            else:
                yield ""


def _matrices(seed: int) -> Iterator[tuple[Tensor, Tensor, str]]:
    """A matrix, a start that is no singular vector, and the matrix in words; diagonal ones first."""
    generator = torch.Generator().manual_seed(seed)
    diagonal = torch.tensor([[1.0, 0.0], [0.0, 0.9]]).double()
    for W, start in ((diagonal, [0.6, 0.8]), (diagonal * 3, [1.0, 2.0]), (diagonal.flip(0), [0.6, 0.8])):
        yield W, torch.tensor(start).double(), f"W = {_short(W)}"
    for rows, columns, scale in ((3, 2, 1.0), (2, 4, 1.0), (5, 4, 1e-5), (4, 5, 1e5), (20, 30, 1.0)):
        W = scale * torch.randn(rows, columns, generator=generator).double()
        yield W, torch.randn(columns, generator=generator).double(), f"W = {_short(W)}"


def _short(value: Tensor) -> str:
    """Small ones in full, others by their shape and largest entry."""
    if value.numel() <= 8 and value.abs().max() > 1e-2:
        return show(value)
    return f"one of shape {tuple(value.shape)} with entries up to {value.abs().max().item():.2g}"


def _kernel_faults(kernel: Any) -> Iterator[str | Finding]:
    if kernel is None or kernel is Ellipsis:
        raise NotAttempted("name a kernel")
    try:
        K = torch.as_tensor(kernel, dtype=torch.float64).detach().reshape(1, 1, 3, 3)
    except (TypeError, ValueError, RuntimeError):
        yield f"expected a kernel of 3 × 3 numbers; got {str(kernel)[:200]}"
        return
    if not K.isfinite().all() or not 1e-100 < K.abs().max() < 1e100:
        yield f"expected finite numbers, not all of them 0; got {show(K[0, 0])}"
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
        layer.weight.data = K.clone()
        nn.utils.parametrizations.spectral_norm(layer)
    layer.eval()
    with torch.no_grad():
        basis = torch.eye(SIDE**2, dtype=torch.float64).view(-1, 1, SIDE, SIDE)
        _, _, vectors = torch.linalg.svd(layer(basis).flatten(1).T)
    worst = vectors[0].reshape(SIDE, SIDE)
    pair = pair_of(lambda p: layer(p[None])[0], "", torch.zeros_like(worst), worst)
    names = f"x = 0 and the worst x′ of {SIDE} × {SIDE} pixels are 1 apart, their outputs {pair.change:.4g}"
    claim = f"after spectral_norm: inputs 1 apart, outputs {pair.change:.4g}"
    picture = picture_of(Pair(claim, pair.x, pair.other, pair.f_x, pair.f_other))
    if not pair.change >= WANTED:
        yield Finding(f"after spectral_norm, {names}; more than {WANTED} is wanted", picture)
    else:
        yield Finding(f"PyTorch calls this layer's norm 1, but {names}", picture, right=True)


power_iteration = Exercise(
    "power_iteration",
    _power_faults,
    (
        "WᵀW stretches the direction of the largest singular value most. Apply it again and again: W, then W.T.",
        "After every step divide v by its length, also before the first; the estimate is ‖Wv‖, not ‖WᵀWv‖.",
        "v = v / v.norm(); steps times: v = W.T @ (W @ v); v = v / v.norm(); then return (W @ v).norm().",
    ),
)
gram_iteration = Exercise(
    "gram_iteration",
    _gram_faults,
    (
        "‖WᵀW‖ = ‖W‖², and ‖A‖ is at most the Frobenius norm of A. What is the root that undoes `steps` squarings?",
        "Divide W by s = ‖W‖_F before you square, and keep log s: log‖W‖ = log s + log‖W / s‖.",
        "log_scale, weight = 0.0, 1.0; steps times: s = W.norm(); log_scale += weight * s.log(); W = W / s; "
        "W = W.T @ W; weight /= 2. Return (log_scale + weight * W.norm().log()).exp().",
    ),
)
break_spectral_norm = Exercise(
    "break_spectral_norm",
    _kernel_faults,
    (
        "spectral_norm reshapes the kernel to a matrix with one row an output channel: here one row of nine numbers. "
        "What is the norm of a matrix with one row?",
        "It divides by the root of the sum of squares. A bright picture comes out at the sum of the kernel's entries.",
        "Nine equal entries: 9a against √9 · |a|.",
    ),
)
