"""The exercises of notebook 04: boxes, the local product, one undecided unit."""

from collections.abc import Callable, Iterator
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor

from lliptools.bounds import local_bound
from lliptools.nets import fold
from lliptools.teach.checks.answers import ask, number
from lliptools.teach.exercise import Exercise, NotAttempted, show

__all__ = ["ball_box", "interval_box", "local_product", "one_undecided_unit"]


def _box_faults(
    function: Callable[..., Any], cases: Iterator[tuple[dict[str, Tensor], Tensor, Tensor]]
) -> Iterator[str]:
    """Compare a box with the smallest box, (lower, upper), of each case's arguments."""
    for arguments, lower, upper in cases:
        described = ", ".join(f"{name} = {show(argument)}" for name, argument in arguments.items())
        got = ask(function, described, *arguments.values(), read=_sides, wanted="(lower, upper)")
        if len(got) != 2 or any(side.shape != lower.shape for side in got):
            shapes = [tuple(side.shape) for side in got]
            yield f"on {described} expected (lower, upper), each of shape {tuple(lower.shape)}; got shapes {shapes}"
        elif not all(side.isfinite().all() for side in got):
            yield f"on {described} your box holds NaN or inf: {show(got[0])}, {show(got[1])}"
        elif (got[0] > lower + 1e-9).any() or (got[1] < upper - 1e-9).any():
            unit = int(((got[0] > lower + 1e-9) | (got[1] < upper - 1e-9)).nonzero()[0, 0])
            yield (
                f"unsound. On {described} unit {unit} reaches from {lower[unit]:.4g} to {upper[unit]:.4g}, "
                f"but your box is [{got[0][unit]:.4g}, {got[1][unit]:.4g}]"
            )
        elif (got[0] < lower - 1e-9).any() or (got[1] > upper + 1e-9).any():
            unit = int(((got[0] < lower - 1e-9) | (got[1] > upper + 1e-9)).nonzero()[0, 0])
            yield (
                f"sound, but not the smallest box. On {described} unit {unit} only reaches from {lower[unit]:.4g} "
                f"to {upper[unit]:.4g}; your box is [{got[0][unit]:.4g}, {got[1][unit]:.4g}]"
            )
        else:
            yield ""


def _sides(value: Any) -> list[Tensor]:
    return [torch.as_tensor(side, dtype=torch.float64) for side in value]


def _interval_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str]:
    def cases() -> Iterator[tuple[dict[str, Tensor], Tensor, Tensor]]:
        for W, b, center, half_width in _layers(seed):
            lower, upper = center - half_width, center + half_width
            corners = torch.stack([torch.tensor(c) for c in product(*zip(lower.tolist(), upper.tolist(), strict=True))])
            values = corners.double() @ W.T + b  # the slow loop of the exercise: an affine map is extreme at a corner
            yield {"W": W, "b": b, "lower": lower, "upper": upper}, values.amin(dim=0), values.amax(dim=0)

    yield from _box_faults(function, cases())


def _ball_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str]:
    def cases() -> Iterator[tuple[dict[str, Tensor], Tensor, Tensor]]:
        for W, b, center, half_width in _layers(seed):
            radius = half_width[0]
            direction = torch.nn.functional.normalize(W, dim=1)  # a row's own direction takes its unit furthest
            reach = radius * (W * direction).sum(dim=1)
            yield {"W": W, "b": b, "center": center, "radius": radius}, W @ center + b - reach, W @ center + b + reach

    yield from _box_faults(function, cases())


def _layers(seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Weight, bias, centre and half-widths of random layers, small whole numbers first."""
    generator = torch.Generator().manual_seed(seed)
    for inputs, units in ((1, 1), (1, 1), (2, 1), (2, 1), (2, 2), (2, 3), (3, 2), (3, 4), (5, 3), (8, 4)):
        for spread in (3, 9):
            whole = [
                torch.randint(-spread, spread + 1, shape, generator=generator) for shape in ((units, inputs), (units,))
            ]
            center = torch.randint(-spread, spread + 1, (inputs,), generator=generator).double()
            half_width = torch.randint(1, 4, (inputs,), generator=generator).double() / 2
            yield whole[0].double(), whole[1].double(), center, half_width


def _product_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str]:
    for weights, masks, truth, lower, story in _products(seed):
        small = sum(W.numel() for W in weights) <= 12
        shown = ", ".join(show(W) if small else f"one of shape {tuple(W.shape)}" for W in weights)
        described = f"{story}: weights {shown}, masks {[mask.int().tolist() for mask in masks]}"
        got = ask(function, described, weights, masks, read=number, wanted="a number")
        if not got >= lower * (1 - 1e-9):
            yield f"unsound. On {described} a choice of slopes reaches {lower:.4g}, but your bound is {got:.4g}"
        elif abs(got - truth) > 1e-6 * max(truth, 1.0):
            yield f"on {described} the local product is {truth:.4g}; yours is {got:.4g}"
        else:
            yield ""


def _products(seed: int) -> Iterator[tuple[list[Tensor], list[Tensor], float, float, str]]:
    """Weights, masks, the product, and the largest norm over sampled slopes, of the fold and of random networks."""
    generator = torch.Generator().manual_seed(seed)
    split = torch.tensor([[1.0], [-1.0]]).double()
    one, both = torch.tensor([True, False]), torch.tensor([True, True])
    given = [
        ([split, split.T], [one], "one fold, its unit off"),
        ([split, split.T], [both], "one fold, both units varying"),
    ]
    for sizes in ((2, 2, 1), (3, 4, 2), (3, 4, 4, 2), (4, 6, 5, 6, 3)):
        for keep in (0.5, 0.8, 0.0):
            weights = [torch.randn(m, n, generator=generator).double() for n, m in pairwise(sizes)]
            masks = [torch.rand(m, generator=generator) < keep for m in sizes[1:-1]]
            given.append((weights, masks, f"a random network, {keep:.0%} of its units varying"))
    for weights, masks, story in given:
        ends = [
            torch.ones(weights[0].shape[1], dtype=torch.bool),
            *masks,
            torch.ones(weights[-1].shape[0], dtype=torch.bool),
        ]
        truth = 1.0
        for W, (columns, rows) in zip(weights, pairwise(ends), strict=True):
            kept = W[rows][:, columns]
            truth *= torch.linalg.matrix_norm(kept, 2).item() if kept.numel() else 0.0
        lower = 0.0
        for _ in range(20):
            J = weights[0]
            for W, mask in zip(weights[1:], masks, strict=True):
                J = W @ (mask * torch.rand(len(mask), generator=generator).round().double())[:, None].mul(J)
            lower = max(lower, torch.linalg.matrix_norm(J, 2).item())
        yield weights, masks, truth, lower, story


def _undecided_faults(x: Any) -> Iterator[str]:
    if x is None or x is Ellipsis:
        raise NotAttempted("name a point")
    try:
        point = torch.as_tensor(x, dtype=torch.float64).flatten()
    except (TypeError, ValueError, RuntimeError):
        yield f"expected three coordinates; got {x!r}"
        return
    if point.shape != (3,) or not point.isfinite().all():
        yield f"expected three finite coordinates; got {show(point)}"
        return
    near = int((point.abs() < 0.5).sum())
    value = local_bound(fold(3, 4), point[None], 0.5).value.item()
    if near != 1:
        yield f"{near} of the coordinates of {show(point)} change sign within 0.5; exactly one may"
    elif not value >= 16 - 1e-9:
        yield f"the local bound at {show(point)} is {value:.4g}; 16 is wanted"
    else:
        yield ""


interval_box = Exercise(
    "interval_box",
    _interval_faults,
    (
        "For one unit, Σ_i W_ji h_i is largest where every term is: which end suits a negative W_ji?",
        "Write h = middle + e · half_width, |e_i| ≤ 1. The largest Σ W_ji e_i half_width_i is Σ |W_ji| half_width_i.",
        "middle = (lower + upper) / 2; half_width = (upper - lower) / 2; box: W @ middle + b ± W.abs() @ half_width.",
    ),
)
ball_box = Exercise(
    "ball_box",
    _ball_faults,
    (
        "In a ball of radius r, how far can w·d go? Think of Cauchy and Schwarz, and of the d that attains it.",
        "It is r · ‖w‖, for each row w of W by itself: the norm runs over the columns.",
        "center_z = W @ center + b; reach = radius * W.norm(dim=1); return center_z - reach, center_z + reach.",
    ),
)
local_product = Exercise(
    "local_product",
    _product_faults,
    (
        "A unit that is constant strikes a row of the matrix that makes it and a column of the matrix that reads it.",
        "masks[k] belongs to the rows of weights[k] and the columns of weights[k + 1]; input and output are kept.",
        "Start with columns = all True; for each W take rows = its mask (all True for the last), multiply by the "
        "largest singular value of W[rows][:, columns] (0 if nothing is left), and let columns = rows.",
    ),
)
one_undecided_unit = Exercise(
    "one_undecided_unit",
    _undecided_faults,
    (
        "A coordinate is undecided when the ball of radius 0.5 crosses 0 along it.",
        "Two coordinates far from 0, one close to it.",
    ),
)
