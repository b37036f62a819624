"""The exercises of notebook 01: answers that are written differently, and what is said and drawn of wrong ones."""

import pytest
import torch

import lliptools as ll


def by_loop(W, b, x, y):
    logits = W @ x + b
    radii = [(logits[y] - logits[j]) / (W[y] - W[j]).norm() for j in range(len(b)) if j != y]
    return max(min(radii), 0)


def by_projection(W, b, x, y):
    """The distance to every border, as the length of the step that leads there."""
    others = [j for j in range(len(b)) if j != y]
    A, c = W[y] - W[others], b[y] - b[others]
    steps = -(A @ x + c)[:, None] * A / A.square().sum(dim=1, keepdim=True)
    return steps.norm(dim=1).nan_to_num(nan=torch.inf).min() if (A @ x + c > 0).all() else torch.zeros(())


def margin(W, b, x, y):
    logits = W @ x + b
    return (logits[y] - logits[torch.arange(len(b)) != y]).min()


@pytest.mark.parametrize(
    "answer", [by_loop, by_projection, lambda *given: by_loop(*given).item() if by_loop(*given) else 0]
)
def test_pairwise_radius_right(answer):
    outcome = ll.check.pairwise_radius(answer)
    assert (outcome.status, outcome.message) == ("right", "on 29 cases")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda *given: torch.inf, "your radius is inf"),
        (lambda W, b, x, y: W @ x, "expected a number"),
        (lambda W, b, x, y: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_pairwise_radius_wrong(answer, said):
    outcome = ll.check.pairwise_radius(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message


def test_the_point_that_breaks_a_radius_is_drawn():
    """Inside of the claimed disc, beyond the border, with another winner."""
    outcome = ll.check.pairwise_radius(margin)
    assert "x′ = [" in outcome.message
    figure = outcome.picture()
    names = [trace.name for trace in figure.data]
    assert names.count("x") == names.count("x′") == 2
    at, other = (trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers")
    center = torch.tensor([at.x[0], at.y[0]])
    disc = next(trace for trace in figure.data if trace.hovertemplate and "the ball" in trace.hovertemplate)
    radius = (torch.tensor([disc.x[0], disc.y[0]]) - center).norm()
    assert (torch.tensor([other.x[0], other.y[0]]) - center).norm() < radius
    before, after = (trace for trace in figure.data if trace.type == "bar")
    assert before.y.argmax() != after.y.argmax()


@pytest.mark.parametrize(
    "W",
    [
        [[1, 0], [0, 1]],
        torch.tensor([[0.6, 0.8, 0.0], [0.8, -0.6, 0.0], [0.0, 0.0, 1.0]]),
        [[0.0, -1.0], [1.0, 0.0]],
        [[2**-0.5], [-(2**-0.5)]],  # one column of length 1, two rows that are √2 apart
    ],
)
def test_why_sqrt2_right(W):
    assert ll.check.why_sqrt2(W).status == "right"


@pytest.mark.parametrize(
    ("W", "said"),
    [
        ([1.0, 2.0], "a row for each"),
        ([[1.0, float("nan")], [0, 1]], "expected a finite matrix"),
        ("identity", "got identity"),
    ],
)
def test_why_sqrt2_wrong(W, said):
    outcome = ll.check.why_sqrt2(W)
    assert outcome.status == "wrong"
    assert said in outcome.message


def test_a_matrix_that_stretches_is_drawn():
    assert ll.check.why_sqrt2([[1.0, 0], [-1.0, 0]]).picture() is not None


PIXELS = {"margin": 3, "constant": 6 / 255, "radius": 127.5, "eps": 36, "normalised": 2}


@pytest.mark.parametrize("answers", [PIXELS, {**PIXELS, "constant": 0.0235}])
def test_scaled_pixels_right(answers):
    assert ll.check.scaled_pixels(**answers).status == "right"


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        ({"constant": 6 * 255}, "constant: a step of 1"),
        ({"radius": 0.5}, "radius: margin / constant"),
        ({"margin": 3 * 255}, "margin: the logits"),
        ({"normalised": 0.125}, "normalised: pixels"),
        ({"eps": 36 / 255}, "eps: the same ball"),
        ({"constant": float("nan")}, "constant: a step of 1"),
    ],
)
def test_scaled_pixels_wrong(slip, said):
    outcome = ll.check.scaled_pixels(**{**PIXELS, **slip})
    assert outcome.status == "wrong"
    assert said in outcome.message
    assert len(outcome.message.splitlines()) == 2  # that gap alone, and where a hint is


def test_scaled_pixels_not_attempted():
    assert "put a number for margin" in ll.check.scaled_pixels(**dict.fromkeys(PIXELS)).message


def test_the_numbers_hold_for_a_network():
    """What the exercise has the reader predict, measured."""
    net, moons = ll.nets.load("moons"), ll.training.moons()
    x, y = moons.x_test[:5], moons.y_test[:5]
    scaled = torch.nn.Sequential(torch.nn.Linear(2, 2).double(), *net)
    with torch.no_grad():
        scaled[0].weight.copy_(torch.eye(2).double() / 255)
        scaled[0].bias.zero_()
    assert torch.allclose(scaled(255 * x), net(x))
    constant, smaller = (ll.global_bound(each, x[:1]).value for each in (net, scaled))
    assert torch.allclose(smaller, constant / 255, rtol=1e-9)
    radius, larger = (ll.certified_radius(*each, y) for each in ((net, x), (scaled, 255 * x)))
    assert torch.allclose(larger, 255 * radius, rtol=1e-4)
