"""Accuracies against the radius without a browser: certified ≤ attacked ≤ clean, and what is said of every point."""

import asyncio
from math import inf, nan

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from networks import NETWORKS, VARIED, points
from pictures import differences

import lliptools as ll
from lliptools.teach.explorers.accuracy.figure import _centers, accuracy
from lliptools.teach.explorers.accuracy.view import (
    CERTIFIED_POINT,
    MISCLASSIFIED,
    REFUTED_POINT,
    UNKNOWN,
    AccuracyView,
    broken_at,
    pictures,
)
from lliptools.teach.explorers.accuracy.widget import AccuracyExplorer

FAMILY = ("standard", "local", "sparse")
DIGITS = ll.training.digits()
X, Y = DIGITS.x_test[:60], DIGITS.y_test[:60]


@pytest.fixture(scope="module")
def nets():
    return {kind: ll.nets.load(f"digits-0.5-{kind}") for kind in FAMILY}


@pytest.fixture(scope="module")
def explorer(nets):
    return AccuracyExplorer(nets, X, Y, eps=0.3, eps_max=1.0)


@pytest.fixture(autouse=True)
def _at_the_start(request):
    if "explorer" in request.fixturenames:
        request.getfixturevalue("explorer").reset.click()


def bars(explorer):
    """(clean, attacked, certified) of every network, as they are drawn."""
    drawn = [trace.x for trace in explorer.figure.data if trace.type == "bar"]
    return list(zip(*drawn, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["local", "global"])
def test_certified_is_below_attacked_is_below_clean(explorer, method):
    explorer.method.value = method
    for eps in (0.0, 0.02, 0.3, 0.5, 1.0):
        explorer.eps.value = eps
        for clean, attacked, certified in bars(explorer):
            assert certified <= attacked <= clean
    curves = [trace for trace in explorer.figure.data if getattr(trace, "mode", None) == "lines" and trace.name]
    *certified, attacked = curves
    assert [trace.name for trace in curves] == [*FAMILY, "attacked"]
    for k, name in enumerate(FAMILY):
        explorer.net.value = name
        view = explorer.view
        for eps in torch.linspace(0, 1, 40).tolist():
            _, below, proved = view.accuracy(name, eps)
            assert proved <= below
        x, y = curves[k].x, curves[k].y
        assert list(x) == sorted(x)
        assert list(y) == sorted(y, reverse=True)
        assert y[0] <= attacked.y[0]


def test_what_is_drawn_as_certified_certifies(explorer, nets):
    """And what is drawn as refuted has an adversarial point in the ball."""
    for method in ("local", "global"):
        explorer.method.value = method
        for eps in (0.1, 0.5):
            explorer.eps.value = eps
            for name, net in nets.items():
                states = explorer.view.states(name, explorer.radius)
                holds = ll.certify(net, X, Y, explorer.radius, bound=ll.BOUNDS[method]).holds
                assert (holds >= (states == CERTIFIED_POINT)).all()
                missed = int((holds & (states != CERTIFIED_POINT)).sum())
                assert missed <= 0.1 * holds.sum()  # radii are within 1 %
                right = ll.attacks.is_correct(net, X, Y)
                assert torch.equal(states == MISCLASSIFIED, ~right)
                assert not (holds & (states == REFUTED_POINT)).any()


def test_a_broken_point_has_an_adversarial_point_at_that_distance():
    """In the plane the exact distance is known: none is below it, and most come close."""
    net, data = ll.nets.load("moons"), ll.training.moons()
    x, y = data.x_test[:40], data.y_test[:40]
    found = broken_at(net, x, y, (0.1, 0.3, 0.6))
    truth, _ = ll.bounds.adversarial_distance(net, x, y, 1.0)
    assert (found >= truth * (1 - 1e-9)).all()
    close = found[found.isfinite()] / truth[found.isfinite()]
    assert close.median() < 1.02
    assert found.isfinite().sum() > 20


def test_wall_counts_and_frames(explorer):
    explorer.eps.value = 0.5
    view, shown = explorer.view, explorer.figure
    states = view.states("standard", explorer.radius)[:42]
    signs = {
        trace.text[0]: len([x for x in trace.x if x is not None])
        for trace in shown.data
        if getattr(trace, "mode", None) == "text"
    }
    for code, sign in enumerate("✔?✘≠…"):
        assert signs[f"<b>{sign}</b>"] == int((states == code).sum())
    title = next(text.text for text in shown.layout.annotations if "standard:" in text.text)
    every = view.states("standard", explorer.radius)
    assert f"{int((every == REFUTED_POINT).sum())} ✘" in title
    dashes = {
        trace.line.dash for trace in shown.data if getattr(trace, "mode", None) == "lines" and trace.xaxis == "x3"
    }
    assert dashes == {"solid", "dash", "dot"}


def test_controls_change_figure_and_text(explorer):
    text, figure = explorer.summary, go.Figure(explorer.figure)
    explorer.eps.value = 0.6
    assert "ε = 0.6 ·" in explorer.summary
    explorer.net.value = "sparse"
    assert "the points of sparse" in explorer.summary
    explorer.method.value = "global"
    assert "by the global bound" in explorer.summary
    assert "eps=0.6, method='global', net='sparse', eps_max=1" in explorer.reproduce()
    again = eval(explorer.reproduce(), {"ll": ll, "nets": explorer._nets, "x": X, "y": Y})
    assert again.summary == explorer.summary
    explorer.reset.click()
    assert explorer.summary == text
    assert not differences(explorer.figure, figure)


@pytest.mark.slow
def test_in_a_kernel_the_parts_come_one_by_one(nets):
    """At once there is a picture without curves; nothing that is not computed yet is drawn as certified."""

    async def watch():
        explorer = AccuracyExplorer(nets, X, Y, eps=0.3, eps_max=1.0)
        first = explorer.summary
        assert "not computed yet" in first
        assert (explorer.view.states("local", 0.3) == UNKNOWN).all()
        while "…" in explorer.summary:
            await asyncio.sleep(0.005)
        return explorer.summary

    whole = AccuracyExplorer(nets, X, Y, eps=0.3, eps_max=1.0).summary
    assert asyncio.run(watch()) == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIED)
def test_extremes_draw(name):
    net = NETWORKS[name]()
    x = points(net, 5)
    explorer = AccuracyExplorer({name: net}, x, torch.tensor([0, 1, 2, 1, 0]), eps_max=2.0)
    for eps in (0.0, 0.04, 2.0):
        explorer.eps.value = eps
        assert "nan" not in explorer.summary
        for clean, attacked, certified in bars(explorer):
            assert certified <= attacked <= clean


def test_images_and_points_of_the_plane():
    moons = ll.training.moons()
    plane = AccuracyExplorer({"moons": ll.nets.load("moons")}, moons.x_test[:50], moons.y_test[:50])
    marks = [trace for trace in plane.figure.data if getattr(trace, "mode", None) == "text"]
    signs = [trace for trace in marks if any(sign in str(trace.text) for sign in "✔✘?≠")]  # the rest names curves
    assert sum(len([x for x in trace.x if x is not None]) for trace in signs) == 50
    conv = ll.nets.cnn("2C1F", (3, 8, 8)).double()
    images = torch.rand(5, 3, 8, 8).double()
    wall = pictures(images, 3)
    assert wall.shape == (3, 8, 8)
    assert (wall.min(), wall.max()) == (0.0, 1.0)
    explorer = AccuracyExplorer({"conv": conv}, images, conv(images).argmax(dim=1), eps_max=0.5)
    explorer.eps.value = 0.0
    assert [certified for *_, certified in bars(explorer)] == [1.0]
    assert pictures(torch.rand(2, 13), 2).shape == (2, 4, 4)


def test_nothing_is_certified_of_what_is_not_known():
    view = AccuracyView(("net",), torch.zeros(3).long())
    assert (view.states("net", 0.0) == UNKNOWN).all()
    assert all(value != value for value in view.accuracy("net", 0.0))
    partly = AccuracyView(
        ("net",), torch.zeros(3).long(), {"net": torch.tensor([inf, 0.0, 0.2], dtype=torch.float64)},
        {"net": torch.tensor([nan, 0.0, 0.1], dtype=torch.float64)},
    )  # fmt: skip
    assert partly.states("net", 0.1).tolist() == [UNKNOWN, MISCLASSIFIED, CERTIFIED_POINT]
    assert partly.states("net", 0.2).tolist() == [UNKNOWN, MISCLASSIFIED, REFUTED_POINT]
    assert partly.accuracy("net", 0.1)[2] != partly.accuracy("net", 0.1)[2]
    accuracy(partly, "net", 0.1, 1.0, torch.zeros(3, 2, 2), None)


def test_bad_input_is_refused(nets):
    one = nets["local"]
    for given, said in ((one, "dictionary"), ({}, "dictionary"), ({"a": 3}, "dictionary")):
        with pytest.raises(ll.InvalidInput, match=said):
            AccuracyExplorer(given, X, Y)
    for method in ("sampled", "mine"):
        with pytest.raises(ll.InvalidInput, match="method as one of global, local"):
            AccuracyExplorer(nets, X, Y, method=method)
    with pytest.raises(ll.InvalidInput, match="net as one of"):
        AccuracyExplorer(nets, X, Y, net="mine")
    for start in ({"eps": -1.0}, {"eps": nan}, {"eps": 1.5}):
        with pytest.raises(ll.InvalidInput, match="eps from"):
            AccuracyExplorer(nets, X, Y, eps_max=1.0, **start)
    with pytest.raises(ll.InvalidInput, match="y as an integer"):
        AccuracyExplorer(nets, X, Y[:3])
    with pytest.raises(ll.InvalidInput, match="64 features"):
        AccuracyExplorer({"digits": one, "moons": ll.nets.load("moons")}, X[:, :2], Y)


def test_a_click_on_a_picture_shows_it_attacked_until_a_control_moves():
    digits = ll.training.digits()
    made = AccuracyExplorer({"net": ll.nets.load("digits-relu")}, digits.x_test[:9], digits.y_test[:9], eps_max=1.0)
    made.controls["eps"].value = 0.8
    wall = np.array(next(trace for trace in made.figure.data if trace.type == "heatmap").z, dtype=float)
    left, top = _centers(made._wall)[8]
    made._broken["net"][8] = inf  # as if the search at six radii had found nothing
    made._pick(left + 0.3, top - 0.3)
    assert f"says {int(digits.y_test[8])}." not in made.summary
    assert made.view.states("net", 0.8)[8] == REFUTED_POINT
    shown = np.array(next(trace for trace in made.figure.data if trace.type == "heatmap").z, dtype=float)
    changed = np.argwhere(~np.isclose(shown, wall, equal_nan=True))
    assert len(changed)
    assert np.ptp(changed, axis=0).max() < 8  # one picture of 8×8
    assert made.summary.startswith(f"Point 8, a {int(digits.y_test[8])}, attacked within ε = 0.8: net says ")
    made._pick(-9.0, -9.0)
    assert not made.summary.startswith("Point")
    made._pick(left, top)
    made.controls["eps"].value = 0.4
    assert not made.summary.startswith("Point")
