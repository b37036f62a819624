"""The exercises of notebook 04 that put the pieces together: secants from the centre, the whole bound, a radius."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor

from lliptools import paper
from lliptools.teach.exercises.answers import ask, ask_number, differs, first, norm, sides
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show

__all__ = ["BisectedRadius", "MyLocalBound", "Secants"]

Sides = tuple[Tensor, Tensor]


class Secants(Exercise):
    """secants(z, lower, upper): least and greatest (relu(t) − relu(z)) / (t − z) over lower ≤ t ≤ upper, per unit."""

    hints = (
        "Draw relu and mark (z, 0) for a z below 0. To which t of [lower, upper] is the line from there steepest?",
        "For z < 0 < upper it is t = upper: upper / (upper − z). For lower < 0 ≤ z the flattest is z / (z − lower).",
        "least: 1 where lower >= 0, 0 where z <= 0, else z / (z − lower); greatest: 0, 1, upper / (upper − z).",
    )

    @staticmethod
    def reference(z: Tensor, lower: Tensor, upper: Tensor) -> Sides:
        least = torch.where(lower >= 0, 1.0, torch.where(z <= 0, 0.0, z / (z - lower)))
        return least, torch.where(upper <= 0, 0.0, torch.where(z >= 0, 1.0, upper / (upper - z)))

    wrong = (
        (lambda z, lower, upper: ((lower >= 0).double(), (upper > 0).double()), "between any two points"),
        (lambda *case: Secants.reference(*case)[::-1], "unsound"),
        (lambda z, lower, upper: ((z > 0).double(), (z > 0).double()), "unsound"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for case in ((-3, -4, -2), (3, 2, 4), (-1, -2, 3), (1, -3, 2), (0, -1, 1)):
            yield tuple(torch.tensor([float(value)]).double() for value in case)  # type: ignore[misc]
        z = torch.randn(12).double()
        below, above = torch.rand(2, 12).double() + 0.1
        yield z, z - below, z + above

    def check(self, answer: Answer, *case: Tensor) -> None:
        where, truth = self.described(*case), self.reference(*case)
        got = ask(answer, where, *case, read=sides, wanted="(least, greatest)")
        if len(got) != 2 or any(side.shape != truth[0].shape or not side.isfinite().all() for side in got):
            raise Wrong(f"on {where} expected (least, greatest), finite and of shape {tuple(truth[0].shape)}")
        narrow = (got[0] > truth[0] + 1e-9) | (got[1] < truth[1] - 1e-9)
        wide = (got[0] < truth[0] - 1e-9) | (got[1] > truth[1] + 1e-9)
        for which, said in ((narrow, "unsound"), (wide, "sound, but as wide as slopes between any two points may be")):
            if which.any():
                k = first(which)
                z, low, high, least, greatest, *yours = (float(each[k]) for each in (*case, *truth, *got))
                raise Wrong(
                    f"{said}. From z = {z:.4g} to points of [{low:.4g}, {high:.4g}] secants run from {least:.4g} to "
                    f"{greatest:.4g}; yours from {yours[0]:.4g} to {yours[1]:.4g}"
                )


class MyLocalBound(Exercise):
    """my_local_bound(weights, biases, theta, x, eps): the local bound of a ReLU-θ network near x, as in ll.paper."""

    hints = (
        "Per layer: both boxes and what lies in both; the mask; the norm of what is left; the next radius.",
        "Carry five things along: lower and upper of h, its value at x, the radius of its ball, the columns that vary.",
        "After the layer clamp lower, upper, z to [0, theta]; multiply radius and value by the norm; columns = mask.",
    )
    reference = staticmethod(lambda *case: paper.local_bound(*case)[0])
    wrong = (
        (lambda W, b, theta, x, eps: paper.local_bound(W, b, theta, x, 0.0)[0], "the local bound"),  # masks of x alone
        (lambda W, b, theta, x, eps: paper.local_bound(W, b, torch.inf, x, eps)[0], "the local bound"),
        (lambda weights, *rest: prod(map(norm, weights)), "the local bound"),
    )

    def cases(self, seed: int) -> Iterator[tuple[list[Tensor], list[Tensor], float, Tensor, float]]:
        W1, W2 = (torch.tensor(W).double() for W in ([[2, 0], [-1, -1], [0, 1]], [[1, 3, 0], [0, 3, 1]]))
        yield [W1, W2], [torch.zeros(3).double(), torch.zeros(2).double()], torch.inf, torch.ones(2).double(), 0.5
        one, zero = torch.ones(1, 1).double(), torch.zeros(1).double()
        yield [one, one], [zero, zero], 0.5, torch.tensor([2.0]).double(), 0.5
        turn, both = torch.tensor([[0.5, 0.5], [0.5, -0.5]]).double(), torch.ones(1, 2).double()
        yield (
            [turn, both, one],
            [torch.full((2,), 5.0).double(), zero - 10.6, zero],
            torch.inf,
            torch.zeros(2).double(),
            0.5,
        )
        for sizes in ((2, 4, 2), (3, 6, 5, 2), (4, 8, 8, 8, 3)):
            for theta, eps in ((torch.inf, 0.1), (0.5, 0.05), (0.5, 0.1), (0.3, 0.2)):
                weights = [torch.randn(m, n).double() for n, m in pairwise(sizes)]
                biases = [torch.randn(len(W)).double() for W in weights]
                yield weights, biases, theta, torch.randn(sizes[0]).double(), eps

    def check(self, answer: Answer, *case: Any) -> None:
        described = (
            f"sizes {[len(W) for W in case[0]]}, theta = {case[2]:g}, eps = {case[4]:g}, weights {show(case[0])}"
        )
        truth, got = self.reference(*case).item(), ask_number(answer, described, *case)
        if not abs(got - truth) <= 1e-9 * max(truth, 1.0):
            raise differs(described, "the local bound of ll.paper", truth, got)


class BisectedRadius(Exercise):
    """bisected_radius(bound, margin): an r with r · bound(r) < margin, at most 1e-3 below where that ends."""

    hints = (
        "r · bound(r) grows with r: at 0 the margin is enough, at margin / bound(0) it is spent.",
        "Keep two ends: at `low` it is enough, at `high` it is not. Look at the middle, and move one of them there.",
        "middle = (low + high) / 2 becomes low where middle * bound(middle) < margin, else high. Return low.",
    )

    @staticmethod
    def reference(bound: Callable[[float], float], margin: float) -> float:
        low, high = 0.0, margin / bound(0.0)
        while high - low > 5e-4:
            middle = (low + high) / 2
            low, high = (middle, high) if middle * bound(middle) < margin else (low, middle)
        return low

    wrong = (
        (lambda bound, margin: margin / bound(0.0), "unsound"),
        (lambda bound, margin: margin / bound(margin / bound(0.0)), "could be"),
        (lambda bound, margin: BisectedRadius.reference(bound, margin) + 5e-4, "unsound"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Callable[[float], float], float]]:
        for _ in range(6):
            a, b, jump, margin = (torch.rand(4).double() + 0.2).tolist()
            yield lambda r, a=a, b=b, jump=jump: a + b * r + (2.0 if r > jump / 3 else 0.0), margin  # type: ignore[misc]

    def check(self, answer: Answer, bound: Callable[[float], float], margin: float) -> None:
        case = f"bound(0) = {bound(0.0):.4g}, margin = {margin:.4g}"
        got, truth = ask_number(answer, case, bound, margin), self.reference(bound, margin)
        if not (got >= 0 and got * bound(got) < margin):
            raise Wrong(f"unsound. On {case} r = {got:.4g} spends {got * bound(got):.4g}, all of the margin or more")
        if not got >= truth - 1e-3:
            raise Wrong(f"on {case} the radius could be {truth:.4g}; yours is {got:.4g}")
