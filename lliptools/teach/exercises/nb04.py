"""The exercises of notebook 04: boxes, the local product, one unstable unit."""

from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor

from lliptools.bounds import local_bound
from lliptools.nets import fold
from lliptools.teach.exercises.answers import ask, ask_number, differs, first, from_below, given, norm, sides
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show

__all__ = ["BallBox", "IntervalBox", "LocalProduct", "OneUnstableUnit"]

Box = tuple[Tensor, Tensor]


class _Box(Exercise):
    """A function of a layer, W (units, inputs) and b (units,): the smallest box (lower, upper) of W x + b."""

    def check(self, answer: Answer, *layer: Tensor) -> None:
        case, (lower, upper) = self.described(*layer), self.reference(*layer)
        got = ask(answer, case, *layer, read=sides, wanted="(lower, upper)")
        if len(got) != 2 or any(side.shape != lower.shape for side in got):
            shapes = [tuple(side.shape) for side in got]
            raise Wrong(f"on {case} expected (lower, upper), each of shape {tuple(lower.shape)}; got shapes {shapes}")
        if not all(side.isfinite().all() for side in got):
            raise Wrong(f"on {case} your box contains NaN or inf: {show(got)}")
        missing = (got[0] > lower + 1e-9) | (got[1] < upper - 1e-9)
        loose = (got[0] < lower - 1e-9) | (got[1] > upper + 1e-9)
        for where, said, only, but in (
            (missing, "unsound", "", ", but"),
            (loose, "sound, but not the smallest box", " only", ";"),
        ):
            if where.any():
                k = first(where)
                swapped = "; are its sides swapped?" if got[0][k] > got[1][k] else ""
                raise Wrong(
                    f"{said}. On {case} unit {k}{only} reaches from {lower[k]:.4g} to {upper[k]:.4g}{but} your box is "
                    f"[{got[0][k]:.4g}, {got[1][k]:.4g}]{swapped}"
                )


def _layers() -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Weight, bias, centre and half-widths of random layers, small whole numbers first."""
    for inputs, units in ((1, 1), (1, 1), (2, 1), (2, 1), (2, 2), (2, 3), (3, 2), (3, 4), (5, 3), (8, 4)):
        for spread in (3, 9):
            W, b, center = (
                torch.randint(-spread, spread + 1, shape).double() for shape in ((units, inputs), (units,), (inputs,))
            )
            yield W, b, center, torch.randint(1, 4, (inputs,)).double() / 2


class IntervalBox(_Box):
    """interval_box(W, b, lower, upper): the smallest box (lower, upper) of W x + b for lower ≤ x ≤ upper."""

    hints = (
        "For one unit, Σ_i W_ji h_i is largest where every term is: which end suits a negative W_ji?",
        "Write h = middle + e · half_width, |e_i| ≤ 1. The largest Σ W_ji e_i half_width_i is Σ |W_ji| half_width_i.",
        "middle = (lower + upper) / 2; half_width = (upper - lower) / 2; box: W @ middle + b ± W.abs() @ half_width.",
    )

    @staticmethod
    def reference(W: Tensor, b: Tensor, lower: Tensor, upper: Tensor) -> Box:
        middle, half_width = (lower + upper) / 2, (upper - lower) / 2
        return W @ middle + b - W.abs() @ half_width, W @ middle + b + W.abs() @ half_width

    wrong = (
        (lambda W, b, lower, upper: (W @ lower + b, W @ upper + b), "unsound"),
        (lambda *case: [side - 1 + 2 * k for k, side in enumerate(IntervalBox.reference(*case))], "not the smallest"),
        (lambda *case: BallBox.reference(*case), "unsound. On W = [[1.0]]"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, ...]]:
        yield from ((W, b, middle - half, middle + half) for W, b, middle, half in _layers())


class BallBox(_Box):
    """ball_box(W, b, center, radius): the smallest box (lower, upper) of W x + b for ‖x − center‖ ≤ radius."""

    hints = (
        "In a ball of radius r, how far can w·d go? Think of Cauchy and Schwarz, and of the d that attains it.",
        "It is r · ‖w‖, for each row w of W by itself: the norm runs over the columns.",
        "center_z = W @ center + b; reach = radius * W.norm(dim=1); return center_z - reach, center_z + reach.",
    )

    @staticmethod
    def reference(W: Tensor, b: Tensor, center: Tensor, radius: Tensor) -> Box:
        return W @ center + b - radius * W.norm(dim=1), W @ center + b + radius * W.norm(dim=1)

    wrong = (
        (lambda W, b, x, r: (W @ x + b - r * W.norm(), W @ x + b + r * W.norm()), "not the smallest"),
        (lambda W, b, x, r: (W @ x + b - r * W.amax(1), W @ x + b + r * W.amax(1)), "unsound"),
        (lambda W, b, x, r: (W @ x - r * W.norm(dim=1), W @ x + r * W.norm(dim=1)), "unsound"),
        (lambda W, b, x, r: IntervalBox.reference(W, b, x - r, x + r), "not the smallest"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, ...]]:
        yield from ((W, b, center, half_width[0]) for W, b, center, half_width in _layers())


def _kept(weights: list[Tensor], masks: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each matrix with its rows masked alone, and with its columns masked too, as those of the last one's rows."""
    ends = [torch.ones(len(weights[0].T)), *masks, torch.ones(len(weights[-1]))]
    for W, (columns, rows) in zip(weights, pairwise(end.double() for end in ends), strict=True):
        yield rows[:, None] * W, rows[:, None] * W * columns


class LocalProduct(Exercise):
    """local_product(weights, masks): the product of the masked norms; masks[k] says which units of layer k vary."""

    hints = (
        "A constant unit masks a row of the matrix that makes it and a column of the matrix that reads it.",
        "masks[k] belongs to the rows of weights[k] and the columns of weights[k + 1]; input and output are kept.",
        "Start with columns = all True; for each W take rows = its mask (all True for the last), multiply by the "
        "largest singular value of W[rows][:, columns] (0 if nothing is left), and let columns = rows.",
    )

    reference = staticmethod(lambda weights, masks: prod(norm(W) for _, W in _kept(weights, masks)))
    wrong = (
        (lambda weights, masks: LocalProduct.reference(weights, [~mask for mask in masks]), "unsound"),
        (lambda *case: prod(norm(W) for W, _ in _kept(*case)), "masks = [1, 0] the local product is"),
        (lambda *case: prod(from_below(W) for _, W in _kept(*case)), "unsound"),
    )

    def cases(self, seed: int) -> Iterator[tuple[list[Tensor], list[Tensor], str]]:
        split = torch.tensor([[1.0], [-1.0]]).double()
        yield [split, split.T], [torch.tensor([True, False])], "one fold, its second unit off"
        yield [split, split.T], [torch.tensor([True, True])], "one fold, both units varying"
        for sizes in ((2, 2, 1), (3, 4, 2), (3, 4, 4, 2), (4, 6, 5, 6, 3)):
            for keep in (0.5, 0.8, 0.0):
                weights = [torch.randn(m, n).double() for n, m in pairwise(sizes)]
                masks = [torch.rand(m) < keep for m in sizes[1:-1]]
                yield weights, masks, f"a random network, {keep:.0%} of its units varying"

    def check(self, answer: Answer, weights: list[Tensor], masks: list[Tensor], story: str) -> None:
        case, truth = f"{story}: {self.described(weights, masks)}", self.reference(weights, masks)
        got, lower = ask_number(answer, case, weights, masks), 0.0
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            J = weights[0]
            for W, mask in zip(weights[1:], masks, strict=True):
                J = W @ ((mask * torch.rand(len(mask), generator=generator).round().double())[:, None] * J)
            lower = max(lower, norm(J))
        if not got >= lower * (1 - 1e-9):
            raise Wrong(f"unsound. On {case} a choice of slopes reaches {lower:.4g}, but your bound is {got:.4g}")
        if abs(got - truth) > 1e-6 * max(truth, 1.0):
            raise differs(case, "the local product", truth, got)


class OneUnstableUnit(Exercise):
    """A point of fold(3, 4) at which one coordinate alone is within 0.5 of 0."""

    hints = (
        "A coordinate is unstable when the ball of radius 0.5 crosses 0 along it.",
        "Two coordinates far from 0, one close to it.",
    )
    todo = "name a point"
    reference = (1.0, 0.25, -2.0)
    wrong = (([1.0, 2.0, 3.0], "0 of the coordinates"), ([0.1, 0.1, 3.0], "2 of the coordinates"))

    def check(self, answer: Any) -> None:
        point = given(answer, "three finite coordinates", lambda found: found.numel() == 3).flatten()
        near = int((point.abs() < 0.5).sum())
        if near != 1:
            raise Wrong(f"{near} of the coordinates of {show(point)} change sign within 0.5; exactly one may")
        value = local_bound(fold(3, 4), point[None], 0.5).value.item()
        if not value >= 16 - 1e-9:
            raise Wrong(f"the local bound at {show(point)} is {value:.4g}; 16 is wanted")
