"""The exercises of notebook 01: the pairwise radius, why √2, pixels at another scale."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from lliptools.teach.checks.answers import ask, number
from lliptools.teach.checks.pictures import picture_of
from lliptools.teach.checks.questions import Question, Questions
from lliptools.teach.exercise import Exercise, Finding, NotAttempted, show
from lliptools.teach.shared.pair import pair_of

__all__ = ["pairwise_radius", "scaled_pixels", "why_sqrt2"]

ROOT = 2**0.5


def _radius_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str | Finding]:
    for W, b, x, y in _classifiers(seed):
        described = f"W = {show(W)}, b = {show(b)}, x = {show(x)}, y = {y}"
        got = ask(function, described, W, b, x, y, read=number, wanted="a number")
        logits = W @ x + b
        rest = torch.arange(len(b)) != y
        margin, steep = (logits[y] - logits)[rest], (W[y] - W).norm(dim=1)[rest]
        reach = margin / steep  # inf for a class with the same row: it never catches up
        truth = max(reach.min().item(), 0.0)
        if not abs(got) < torch.inf:
            yield f"on {described} your radius is {got}: no number, no certificate"
        elif truth == 0 and got != 0:
            yield (
                f"on {described} the logits are {show(logits)}: label {y} does not win at x itself, "
                f"so the radius is 0; yours is {got:.4g}"
            )
        elif got > truth * (1 + 1e-6):
            yield _refuted(W, b, x, y, got, described)
        elif got < truth * (1 - 1e-6):
            yield (
                f"sound, but not the largest. On {described} label {y} is safe up to {truth:.4g}; yours is {got:.4g}"
                + (_told(got, truth, margin, W))
            )
        else:
            yield ""


def _refuted(W: Tensor, b: Tensor, x: Tensor, y: int, got: float, described: str) -> Finding:
    """The nearest point at which another label has caught up, a little beyond."""
    logits, apart = W @ x + b, W[y] - W
    reach = (logits[y] - logits) / apart.norm(dim=1)
    reach[y] = torch.inf
    j = int(reach.argmin())
    direction = -apart[j] / apart[j].norm()
    beyond = min(1.02 * reach[j].item(), (reach[j].item() + got) / 2)
    other, tie = x + beyond * direction, x + reach[j] * direction
    border = None
    if len(x) == 2:
        along = 2 * got * torch.stack([-direction[1], direction[0]])
        border = torch.stack([tie - along, tie + along])
    names = tuple(f"f{k}" for k in range(len(b)))
    pair = pair_of(
        *(lambda p: W @ p + b, f"within your radius {got:.4g}, label {j} wins at x′"),
        *(x, other),
        names=names,
        center=x,
        radius=got,
        border=border,
    )
    text = (
        f"unsound. On {described} x′ = {show(other)} is only {pair.distance:.4g} away and has logits "
        f"{show(pair.f_other)}: label {j} wins there. Your radius is {got:.4g}"
    )
    return Finding(text, picture_of(pair))


def _told(got: float, truth: float, margin: Tensor, W: Tensor) -> str:
    """The reason of a classic slip, where the number gives it away."""
    coarse = margin.min().item() / (ROOT * torch.linalg.matrix_norm(W, 2).item())
    if abs(got * ROOT - truth) <= 1e-6 * truth:
        return ". Exactly √2 less: ‖w_y − w_j‖ is the constant of the margin already"
    if abs(got - coarse) <= 1e-6 * truth:
        return ". That is margin / (√2 ‖W‖), the same for all pairs of classes"
    return ""


def _classifiers(seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
    """W, b, x and label: two inputs and whole numbers first; a misclassified point, a nearer border than that of the
    runner-up, and two classes with one row among them."""
    whole = torch.tensor
    yield whole([[3.0, 0.0], [0.0, 4.0]]).double(), whole([0.0, 0.0]).double(), whole([5.0, 0.0]).double(), 0
    yield whole([[1.0, 0.0], [0.0, 1.0]]).double(), whole([0.0, 0.0]).double(), whole([1.0, 2.0]).double(), 0
    # The runner-up 1 is 4 behind but flat, 2 is 6 behind and steep.
    near = whole([[1.0, 0.0], [0.0, 0.0], [-5.0, 8.0]]).double()
    yield near, whole([0.0, 0.0, 18.0]).double(), whole([4.0, 0.0]).double(), 0
    yield (
        whole([[1.0, 2.0], [1.0, 2.0], [3.0, 2.0]]).double(),
        whole([1.0, 0.0, -9.0]).double(),
        whole([2.0, 1.0]).double(),
        0,
    )
    generator = torch.Generator().manual_seed(seed + 1)
    for classes, inputs in ((2, 2), (3, 2), (3, 3), (4, 5), (10, 20)):
        for _ in range(4):
            W = torch.randn(classes, inputs, generator=generator).double()
            b = torch.randn(classes, generator=generator).double()
            x = torch.randn(inputs, generator=generator).double()
            logits = W @ x + b
            yield W, b, x, int(logits.argmax())
        yield W, b, x, int(logits.argmin())


def _sqrt2_faults(W: Any) -> Iterator[str | Finding]:
    if W is None or W is Ellipsis:
        raise NotAttempted("name a matrix")
    try:
        matrix = torch.as_tensor(W, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        yield f"expected a matrix with one row a class; got {str(W)[:200]}"
        return
    if matrix.dim() != 2 or len(matrix) < 2 or not matrix.numel() or not matrix.isfinite().all():
        yield f"expected a finite matrix with a row for each of two or more classes; got {show(matrix)}"
        return
    _, norms, vectors = torch.linalg.svd(matrix)
    norm = norms[0].item()
    steepness = torch.cdist(matrix, matrix)
    i, j = divmod(int(steepness.argmax()), len(matrix))
    best = steepness[i, j].item()
    if norm > 1 + 1e-6:
        at, other = torch.zeros_like(vectors[0]), vectors[0]
        pair = pair_of(lambda p: matrix @ p, f"outputs move by {norm:.4g}, inputs by 1", at, other)
        yield Finding(
            f"‖W‖ = {norm:.4g}: more than 1, so the logits are not 1-Lipschitz. x = {show(at)} and x′ = {show(other)} "
            f"are 1 apart, their logits {pair.change:.4g}",
            picture_of(pair),
        )
    elif best < ROOT - 1e-4:
        yield (
            f"‖W‖ = {norm:.4g}, but f_{i} − f_{j}, the steepest of the differences, changes by {best:.4g} at most "
            f"a unit of x; √2 = 1.414… is wanted"
        )
    else:
        yield ""


pairwise_radius = Exercise(
    "pairwise_radius",
    _radius_faults,
    (
        "f_y − f_j = (w_y − w_j)·x + (b_y − b_j) is one linear function of x. How steep is it, and how far away is 0?",
        "Its constant is ‖w_y − w_j‖, so it lasts for (f_y − f_j) / ‖w_y − w_j‖. Which j counts? Not always the "
        "runner-up. And j = y is none of the others.",
        "logits = W @ x + b; for every j ≠ y: (logits[y] - logits[j]) / (W[y] - W[j]).norm(); the smallest of them, or "
        "0 if that is negative.",
    ),
)
why_sqrt2 = Exercise(
    "why_sqrt2",
    _sqrt2_faults,
    (
        "f_i − f_j = (e_i − e_j)·f. How long is e_i − e_j?",
        "Two rows w_i, w_j are wanted with ‖w_i − w_j‖ = √2, in a matrix that makes no vector longer.",
        "Two rows of length 1 at a right angle.",
    ),
)
_OFF = 0.01
scaled_pixels = Questions(
    "scaled_pixels",
    (
        Question("margin", 3.0, "margin: the logits are those of before, and so is what they differ by", _OFF),
        Question(
            "constant", 6 / 255, "constant: a step of 1 is now 1/255 of what it was, and the logits move so", _OFF
        ),
        Question("radius", 127.5, "radius: margin / constant, in grey levels; the picture is as safe as before", _OFF),
        Question("eps", 36.0, "eps: the same ball, in grey levels", _OFF),
        Question("normalised", 2.0, "normalised: pixels divided by 0.25 are four times as far apart", _OFF),
    ),
    (
        "Lengths of inputs are multiplied by 255; lengths of logits stay. The constant is the one over the other.",
        "g(v) = f(v / 255), so Lip(g) = Lip(f) / 255, and the radius is margin / Lip(g).",
        "A radius is a length of inputs: × 255 for grey levels, / 0.25 after division by the standard deviation.",
    ),
)
