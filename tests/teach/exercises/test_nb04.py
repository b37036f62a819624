"""The exercises of notebook 04: answers that are written differently, and what is said of wrong ones."""

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


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("interval_box", interval_by_signs, "on 20 cases"),
        ("interval_box", interval_by_corners, "on 20 cases"),
        ("ball_box", ball_by_loop, "on 20 cases"),
        ("local_product", local_by_rows_and_columns, "on 14 cases"),
        ("local_product", local_by_zeros, "on 14 cases"),
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


def test_counter_example_is_the_smallest_one():
    """One input, one unit, whole numbers: a reader can follow it by hand."""
    message = ll.check.interval_box(lambda W, b, lower, upper: (W @ lower + b, W @ upper + b)).message
    assert "W = [[-6.0]]" in message
