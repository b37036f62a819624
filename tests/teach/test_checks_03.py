"""The checks of notebook 03 against right answers and the classic wrong ones."""

import math

import pytest
import torch

import lliptools as ll
from lliptools.teach.shared.pair import steepest_pair


def product(weights):
    return math.prod(torch.linalg.matrix_norm(W, 2).item() for W in weights)


def product_by_gram(weights):
    return torch.stack([torch.linalg.eigvalsh(W.T @ W)[-1].sqrt() for W in weights]).prod()


def power_iteration(weights):
    """Two steps from below."""
    bound = 1.0
    for W in weights:
        v = torch.ones(W.shape[1]).double()
        for _ in range(2):
            v = W.T @ (W @ v)
            v = v / v.norm()
        bound *= (W @ v).norm().item()
    return bound


def norm_of_product(weights):
    merged = weights[0]
    for W in weights[1:]:
        merged = W @ merged
    return torch.linalg.matrix_norm(merged, 2)


def frobenius(weights):
    return math.prod(torch.linalg.matrix_norm(W).item() for W in weights)


def largest_sum(weights):
    """The largest row sum: the norm that belongs to another length of vectors."""
    return math.prod(W.abs().sum(dim=1).max().item() for W in weights)


@pytest.mark.parametrize("answer", [product, product_by_gram])
def test_product_bound_right(answer):
    assert ll.check.product_bound(answer).status == "right"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (norm_of_product, "unsound. On weights [[1.0], [-1.0]], [[1.0, 1.0]], relu between them"),
        (power_iteration, "slope 4. Your bound is 3.92"),
        (lambda weights: product(weights) * (0.99 if len(weights) == 4 else 1), "less, and nothing proves it"),
        (frobenius, "weights [[3.0, 0.0], [0.0, 4.0]] the product of the norms is 4; yours is 5, looser"),
        (largest_sum, "the product of the norms is"),
        (lambda weights: product(weights[:-1]), "unsound. On weights [[3.0]]"),
        (lambda weights: sum(torch.linalg.matrix_norm(W, 2) for W in weights), "the product of the norms is"),
        (lambda weights: torch.nan, "your bound is nan"),
        (lambda weights: weights, "expected a number"),
        (lambda weights: weights[7], "raised IndexError"),
    ],
)
def test_product_bound_wrong(answer, said):
    outcome = ll.check.product_bound(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message
    assert (outcome.picture is not None) == ("unsound" in outcome.message)


def test_two_points_refute_the_norm_of_the_product():
    """|x| by two units: the matrices multiply to 0, the network does not."""
    left, right = (
        ll.check.product_bound(norm_of_product).picture(),
        ll.check.product_bound(lambda weights: 0.5).picture(),
    )
    for figure in (left, right):
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


def by_gradients(f, x, eps):
    best, found = 0.0, None
    for _ in range(300):
        offset = torch.randn_like(x)
        a = x + 0.9 * eps * torch.rand(()).double().sqrt() * offset / offset.norm()
        _, norms, vectors = torch.linalg.svd(torch.autograd.functional.jacobian(f, a))
        if norms[0] > best:
            best, found = norms[0], (a, a + 1e-4 * eps * vectors[0])
    return found


def far_pairs(f, x, eps):
    best, found = 0.0, None
    for _ in range(1000):
        a, b = (x + eps * offset / offset.norm() for offset in torch.randn(2, len(x)).double())
        slope = ((f(a) - f(b)).norm() / (a - b).norm()).item()
        if slope > best:
            best, found = slope, (a, b)
    return found


def at_the_center(f, x, eps):
    return x, x + 1e-3 * eps * torch.linalg.svd(torch.autograd.functional.jacobian(f, x))[2][0]


@pytest.mark.parametrize("answer", [near_steps, by_gradients])
def test_worst_pair_right(answer):
    assert ll.check.worst_pair(answer).status == "right"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (far_pairs, "There is a steeper one"),
        (at_the_center, "On f(x) = relu(x₀) + 3 relu(−x₀)"),
        (lambda f, x, eps: (x, x), "your two points are one"),
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
    assert said.lower() in outcome.message.lower()


def test_the_steeper_pair_is_drawn_inside_the_ball():
    figure = ll.check.worst_pair(at_the_center).picture()
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


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        ({"split": 1}, "split: "),
        ({"split": 2}, "split: "),
        ({"back": 0}, "back: "),
        ({"product": 2}, "product: "),
        ({"product": 2.83}, "product: "),
        ({"truth": 8}, "truth: "),
        ({"truth": float("nan")}, "truth: "),
    ],
)
def test_fold_by_hand_wrong(slip, said):
    outcome = ll.check.fold_by_hand(**{**FOLD, **slip})
    assert outcome.status == "wrong"
    assert outcome.message.startswith(said)


def test_not_attempted():
    assert ll.check.fold_by_hand(split=None, back=None, product=None, truth=None).status == "not attempted"
    for check in (ll.check.product_bound, ll.check.worst_pair):
        assert check(lambda *_: ...).status == check(lambda *_: None).status == "not attempted"
