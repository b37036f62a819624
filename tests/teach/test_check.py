"""Every check against right answers, ours and differently written ones, and the classic wrong ones."""

from itertools import pairwise

import pytest
import torch

import lliptools as ll
from lliptools.teach.exercise import Exercise


def interval(W, b, lower, upper):
    middle, half = (lower + upper) / 2, (upper - lower) / 2
    return W @ middle + b - W.abs() @ half, W @ middle + b + W.abs() @ half


def interval_by_signs(W, b, lower, upper):
    positive, negative = W.clamp(min=0), W.clamp(max=0)
    return positive @ lower + negative @ upper + b, positive @ upper + negative @ lower + b


def ball(W, b, center, radius):
    return W @ center + b - radius * W.norm(dim=1), W @ center + b + radius * W.norm(dim=1)


def ball_by_loop(W, b, center, radius):
    reach = torch.stack([radius * row.square().sum().sqrt() for row in W])
    z = torch.stack([row @ center for row in W]) + b
    return (z - reach).tolist(), (z + reach).tolist()


def local(weights, masks):
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


def rows_only(weights, masks):
    """The mask never reaches the next matrix's columns: sound, not the local product."""
    rows = [*masks, torch.ones(len(weights[-1]), dtype=torch.bool)]
    return torch.stack(
        [torch.linalg.svdvals(r.double()[:, None] * W)[0] for W, r in zip(weights, rows, strict=True)]
    ).prod()


def power_iteration(weights, masks):
    """Two steps from below, for a bound that wants an upper one."""
    value = 1.0
    keep = [torch.ones(weights[0].shape[1]), *masks, torch.ones(len(weights[-1]))]
    for W, (column, row) in zip(weights, pairwise(keep), strict=True):
        masked = row.double()[:, None] * W * column.double()
        v = torch.ones(masked.shape[1]).double()
        for _ in range(2):
            v = torch.nn.functional.normalize(masked.T @ (masked @ v), dim=0)
        value *= (masked @ v).norm().item()
    return value


def corners(W, b, lower, upper):
    return W @ lower + b, W @ upper + b


def twice_as_wide(W, b, *rest):
    lower, upper = interval(W, b, *rest)
    return lower - 1, upper + 1


def raises(*_):
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ("interval_box", interval),
        ("interval_box", interval_by_signs),
        ("ball_box", ball),
        ("ball_box", ball_by_loop),
        ("local_product", local),
        ("local_product", local_by_zeros),
        ("one_undecided_unit", [1.0, 0.25, -2.0]),
        ("one_undecided_unit", torch.tensor([[-0.1, 9.0, 5.0]])),
    ],
)
def test_right(check, answer):
    assert getattr(ll.check, check)(answer).status == "right"


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("interval_box", corners, "unsound"),
        ("interval_box", twice_as_wide, "not the smallest"),
        ("interval_box", raises, "raised RuntimeError: no idea"),
        ("interval_box", lambda W, b, lower, upper: (W @ lower * torch.nan, upper[:1] * torch.nan), "W = "),
        ("interval_box", lambda W, b, lower, upper: interval(W, b, lower, upper)[:1], "expected (lower, upper)"),
        ("ball_box", lambda W, b, x, r: (W @ x + b - r * W.norm(), W @ x + b + r * W.norm()), "not the smallest"),
        ("ball_box", lambda W, b, x, r: (W @ x + b - r * W.amax(1), W @ x + b + r * W.amax(1)), "unsound"),
        ("ball_box", lambda W, b, x, r: (W @ x - r * W.norm(dim=1), W @ x + r * W.norm(dim=1)), "unsound"),
        ("local_product", lambda weights, masks: local(weights, [~m for m in masks]), "unsound"),
        ("local_product", rows_only, "the local product is"),
        ("local_product", power_iteration, "unsound"),
        ("local_product", lambda weights, masks: torch.nan, "unsound"),
        ("local_product", raises, "raised RuntimeError"),
        ("one_undecided_unit", [1.0, 2.0, 3.0], "0 of the coordinates"),
        ("one_undecided_unit", [0.1, 0.1, 3.0], "2 of the coordinates"),
        ("one_undecided_unit", [0.1, 3.0], "three finite coordinates"),
        ("one_undecided_unit", [0.1, float("nan"), 3.0], "three finite coordinates"),
        ("one_undecided_unit", "a", "three coordinates; got 'a'"),
        ("local_product", rows_only, "weights [[1.0], [-1.0]], [[1.0, -1.0]], masks [[1, 0]]"),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message
    assert "hint()" in repr(outcome)


def not_implemented(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", ["interval_box", "ball_box", "local_product"])
@pytest.mark.parametrize("answer", [lambda *_: None, lambda *_: ..., not_implemented])
def test_not_attempted(check, answer):
    assert getattr(ll.check, check)(answer).status == "not attempted"


def test_point_not_attempted():
    assert ll.check.one_undecided_unit(None).status == "not attempted"


def test_hints_come_in_steps(capsys):
    exercise = Exercise("example", lambda answer: iter(()), ("first", "second"))
    for said in ("hint 1 of 2: first", "hint 2 of 2: second", "hint 2 of 2: second"):
        exercise.hint()
        assert capsys.readouterr().out.strip() == said


def test_counter_example_is_the_smallest_one():
    """One input, one unit, whole numbers: a reader can follow it by hand."""
    message = ll.check.interval_box(corners).message
    assert "W = [[-6.0]]" in message


def test_self_test():
    right = {"norm": 4, "lipschitz": 6, "relu": 0, "margin": 0.5, "rows": 128}
    assert ll.check.self_test(**right).status == "right"
    assert ll.check.self_test().status == "not attempted"
    assert ll.check.self_test(**dict.fromkeys(right)).status == "not attempted"
    wrong = ll.check.self_test(**{**right, "norm": 5, "margin": 1.5})
    assert wrong.status == "wrong"
    assert "section A" in wrong.message
    assert "section D" in wrong.message
    assert "section B" not in wrong.message
    unfinished = ll.check.self_test(**{**right, "relu": None})
    assert unfinished.status == "not attempted"
    assert "put a number for relu" in unfinished.message
    assert "norm: a number is wanted" in ll.check.self_test(**{**right, "norm": "four"}).message
    assert "no question ['nrom']" in ll.check.self_test(nrom=4).message
