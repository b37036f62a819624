"""The exercises of notebook 04: answers that are written differently, and what is said of wrong ones."""

from functools import partial
from itertools import product

import pytest
import torch

import lliptools as ll


def interval_by_signs(W, b, lower, upper):
    positive, negative = W.clamp(min=0), W.clamp(max=0)
    return positive @ lower + negative @ upper + b, positive @ upper + negative @ lower + b


def interval_by_corners(W, b, lower, upper):
    """An affine map is extreme at a corner."""
    corners = torch.tensor(list(product(*zip(lower.tolist(), upper.tolist(), strict=True)))).double() @ W.T + b
    return corners.amin(dim=0), corners.amax(dim=0)


def ball_by_loop(W, b, center, radius):
    reach = torch.stack([radius * row.square().sum().sqrt() for row in W])
    z = torch.stack([row @ center for row in W]) + b
    return (z - reach).tolist(), (z + reach).tolist()


def local_by_rows_and_columns(weights, masks):
    bound, columns = 1.0, torch.ones(weights[0].shape[1], dtype=torch.bool)
    for W, rows in zip(weights, [*masks, torch.ones(len(weights[-1]), dtype=torch.bool)], strict=True):
        kept = W[rows][:, columns]
        bound *= torch.linalg.matrix_norm(kept, 2).item() if kept.numel() else 0.0
        columns = rows
    return bound


def local_by_zeros(weights, masks):
    keep = [torch.ones(weights[0].shape[1]), *masks, torch.ones(len(weights[-1]))]
    masked = [
        row.double()[:, None] * W * column.double() for W, column, row in zip(weights, keep, keep[1:], strict=False)
    ]
    return torch.stack([torch.linalg.svdvals(W)[0] for W in masked]).prod()


def assembled(weights, biases, theta, x, eps, strike="rows and columns", carried=True):
    """The bound, or what becomes of it where only rows are struck, or no ball is carried from layer to layer."""
    lower, upper, center, radius, value = x - eps, x + eps, x, torch.as_tensor(eps), torch.ones(()).double()
    columns = torch.ones_like(x, dtype=torch.bool)
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        middle, half = W @ (lower + upper) / 2 + b, W.abs() @ (upper - lower) / 2
        z, reach = W @ center + b, radius * W[:, columns].norm(dim=1)
        lower, upper = torch.maximum(middle - half, z - reach), torch.minimum(middle + half, z + reach)
        rows = (upper > 0) & (lower < theta) | torch.tensor(k == len(weights) - 1)
        kept = W[rows][:, columns] if strike == "rows and columns" else W[rows]
        size = torch.linalg.matrix_norm(kept, 2) if kept.numel() else torch.zeros(()).double()
        value, radius, columns = value * size, radius * size if carried else radius, rows
        lower, upper, center = (side.clamp(0, theta) for side in (lower, upper, z))
    return value


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("interval_box", interval_by_signs, "on 20 cases"),
        ("interval_box", interval_by_corners, "on 20 cases"),
        ("ball_box", ball_by_loop, "on 20 cases"),
        ("local_product", local_by_rows_and_columns, "on 14 cases"),
        ("local_product", local_by_zeros, "on 14 cases"),
        ("my_local_bound", assembled, "on 15 cases"),
        ("one_unstable_unit", [1.0, 0.25, -2.0], "well found"),
        ("one_unstable_unit", torch.tensor([[-0.1, 9.0, 5.0]]), "well found"),
    ],
)
def test_right(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert (outcome.status, outcome.message) == ("right", said)


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("interval_box", lambda W, b, lower, upper: (W @ lower * torch.nan, upper[:1] * torch.nan), "W = "),
        ("interval_box", lambda W, b, lower, upper: (W @ lower,), "expected (lower, upper)"),
        ("local_product", lambda weights, masks: torch.nan, "unsound"),
        ("local_product", lambda *case: ll.check.local_product.wrong[1][0](*case), "[[1.0], [-1.0]], [[1.0, -1.0]], m"),
        ("one_unstable_unit", [0.1, 3.0], "three finite coordinates"),
        ("one_unstable_unit", [0.1, float("nan"), 3.0], "three finite coordinates"),
        ("one_unstable_unit", "a", "three finite coordinates; got a"),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message


@pytest.mark.parametrize("seed", [None, 1, 20])
@pytest.mark.parametrize("slip", [{"strike": "rows"}, {"carried": False}])
def test_a_bound_with_rows_alone_struck_or_no_ball_carried_is_wrong(slip, seed):
    outcome = ll.check.my_local_bound(partial(assembled, **slip), seed=seed)
    assert outcome.status == "wrong"
    assert "the local bound of ll.paper is" in outcome.message


def test_counter_example_is_the_smallest_one():
    """One input, one unit, whole numbers: a reader can follow it by hand."""
    message = ll.check.interval_box(lambda W, b, lower, upper: (W @ lower + b, W @ upper + b)).message
    assert "W = [[-6.0]]" in message
