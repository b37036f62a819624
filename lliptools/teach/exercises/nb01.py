"""The exercises of notebook 01: the pairwise radius, why √2, pixels at another scale."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lliptools.teach.exercises.answers import Questions, ask_number, given
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show
from lliptools.teach.shared.pair import Pair, pair_of

__all__ = ["PairwiseRadius", "ScaledPixels", "WhySqrt2"]

ROOT = 2**0.5


def _radii(W: Tensor, b: Tensor, x: Tensor, y: int) -> Tensor:
    """How far the border to each class is, negative beyond it; NaN at y, inf for a class with the same row."""
    logits = W @ x + b
    return (logits[y] - logits) / (W[y] - W).norm(dim=1)


def _others(radii: Tensor, y: int) -> Tensor:
    return radii[torch.arange(len(radii)) != y]


def _margin(W: Tensor, b: Tensor, x: Tensor, y: int) -> Tensor:
    logits = W @ x + b
    return (logits[y] - _others(logits, y)).min()


def _coarse(W: Tensor, b: Tensor, x: Tensor, y: int) -> Tensor:
    return (_margin(W, b, x, y) / (ROOT * torch.linalg.matrix_norm(W, 2))).clamp(min=0)


def _runner_up(W: Tensor, b: Tensor, x: Tensor, y: int) -> Tensor:
    """The border to the class with the second largest logit: another may be nearer."""
    second = (W @ x + b).index_fill(0, torch.tensor(y), -torch.inf).argmax()
    return _radii(W, b, x, y)[second].clamp(min=0)


class PairwiseRadius(Exercise):
    """pairwise_radius(W, b, x, y): how far x can move while label y keeps the largest logit of W x + b.

    W (classes, inputs), b (classes,), x (inputs,), y an index; 0 where y does not win at x.
    """

    hints = (
        "f_y − f_j = (w_y − w_j)·x + (b_y − b_j) is one linear function of x. How steep is it, and how far away is 0?",
        "Its constant is ‖w_y − w_j‖, so it lasts for (f_y − f_j) / ‖w_y − w_j‖. Which j counts? Not always the "
        "runner-up. And j = y is none of the others.",
        "logits = W @ x + b; for every j ≠ y: (logits[y] - logits[j]) / (W[y] - W[j]).norm(); the smallest of them, or "
        "0 if that is negative.",
    )

    @staticmethod
    def reference(W: Tensor, b: Tensor, x: Tensor, y: int) -> Tensor:
        return _others(_radii(W, b, x, y), y).min().clamp(min=0)

    wrong = (
        (lambda *case: PairwiseRadius.reference(*case) / ROOT, "Exactly √2 less"),
        (_coarse, "√2 ‖W‖), the same"),
        (lambda W, b, x, y: _margin(W, b, x, y) / torch.linalg.matrix_norm(W, 2), "unsound"),
        (_margin, "unsound"),
        (_runner_up, "label 2 wins"),
        (lambda W, b, x, y: _others(_radii(W, b, x, y), y).min(), "label 0 does not win at x itself"),
        (lambda W, b, x, y: _others(_radii(W, b, x, y), y).min().abs(), "label 0 does not win at x itself"),
        (lambda W, b, x, y: _radii(W, b, x, y).min().clamp(min=0), "your radius is nan"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
        # Two inputs and whole numbers first; then a misclassified point, a near border that is not the runner-up's,
        # and two classes with one row.
        for rows, offsets, point in (
            ([[3.0, 0.0], [0.0, 4.0]], [0.0, 0.0], [5.0, 0.0]),
            ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0], [1.0, 2.0]),
            # The runner-up 1 is 4 behind but flat, 2 is 6 behind and steep.
            ([[1.0, 0.0], [0.0, 0.0], [-5.0, 8.0]], [0.0, 0.0, 18.0], [4.0, 0.0]),
            ([[1.0, 2.0], [1.0, 2.0], [3.0, 2.0]], [1.0, 0.0, -9.0], [2.0, 1.0]),
        ):
            yield torch.tensor(rows).double(), torch.tensor(offsets).double(), torch.tensor(point).double(), 0
        torch.default_generator.manual_seed(seed + 1)
        for classes, inputs in ((2, 2), (3, 2), (3, 3), (4, 5), (10, 20)):
            for _ in range(4):
                sizes = (classes, inputs), (classes,), (inputs,)
                W, b, x = (torch.randn(size).double() for size in sizes)
                yield W, b, x, int((W @ x + b).argmax())
            yield W, b, x, int((W @ x + b).argmin())

    def check(self, answer: Answer, W: Tensor, b: Tensor, x: Tensor, y: int) -> None:
        case, truth = self.described(W, b, x, y), self.reference(W, b, x, y).item()
        got = ask_number(answer, case, W, b, x, y, lost="your radius is {}: no number, no certificate")
        if truth == 0 and got != 0:
            loses = f"label {y} does not win at x itself, so the radius is 0; yours is {got:.4g}"
            raise Wrong(f"on {case} the logits are {show(W @ x + b)}: {loses}")
        if got > truth * (1 + 1e-6):
            j, pair = _refuting(W, b, x, y, got)
            raise Wrong(
                f"unsound. On {case} x′ = {show(pair.other)} is only {pair.distance:.4g} away and has logits "
                f"{show(pair.f_other)}: label {j} wins there. Your radius is {got:.4g}",
                pair,
            )
        if got < truth * (1 - 1e-6):
            said = f"sound, but not the largest. On {case} label {y} is safe up to {truth:.4g}; yours is {got:.4g}"
            if abs(got * ROOT - truth) <= 1e-6 * truth:
                said += ". Exactly √2 less: ‖w_y − w_j‖ is the constant of the margin already"
            elif abs(got - _coarse(W, b, x, y).item()) <= 1e-6 * truth:
                said += ". That is margin / (√2 ‖W‖), the same for all pairs of classes"
            raise Wrong(said)


def _refuting(W: Tensor, b: Tensor, x: Tensor, y: int, got: float) -> tuple[int, Pair]:
    """The label that catches up first, and a point a little beyond the border to it."""
    radii = _radii(W, b, x, y).index_fill(0, torch.tensor(y), torch.inf)
    j = int(radii.argmin())
    direction = (W[j] - W[y]) / (W[j] - W[y]).norm()
    beyond = min(1.02 * radii[j].item(), (radii[j].item() + got) / 2)
    more: dict[str, Any] = {"names": tuple(f"f{k}" for k in range(len(b))), "center": x, "radius": got}
    if len(x) == 2:
        along, tie = 2 * got * torch.stack([direction[1], -direction[0]]), x + radii[j] * direction
        more["border"] = torch.stack([tie - along, tie + along])
    claim = f"within your radius {got:.4g}, label {j} wins at x′"
    return j, pair_of(lambda p: W @ p + b, claim, x, x + beyond * direction, **more)


class WhySqrt2(Exercise):
    """A matrix with ‖W‖ ≤ 1, a row for each class, for which some f_i − f_j has constant √2."""

    hints = (
        "f_i − f_j = (e_i − e_j)·f. How long is e_i − e_j?",
        "Two rows w_i, w_j are wanted with ‖w_i − w_j‖ = √2, in a matrix that makes no vector longer.",
        "Two rows of length 1 at a right angle.",
    )
    todo = "name a matrix"
    reference = ((1.0, 0.0), (0.0, 1.0))
    wrong = (
        ([[1.0], [-1.0]], "‖W‖ = 1.414: more than 1"),
        ([[2**0.5, 0], [0, 0]], "‖W‖ = 1.414: more than 1"),
        ([[1.0, 0], [0, 0]], "changes by 1 at most"),
        ([[0.5, 0.5], [0.5, 0.5]], "changes by 0 at most"),
    )

    def check(self, answer: Any) -> None:
        wanted = "a finite matrix with a row for each of two or more classes"
        W = given(answer, wanted, lambda found: found.dim() == 2 and len(found) >= 2 and found.numel())
        _, norms, vectors = torch.linalg.svd(W)
        steepness = torch.cdist(W, W)
        i, j = divmod(int(steepness.argmax()), len(W))
        if norms[0] > 1 + 1e-6:
            claim, start = f"outputs move by {norms[0]:.4g}, inputs by 1", torch.zeros_like(vectors[0])
            pair = pair_of(lambda p: W @ p, claim, start, vectors[0])
            raise Wrong(
                f"‖W‖ = {norms[0]:.4g}: more than 1, so the logits are not 1-Lipschitz. x = {show(pair.x)} and "
                f"x′ = {show(pair.other)} are 1 apart, their logits {pair.change:.4g}",
                pair,
            )
        if not steepness[i, j] >= ROOT - 1e-4:
            raise Wrong(
                f"‖W‖ = {norms[0]:.4g}, but f_{i} − f_{j}, the steepest of the differences, changes by "
                f"{steepness[i, j]:.4g} at most per unit of x; √2 = 1.414… is wanted"
            )


class ScaledPixels(Questions):
    """What becomes of margin, constant, radius and eps when pixels run from 0 to 255, or are normalised."""

    off = 0.01
    questions = (
        ("margin", 3.0, "margin: the logits are those of before, and so is what they differ by", (765.0,)),
        ("constant", 6 / 255, "constant: a step of 1 is now 1/255 of what it was, and the logits move so", (1530.0,)),
        ("radius", 127.5, "radius: margin / constant, in grey levels; the picture is as safe as before", (0.5,)),
        ("eps", 36.0, "eps: the same ball, in grey levels", (36 / 255,)),
        ("normalised", 2.0, "normalised: pixels divided by 0.25 are four times as far apart", (0.125,)),
    )
    hints = (
        "Lengths of inputs are multiplied by 255; lengths of logits stay. The constant is the one over the other.",
        "g(v) = f(v / 255), so Lip(g) = Lip(f) / 255, and the radius is margin / Lip(g).",
        "A radius is a length of inputs: × 255 for grey levels, / 0.25 after division by the standard deviation.",
    )
