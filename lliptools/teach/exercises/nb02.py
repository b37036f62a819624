"""The exercises of notebook 02: power iteration, Gram iteration, a layer that PyTorch's spectral_norm misjudges."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.teach.exercises.answers import ask_number, differs, given, norm
from lliptools.teach.exercises.exercise import Answer, Exercise, Outcome, Wrong
from lliptools.teach.shared.pair import pair_of

__all__ = ["BreakSpectralNorm", "GramIteration", "PowerIteration"]

SIDE = 16  # of the images on which a kernel is judged
WANTED = 2.5


def _matrices() -> Iterator[tuple[Tensor, Tensor]]:
    """A matrix, and a start that is no singular vector; diagonal ones first."""
    diagonal = torch.tensor([[1.0, 0.0], [0.0, 0.9]]).double()
    for W, start in ((diagonal, [0.6, 0.8]), (diagonal * 3, [1.0, 2.0]), (diagonal.flip(0), [0.6, 0.8])):
        yield W, torch.tensor(start).double()
    for rows, columns, scale in ((3, 2, 1.0), (2, 4, 1.0), (5, 4, 1e-5), (4, 5, 1e5), (20, 30, 1.0)):
        W = scale * torch.randn(rows, columns).double()
        yield W, torch.randn(columns).double()


def _unscaled(W: Tensor, v: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        v = W.T @ (W @ v)
    return (W @ v).norm() / v.norm()


class PowerIteration(Exercise):
    """power_iteration(W, v, steps): ‖Wv‖ after `steps` steps v ← WᵀWv from a start v, with v of length 1 throughout."""

    hints = (
        "WᵀW stretches the direction of the largest singular value most. Apply it again and again: W, then W.T.",
        "After every step divide v by its length, also before the first; the estimate is ‖Wv‖, not ‖WᵀWv‖.",
        "v = v / v.norm(); steps times: v = W.T @ (W @ v); v = v / v.norm(); then return (W @ v).norm().",
    )

    @staticmethod
    def reference(W: Tensor, v: Tensor, steps: int) -> Tensor:
        v = v / v.norm()
        for _ in range(steps):
            v = W.T @ (W @ v)
            v = v / v.norm()
        return (W @ v).norm()

    wrong = (
        (_unscaled, "your estimate is nan: scale v"),
        (lambda *case: PowerIteration.reference(*case) ** 2, "that is the square"),
        (lambda W, v, steps: (W @ (W.T @ (W @ v))).norm(), "yours is"),
        (lambda W, v, steps: PowerIteration.reference(W, v, steps + 1), "steps = 0 the estimate is"),
        (lambda W, v, steps: torch.linalg.matrix_norm(W, 2), "the estimate is"),
        (lambda W, v, steps: PowerIteration.reference(W, torch.randn_like(v), steps), "the estimate is"),
        (lambda W, v, steps: (W @ v).norm(), "yours is"),
        (lambda W, v, steps: PowerIteration.reference(W.T, v, steps), "the estimate is"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        # Every matrix with no step, a few and many.
        yield from ((W, start, steps) for W, start in _matrices() for steps in (0, 1, 2, 5, 40))

    def check(self, answer: Answer, W: Tensor, v: Tensor, steps: int) -> None:
        case, top, truth = self.described(W, v, steps), norm(W), self.reference(W, v, steps).item()
        got = ask_number(answer, case, W, v, steps, lost="your estimate is {}: scale v to length 1 in every step")
        squared = ": that is the square" if abs(got - truth**2) < 1e-6 * truth**2 else ""
        if got > top * (1 + 1e-6):
            raise Wrong(f"on {case} ‖W‖ is {top:.4g}, and no ‖Wv‖ with ‖v‖ = 1 is more; yours is {got:.4g}{squared}")
        if abs(got - truth) > 1e-6 * truth:
            raise differs(case, "the estimate", truth, got, squared)


def _gram_unscaled(W: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        W = W.T @ W
    return W.norm() ** (1 / 2**steps)


class GramIteration(Exercise):
    """gram_iteration(W, steps): an upper bound of ‖W‖, the Frobenius norm of WᵀW, of its square, …, and their root."""

    hints = (
        "‖WᵀW‖ = ‖W‖², and ‖A‖ is at most the Frobenius norm of A. What is the root that undoes `steps` squarings?",
        "Divide W by s = ‖W‖_F before you square, and keep log s: log‖W‖ = log s + log‖W / s‖.",
        "log_scale, weight = 0.0, 1.0; steps times: s = W.norm(); log_scale += weight * s.log(); W = W / s; "
        "W = W.T @ W; weight /= 2. Return (log_scale + weight * W.norm().log()).exp().",
    )

    @staticmethod
    def reference(W: Tensor, steps: int) -> Tensor:
        log_scale, weight = torch.zeros(()).double(), 1.0
        for _ in range(steps):
            size = W.norm()
            log_scale, W, weight = log_scale + weight * size.log(), W / size, weight / 2
            W = W.T @ W
        return (log_scale + weight * W.norm().log()).exp()

    wrong = (
        (_gram_unscaled, "underflow"),
        (lambda W, steps: PowerIteration.reference(W, torch.ones(W.shape[1]).double(), steps), "unsound"),
        (lambda W, steps: W.norm(), "the bound is"),
        (lambda W, steps: GramIteration.reference(W, steps) / 1.4, "unsound"),
        (lambda W, steps: GramIteration.reference(W, steps + 1), "the bound is"),
        (lambda W, steps: torch.linalg.matrix_norm(W, 2), "the bound is"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, int]]:
        yield from ((W, steps) for W, _ in _matrices() for steps in (0, 1, 2, 4, 8))

    def check(self, answer: Answer, W: Tensor, steps: int) -> None:
        case, top, truth = self.described(W, steps), norm(W), self.reference(W, steps).item()
        overflow = "your bound is {}: powers of WᵀW overflow; take their scale out first"
        got = ask_number(answer, case, W, steps, lost=overflow)
        if got < top * (1 - 1e-6):
            lost = ": the entries underflow to 0; take their scale out before squaring" if got == 0 else ""
            raise Wrong(f"unsound. On {case} ‖W‖ is {top:.4g}, but your bound is {got:.4g}{lost}")
        if abs(got - truth) > 1e-6 * truth:
            raise differs(case, "the bound", truth, got)


class BreakSpectralNorm(Exercise):
    """A 3 × 3 kernel whose convolution, after PyTorch's spectral_norm, still stretches some picture by 2.5."""

    hints = (
        "spectral_norm reshapes the kernel to a matrix with one row per output channel: here one row of nine numbers. "
        "What is the norm of a matrix with one row?",
        "It divides by the root of the sum of squares. A bright picture comes out at the sum of the kernel's entries.",
        "Nine equal entries: 9a against √9 · |a|.",
    )
    todo = "name a kernel"
    reference = ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    wrong = (
        ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], "outputs 1; more than 2.5"),
        ([[0, 0, 0], [1, 1, 1], [0, 0, 0]], "more than 2.5"),
    )

    def check(self, answer: Any) -> Outcome:
        wanted = "a kernel of 3 × 3 finite numbers, not all of them 0"
        kernel = given(answer, wanted, lambda K: K.numel() == 9 and 1e-100 < K.abs().max() < 1e100)
        torch.default_generator.manual_seed(0)
        layer = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
        layer.weight.data = kernel.reshape(1, 1, 3, 3).clone()
        nn.utils.parametrizations.spectral_norm(layer)
        layer.eval()
        with torch.no_grad():
            basis = torch.eye(SIDE**2, dtype=torch.float64).view(-1, 1, SIDE, SIDE)
            _, norms, vectors = torch.linalg.svd(layer(basis).flatten(1).T)
        worst, claim = vectors[0].reshape(SIDE, SIDE), f"after spectral_norm: inputs 1 apart, outputs {norms[0]:.4g}"
        pair = pair_of(lambda p: layer(p[None])[0], claim, torch.zeros_like(worst), worst)
        said = f"x = 0 and the worst x′ of {SIDE} × {SIDE} pixels are 1 apart, their outputs {pair.change:.4g}"
        if not pair.change >= WANTED:
            raise Wrong(f"after spectral_norm, {said}; more than {WANTED} is wanted", pair)
        return Outcome("right", f"PyTorch calls this layer's norm 1, but {said}", pair)
