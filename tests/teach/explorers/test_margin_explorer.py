"""The margin explorer without a browser: its certificates, what an assumed L is called, and what controls change."""

from fractions import Fraction
from math import inf, isnan, nan, sqrt

import pytest
import said
import torch
from networks import NETWORKS, VARIED, points, random_mlp

import lliptools as ll
from lliptools.teach.explorers import EXAMPLES
from lliptools.teach.explorers.margins.figure import margins
from lliptools.teach.explorers.margins.view import MarginView
from lliptools.teach.explorers.margins.widget import MarginExplorer
from lliptools.teach.shared.plane import Plane

DIGITS, MOONS = ll.training.digits(), ll.training.moons()
RUNGS = {"global": ll.global_bound, "local": ll.local_bound, "exact": ll.exact_bound}


def three_classes():
    net = random_mlp(2, 12, 12, 3, seed=1)
    with torch.no_grad():
        net[-1].bias.sub_(net(MOONS.x_test).mean(dim=0))
    return net


@pytest.fixture(scope="module")
def moons():
    net = ll.nets.load("moons")
    return net, Plane(net, MOONS.x_test, pixels=60)


@pytest.fixture
def explorer():
    return MarginExplorer(ll.nets.load("moons"), MOONS.x_test, MOONS.y_test, index=7)


def titles(figure):
    return [annotation.text for annotation in figure.layout.annotations]


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("index", [0, 7, 20])
def test_a_certified_disc_is_certified_and_nearly_the_largest(moons, rung, index):
    net, plane = moons
    x, y = MOONS.x_test[index], MOONS.y_test[index : index + 1]
    view = MarginView(net, x, int(y), rung, plane)
    assert view.status == "certified"
    assert ll.certify(net, x[None], y, view.reach.radius, bound=RUNGS[rung], centred=False).holds.item()
    largest = ll.certified_radius(net, x[None], y, bound=RUNGS[rung], tolerance=1e-4, centred=False).item()
    assert 0.99 * largest <= view.reach.radius <= largest * (1 + 2e-4)
    assert view.reach.radius <= view.distance
    found = RUNGS[rung](net, x[None], view.reach.radius)
    assert view.reach.constant == pytest.approx(found.value.item(), rel=1e-9)
    rival = 1 - int(y)
    expected = min(view.margins[rival].item() / found.pairwise(y)[0, rival].item(), view.reach.eps)
    assert view.by_pair[rival].item() == pytest.approx(expected, rel=1e-9)
    assert view.by_norm[rival] <= view.by_pair[rival] * (1 + 1e-12)


@pytest.mark.parametrize("rung", RUNGS)
def test_a_linear_network_is_certified_to_the_true_distance(rung):
    net = random_mlp(2, 3, seed=3)
    plane = Plane(net, MOONS.x_test, pixels=40)
    W, b = net[0].weight.detach(), net[0].bias.detach()
    for x in MOONS.x_test[:10]:
        y = int(net(x).argmax())
        view = MarginView(net, x, y, rung, plane)
        gaps = [((W[y] - W[j]) @ x + b[y] - b[j]) / (W[y] - W[j]).norm() for j in range(3) if j != y]
        assert view.reach.radius == pytest.approx(min(gaps).item(), rel=1e-6)
        if not isnan(view.distance):
            assert view.distance == pytest.approx(min(gaps).item(), rel=1e-12)
        for j in {0, 1, 2} - {y}:  # neither is more than the truth, in rational arithmetic
            direction = [Fraction(a) - Fraction(c) for a, c in zip(W[y].tolist(), W[j].tolist(), strict=True)]
            margin = Fraction(b[y].item()) - Fraction(b[j].item())
            margin += sum(a * Fraction(value) for a, value in zip(direction, x.tolist(), strict=True))
            for claimed in (view.reach.radius, 0.0 if isnan(view.distance) else view.distance):
                assert Fraction(claimed) ** 2 * sum(a * a for a in direction) <= margin**2


@pytest.mark.slow
def test_an_assumed_constant_certifies_only_what_a_theorem_proves(moons):
    net, plane = moons
    seen = set()
    for index in (7, 20):
        x, y = MOONS.x_test[index], MOONS.y_test[index : index + 1]
        for exponent in range(-1, 9):
            view = MarginView(net, x, int(y), 2.0**exponent, plane)
            radius = view.reach.radius
            assert radius == pytest.approx(view.margin / (sqrt(2) * 2.0**exponent))
            seen.add(view.status)
            proved = min(bound(net, x[None], radius).value.item() for bound in RUNGS.values())
            if view.status == "certified":
                assert proved <= 2.0**exponent
                assert radius <= view.distance
                assert any(ll.certify(net, x[None], y, radius, bound=b).holds for b in RUNGS.values())
                assert "the theorem applies" in view.summary()[2]
            else:
                assert proved > 2.0**exponent
                assert "an assumed L is not a certificate" in view.summary()[2]
                assert "is certified" not in view.summary()[0]
                assert (view.status == "refuted") == (radius > view.distance)
            coarse = MarginView(net, x, int(y), 2.0**exponent, plane, truth=False)
            assert coarse.status != "certified" or view.status == "certified"
    assert seen == {"certified", "not certified", "refuted"}


def test_a_refuted_disc_holds_the_point_that_refutes_it(moons):
    net, plane = moons
    x, y = MOONS.x_test[7], int(MOONS.y_test[7])
    view = MarginView(net, x, y, 1.0, plane)
    assert view.status == "refuted"
    assert (view.nearest - x).norm() < view.reach.radius
    beyond = x + 1.001 * (view.nearest - x)
    assert net(beyond).argmax() != y


def test_dashes_tell_what_is_not_proved(explorer):
    def dashes():
        lines = [trace.line for trace in explorer.figure.data if trace.type == "scatter" and trace.mode == "lines"]
        return [line.dash for line in lines if line.dash]

    assert dashes() == ["dot", "solid", "solid"]
    assert any("✔ certified" in title for title in titles(explorer.figure))
    explorer.L.value = 16.0
    assert dashes() == ["dot", "dashdot", "dashdot"]
    assert any("✘ refuted" in title for title in titles(explorer.figure))
    assert any("an <b>assumed</b> L, no certificate" in title for title in titles(explorer.figure))
    assert not any("✔" in title for title in titles(explorer.figure))
    explorer.L.value = explorer.L.base**explorer.L.max
    assert any("an <b>assumed</b> L, which a bound confirms" in title for title in titles(explorer.figure))


@pytest.mark.parametrize("name", VARIED)
def test_extremes_draw(name):
    net = NETWORKS[name]()
    x = points(net, count=1)[0]
    for y in (0, 1):
        drawn = [MarginView(net, x, y, c) for c in ("global", "local", 1e-9, 1e9)]
        assert len({len(margins(view).data) for view in drawn}) == 1
        for view in drawn:
            assert "nan" not in " ".join(view.summary())
            assert view.status in ("certified", "not certified", "misclassified")
            if view.status == "certified" and view.reach.radius < inf:
                y_ = torch.tensor([y])
                held = [
                    ll.certify(net, x[None], y_, view.reach.radius, bound=RUNGS[r]).holds for r in ("global", "local")
                ]
                assert any(held)


def test_controls_change_figure_and_text(explorer):
    before, text = titles(explorer.figure), explorer.summary
    assert "point (0.08, 0.2)" in text
    explorer.x0.value = 0.5
    assert "point (0.5, 0.2)" in explorer.summary
    assert titles(explorer.figure) != before
    explorer.x1.value = 1.0
    assert "class 0, predicted 0" in explorer.summary
    explorer.label.value = 1
    assert "Class 1 loses to class 0 here: nothing to certify." in explorer.summary
    assert not any("✔" in title for title in titles(explorer.figure))
    explorer.label.value = "predicted"
    explorer.bound.value = "local"
    assert "local bound on the ball" in explorer.summary
    explorer.bound.value = "exact"
    assert "exact constant on the ball" in explorer.summary
    explorer.L.value = 32.0
    assert explorer.bound.value == "assumed"
    assert "assumed L = 32" in explorer.summary
    explorer.reset.click()
    assert (titles(explorer.figure), explorer.summary) == (before, text)


def test_a_click_moves_the_point(explorer):
    said.say(explorer.screen, {"method": "custom", "content": {"moved": [0, 0.4212, 0.9871]}}, second=0)
    said.say(explorer.screen, {"method": "custom", "content": {"moved": [3, 1.0, 1.0]}}, second=1)  # not the map
    assert (explorer.x0.value, explorer.x1.value) == (pytest.approx(0.42), pytest.approx(0.98, abs=0.011))
    assert "point (0.42, " in explorer.summary
    said.say(explorer.screen, {"method": "custom", "content": {"moved": [0, 99.0, -99.0]}}, second=2)
    assert (explorer.x0.value, explorer.x1.value) == (explorer.x0.max, explorer.x1.min)


def test_call_reproduces_the_view(explorer):
    scope = {"ll": ll, "net": ll.nets.load("moons"), "x": MOONS.x_test, "y": MOONS.y_test, "d": DIGITS}
    for move in ({"x0": 0.5, "x1": 1.0}, {"bound": "local", "label": 0}, {"L": 32.0}):
        for name, value in move.items():
            explorer.controls[name].value = value
        again = eval(explorer.reproduce(), scope)
        assert again.summary == explorer.summary
        assert titles(again.figure) == titles(explorer.figure)
    scope["net"] = ll.nets.load("digits-clipped")
    pictured = MarginExplorer(scope["net"], DIGITS.x_test, DIGITS.y_test, index=3, source="net, d.x_test, d.y_test")
    pictured.point.value, pictured.bound.value = 8, "local"
    again = eval(pictured.reproduce(), scope)
    assert (again.reproduce(), again.summary) == (pictured.reproduce(), pictured.summary)


def test_pictures_and_a_misclassified_one_and_back():
    net = ll.nets.load("digits-clipped")
    wrong = int((net(DIGITS.x_test).argmax(dim=1) != DIGITS.y_test).nonzero()[0, 0])
    explorer = MarginExplorer(net, DIGITS.x_test, DIGITS.y_test, index=3, L="local")
    before = titles(explorer.figure)
    assert any("✔ certified" in title for title in before)
    explorer.point.value = wrong
    assert "nothing to certify" in explorer.summary
    assert not any("✔" in title for title in titles(explorer.figure))
    explorer.point.value = 3
    assert titles(explorer.figure) == before
    assert "exact" not in dict(explorer.bound.options).values()


def test_three_classes_and_float32():
    net = three_classes().float()
    y = torch.randint(3, (len(MOONS.x_test),), generator=torch.Generator().manual_seed(0))
    explorer = MarginExplorer(net, MOONS.x_test, y, index=5, label="predicted", L="exact")
    assert "is certified within" in explorer.summary
    margins = [trace for trace in explorer.figure.data if trace.type == "bar"][1]
    assert len(margins.x) == 2


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 4), (2, 5)])
def test_samples_of_any_shape(shape):
    x = torch.rand(2, *shape, dtype=torch.float64)
    net = random_mlp(x[0].numel(), 8, 12)
    explorer = MarginExplorer(torch.nn.Sequential(torch.nn.Flatten(), *net), x, net(x.flatten(1)).argmax(dim=1))
    explorer.point.value = 1
    assert "is certified within" in explorer.summary
    assert len(next(trace for trace in explorer.figure.data if trace.type == "bar").x) == 10  # of 12 classes


def test_one_constant_network():
    net = ll.nets.mlp(2, 3, 2).double()
    for parameter in net.parameters():
        parameter.data.zero_()
    net[2].bias.data[0] = 1.0
    for rung in ("global", "local", "exact"):
        explorer = MarginExplorer(net, MOONS.x_test, torch.zeros(len(MOONS.x_test), dtype=torch.int64), L=rung)
        assert "is certified within inf by" in explorer.summary
    explorer.L.value = explorer.L.min
    assert "nan" not in explorer.summary


def test_bad_input_is_refused():
    net, x, y = ll.nets.load("moons"), MOONS.x_test, MOONS.y_test
    with pytest.raises(ll.InvalidInput, match="index from 0"):
        MarginExplorer(net, x, y, index=10**6)
    with pytest.raises(ll.InvalidInput, match="classes 0 to 1"):
        MarginExplorer(net, x, y + 1)
    with pytest.raises(ll.InvalidInput, match="at least two outputs"):
        MarginExplorer(random_mlp(2, 4, 1), x, y)
    with pytest.raises(ll.InvalidInput, match="finite values"):
        MarginExplorer(net, x * nan, y)
    for L in (0.0, -1.0, nan, inf):
        with pytest.raises(ll.InvalidInput, match="L from"):
            MarginExplorer(net, x, y, L=L)
    with pytest.raises(ll.InvalidInput, match="L as a number or one of global, local, centred, exact"):
        MarginExplorer(net, x, y, L="lokal")
    with pytest.raises(ll.InvalidInput, match="point, x0"):
        MarginExplorer(net, x, y, point=(99.0, 0.0))
    with pytest.raises(ll.InvalidInput, match="label as one of"):
        MarginExplorer(net, x, y, label=2)
    digits = ll.nets.load("digits-clipped")
    with pytest.raises(ll.InvalidInput, match="one of global, local, centred, assumed;"):
        MarginExplorer(digits, DIGITS.x_test, DIGITS.y_test, L="exact")
    with pytest.raises(ll.InvalidInput, match="more than two inputs"):
        MarginExplorer(digits, DIGITS.x_test, DIGITS.y_test, point=(0.0, 0.0))


def test_the_axis_of_distances_is_the_same_for_every_constant():
    explorer, seen = EXAMPLES["margins"].make(), []
    for L in (2.0**explorer.L.min, 1.0, 2.0**explorer.L.max):
        explorer.L.value = L
        bars = [trace for trace in explorer.figure.data if trace.type == "bar"][-1]
        seen.append((explorer.figure.layout[f"yaxis{bars.yaxis[1:]}"].range, max(bars.y), bars.text, bars.customdata))
    assert seen[0][0] == seen[1][0] == seen[2][0]
    assert all(top <= axis[1] for axis, top, *_ in seen)
    (_, _, long, numbers), short = seen[0], seen[-1][2]
    assert all(text.startswith("↑ ") for text in long)
    assert not any("↑" in text for text in short)
    assert float(long[0][2:]) == pytest.approx(float(numbers[0][1]), rel=1e-3)
