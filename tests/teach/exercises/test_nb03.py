"""The exercises of notebook 03: answers that are written differently, and what is said and drawn of wrong ones."""

import math

import pytest
import torch

import lliptools as ll
from lliptools.teach.shared.pair import steepest_pair


def product_by_gram(weights):
    return torch.stack([torch.linalg.eigvalsh(W.T @ W)[-1].sqrt() for W in weights]).prod()


def norm_of_product(weights):
    return ll.check.product_bound.wrong[0][0](weights)


def test_product_bound_right():
    outcome = ll.check.product_bound(product_by_gram)
    assert (outcome.status, outcome.message) == ("right", "on 14 cases")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda weights: torch.nan, "your bound is nan"),
        (lambda weights: weights, "expected a number"),
        (lambda weights: weights[7], "raised IndexError"),
    ],
)
def test_product_bound_wrong(answer, said):
    outcome = ll.check.product_bound(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message


def test_two_points_are_drawn_where_the_bound_is_unsound():
    for answer, _ in ll.check.product_bound.wrong:
        outcome = ll.check.product_bound(answer)
        assert (outcome.counter_example is not None) == ("unsound" in outcome.message)


def test_two_points_refute_the_norm_of_the_product():
    """|x| by two units: the matrices multiply to 0, the network does not."""
    for answer in (norm_of_product, lambda weights: 0.5):
        figure = ll.check.product_bound(answer).picture()
        inputs = [trace.y[0] for trace in figure.data[:2]]
        outputs = [trace.y[0] for trace in figure.data[2:]]
        assert abs(outputs[0] - outputs[1]) >= 0.9 * abs(inputs[0] - inputs[1]) > 0


def near_steps(f, x, eps, tries=1000, short=1e-3):
    best, found = 0.0, None
    for _ in range(tries):
        offset = torch.randn_like(x)
        a = x + 0.99 * eps * torch.rand(()).double() ** (1 / len(x)) * offset / offset.norm()
        step = torch.randn_like(x)
        b = a + short * eps * step / step.norm()
        slope = ((f(a) - f(b)).norm() / (a - b).norm()).item()
        if slope > best:
            best, found = slope, (a, b)
    return found


def test_worst_pair_right():
    outcome = ll.check.worst_pair(near_steps)
    assert (outcome.status, outcome.message) == ("right", "on 5 cases")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda f, x, eps: near_steps(f, x, 5 * eps, 100), "outside of the ball"),
        (lambda f, x, eps: near_steps(f, x, eps, 500, 1e-15), "is rounding"),
        (lambda f, x, eps: (x, x * torch.nan), "not finite"),
        (lambda f, x, eps: (x, x[:1]), "expected two points like x"),
        (lambda f, x, eps: x.new_zeros(()), "expected two points like x"),
        (lambda f, x, eps: f(x, x), "raised TypeError"),
    ],
)
def test_worst_pair_wrong(answer, said):
    outcome = ll.check.worst_pair(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message


def test_the_steeper_pair_is_drawn_inside_the_ball():
    near_the_center = ll.check.worst_pair.wrong[1][0]
    figure = ll.check.worst_pair(near_the_center).picture()
    ball = next(trace for trace in figure.data if trace.hovertemplate and "the ball" in trace.hovertemplate)
    center = torch.tensor([(min(ball.x) + max(ball.x)) / 2, (min(ball.y) + max(ball.y)) / 2])
    ends = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers"]
    assert [end.name for end in ends] == ["x", "x′"]
    for end in ends:
        assert (torch.tensor([end.x[0], end.y[0]]) - center).norm() <= 1 + 1e-6
        assert end.x[0] <= 1e-6  # on the side where the slope is 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(2, 8, 2), (3, 6, 2)])
def test_the_checks_own_pair_is_a_pair_of_the_ball(seed, sizes):
    """Between 0.9 and once the exact constant: as steep as what the check asks for."""
    torch.manual_seed(seed)
    net, x = ll.nets.mlp(*sizes).double(), torch.randn(sizes[0]).double()
    pair = steepest_pair(net, x, 0.5)
    exact = ll.exact_bound(net, x[None], 0.5).value.item()
    assert max((pair.x - x).norm(), (pair.other - x).norm()) <= 0.5
    assert torch.equal(pair.f_x, net(pair.x))
    assert 0.9 * exact <= pair.slope <= exact * (1 + 1e-9)


FOLD = {"split": 2**0.5, "back": 1.414, "product": 8, "truth": 1}


def test_fold_by_hand_right():
    assert ll.check.fold_by_hand(**FOLD).status == "right"
    net = ll.nets.fold(1, 3)
    norms = [ll.spectral_norm(layer).item() for layer in net if isinstance(layer, torch.nn.Linear)]
    measured = {"split": norms[0], "back": norms[1], "product": math.prod(norms)}
    truth = ll.exact_bound(net, torch.tensor([[0.1]]), 1.0).value.item()
    assert ll.check.fold_by_hand(**measured, truth=truth).status == "right"


@pytest.mark.parametrize("slip", [*({"split": 1}, {"split": 2}, {"back": 0}, {"product": 2}), {"truth": float("nan")}])
def test_fold_by_hand_wrong(slip):
    outcome = ll.check.fold_by_hand(**{**FOLD, **slip})
    assert outcome.status == "wrong"
    assert outcome.message.startswith(f"{next(iter(slip))}: ")


def test_not_attempted():
    assert ll.check.fold_by_hand(split=None, back=None, product=None, truth=None).status == "not attempted"
