"""Figures and the explorer without a browser: numbers, extremes, and what a slider changes."""

import zlib
from math import inf, nan
from threading import Event, Thread

import numpy as np
import plotly.graph_objects as go
import pytest
import said
import torch
from networks import NETWORKS, VARIED, points
from pictures import came_back, differences, unpack

import lliptools as ll
from lliptools.teach.explorers.neurons.figure import neurons
from lliptools.teach.explorers.neurons.view import NeuronView
from lliptools.teach.explorers.neurons.widget import NeuronExplorer
from lliptools.teach.shared.controls import nice
from lliptools.teach.shared.efforts import scale_thresholds
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.style import CONFIG, LAYOUT, STATES
from lliptools.teach.shared.transport import Screen, parts
from lliptools.teach.shared.units import ON, UNSTABLE

DIGITS = ll.training.digits()
RADII = torch.arange(21, dtype=torch.float64) * 0.02


@pytest.fixture(scope="module")
def view():
    net = ll.nets.load("digits-clipped")
    return NeuronView(net, DIGITS.x_test[3], int(DIGITS.y_test[3]), RADII)


@pytest.fixture
def explorer():
    net = ll.nets.load("digits-clipped")
    return NeuronExplorer(net, DIGITS.x_test, DIGITS.y_test, index=3, eps=0.1, eps_max=0.4)


def titles(figure):
    return [annotation.text for annotation in figure.layout.annotations]


def test_view_agrees_with_the_engine(view):
    net, x, y = ll.nets.load("digits-clipped"), DIGITS.x_test[3:4], DIGITS.y_test[3:4]
    for index, eps in enumerate(RADII.tolist()):
        assert view.local.value[index] == pytest.approx(ll.local_bound(net, x, eps).value.item(), rel=1e-12)
        assert view.certified(index) == ll.certify(net, x, y, eps, centred=False).holds.item()
    assert view.radius == pytest.approx(ll.certified_radius(net, x, y, centred=False).item(), rel=2e-6)
    assert ll.certify(net, x, y, view.radius, centred=False).holds.all()
    assert view.radius_global < view.radius
    states = view.states(0, 5)
    assert (states >= ON).sum() == view.local.blocks[0].slope[5].sum()
    assert [int((states == code).sum()) > 0 for code in range(4)] == [True] * 4
    assert not (view.states(0, 0) == UNSTABLE).any()  # at ε = 0 every unit is decided
    moves = torch.autograd.functional.jacobian(net[:1], x[0])[states == ON]
    assert len(moves)
    z = net[:1](x[0] + 0.1 * torch.nn.functional.normalize(torch.randn(1000, 64, dtype=torch.float64)))
    assert (z[:, states == ON] >= 0).all()
    assert (z[:, states == ON] <= net[1].theta[states == ON]).all()


def test_the_canvas_is_told_which_units_are_left(view):
    net = ll.nets.load("digits-clipped")
    for index in (0, 5, 20):
        told = neurons(view, index).layout.meta["weights"]
        assert told["shapes"] == [[128, 64], [128, 128], [10, 128]]
        weights = torch.cat([layer.weight.detach().float().flatten() for layer in net if hasattr(layer, "weight")])
        assert np.array_equal(told["values"], weights)
        slopes = torch.cat([block.slope[index] for block in view.local.blocks[:-1]])
        assert np.array_equal(np.asarray(told["states"]) >= ON, slopes.numpy() > 0)
        boxes = torch.cat([torch.stack([b.box.lower[index], b.box.upper[index]], 1) for b in view.local.blocks[:-1]])
        assert np.allclose(told["boxes"], boxes.flatten().float(), rtol=1e-6)


def test_the_point_is_moved_to_where_its_margin_falls(view):
    net, (points_, classes) = ll.nets.load("digits-clipped"), view.moved
    assert torch.allclose((points_ - view.point).norm(dim=1), RADII)
    assert torch.equal(classes, net(points_).argmax(dim=1))
    logits = net(points_[:2])
    margin = logits[:, 7] - logits.index_fill(1, torch.tensor([7]), -torch.inf).amax(dim=1)
    assert margin[1] < margin[0]


def test_states_are_told_apart_without_colour():
    grey = [np.dot([int(state.fill[k : k + 2], 16) for k in (1, 3, 5)], (0.3, 0.59, 0.11)) for state in STATES]
    assert np.diff(sorted(grey)).min() > 35
    assert len({state.symbol for state in STATES}) == len({state.name for state in STATES}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIED)
def test_extremes_draw(name):
    """Every supported network, ε = 0 and huge, right and wrong labels."""
    net = NETWORKS[name]()
    x = points(net, count=1)[0]
    for y in (0, 1):
        drawn = NeuronView(net, x, y, torch.tensor([0.0, 1e-12, 0.1, 1e6]).double())
        for index in range(4):
            assert len(neurons(drawn, index).data) == len(neurons(drawn, 0).data)
            assert "nan" not in "".join(drawn.summary(index))


def test_plane():
    moons, net = ll.training.moons(), ll.nets.load("moons")
    plane = Plane(net, moons.x_test, pixels=50)
    drawn = NeuronView(net, moons.x_test[7], int(moons.y_test[7]), RADII, plane)
    assert plane.classes.shape == (50, 50)
    center = torch.stack([plane.x0[10], plane.x1[40]])
    assert plane.classes[40, 10] == net(center[None]).argmax()
    assert [kinks.shape for kinks in plane.kinks] == [(16, 50, 50)] * 2
    every, moving = drawn.kinks(plane, 5)
    assert (moving <= every).all()
    assert moving.any()
    assert torch.equal(every, torch.cat(plane.kinks).any(dim=0))
    inside = (plane.x0 - drawn.point[0]) ** 2 + (plane.x1[:, None] - drawn.point[1]) ** 2 < float(RADII[5]) ** 2
    assert (every & inside <= moving).all()  # a line inside the disc is one of an unstable unit
    for label, place in plane.labels.items():
        assert net(torch.tensor([place]).double()).argmax() == label
    neurons(drawn, 5)


def test_sliders_change_figure_and_text(explorer):
    before, text = go.Figure(explorer.figure), explorer.summary
    assert text.startswith("43 + 66 of 256 neurons can vary within ε: L is 7.44 there, 18.9 everywhere; certified.")
    explorer.eps.value = 0.02
    assert titles(explorer.figure) != titles(before)
    assert explorer.summary != text
    assert "ε = 0.02" in explorer.summary
    assert not differences(explorer.figure, neurons(explorer.view, 5))
    explorer.point.value = 8
    assert f"label {DIGITS.y_test[8]}" in explorer.summary
    explorer.theta_scale.value = 0.25
    assert "at θ" in explorer.summary
    explorer.reset.click()
    assert not differences(explorer.figure, before)
    assert explorer.summary == text


def test_call_reproduces_the_view(explorer):
    explorer.eps.value, explorer.point.value, explorer.theta_scale.value = 0.204, 11, 0.5
    assert "index=11, eps=0.204, theta_scale=0.5, eps_max=0.4" in explorer.call.value
    moons, net = ll.training.moons(), ll.nets.load("moons")
    source = "net, moons.x_test, moons.y_test"
    other = NeuronExplorer(net, moons.x_test, moons.y_test, index=5, source=source)
    again = eval(other.reproduce(), {"ll": ll, "net": net, "moons": moons})
    assert (again.reproduce(), again.summary) == (other.reproduce(), other.summary)
    scope = {"ll": ll, "net": ll.nets.load("digits-clipped"), "x": DIGITS.x_test, "y": DIGITS.y_test}
    again = eval(explorer.reproduce(), scope)
    assert again.summary == explorer.summary
    assert titles(again.figure) == titles(explorer.figure)


def test_a_control_that_moves_in_another_thread_while_its_picture_is_computed(explorer, monkeypatch):
    """JupyterLab answers a control in a second thread where the first computes: each view is that of its own point."""
    compute, begun, finish = explorer._compute, Event(), Event()

    def slow(key, *rest):
        begun.set()
        assert finish.wait(60)
        return compute(key, *rest)

    monkeypatch.setattr(explorer, "_compute", slow)
    threads = [Thread(target=setattr, args=(explorer.point, "value", index)) for index in (8, 11)]
    threads[0].start()
    assert begun.wait(60)
    threads[1].start()
    while explorer.point.value != 11:
        pass
    finish.set()
    for thread in threads:
        thread.join()
    for index in (8, 11):
        assert torch.equal(explorer._views[index, 1.0].point, DIGITS.x_test[index])
    assert not differences(explorer.figure, explorer._figure(coarse=False))
    fresh = NeuronExplorer(explorer._net, DIGITS.x_test, DIGITS.y_test, index=11, eps=0.1, eps_max=0.4)
    assert explorer.summary == fresh.summary


def test_a_misclassified_point_and_back(explorer):
    """The figure follows to a wrong point and back: a stale "certified" would be a lie."""
    net = ll.nets.load("digits-clipped")
    wrong = int((net(DIGITS.x_test).argmax(dim=1) != DIGITS.y_test).nonzero()[0, 0])
    before = titles(explorer.figure)
    assert any("✔ certified" in title for title in before)
    explorer.point.value = wrong
    assert "misclassified: nothing to certify" in titles(explorer.figure)
    assert any("✘ not certified" in title for title in titles(explorer.figure))
    assert any("(wrong)" in title for title in titles(explorer.figure))
    explorer.point.value = 3
    assert titles(explorer.figure) == before


def test_the_slider_shows_what_the_figure_shows():
    explorer = NeuronExplorer(ll.nets.load("digits-clipped"), DIGITS.x_test, DIGITS.y_test, eps=0.05, eps_max=0.4)
    assert explorer.eps.value == explorer.radius
    assert f"ε = {explorer.radius:.4g}" in explorer.summary


def test_a_shared_activation_is_scaled_once():
    act = ll.nets.ClippedReLU(0.5)
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), act, torch.nn.Linear(2, 2), act, torch.nn.Linear(2, 2))
    assert scale_thresholds(net, 0.5)[3].theta.item() == 0.25
    assert act.theta.item() == 0.5


def test_network_without_clipping_has_no_theta():
    explorer = NeuronExplorer(ll.nets.load("digits-relu"), DIGITS.x_test[:5], DIGITS.y_test[:5])
    assert explorer.theta_scale not in explorer.children[1].children
    assert not any(trace.name == "constant at θ" for trace in explorer.figure.data)
    assert "at θ" not in explorer.summary


def test_bad_input_is_refused():
    net = ll.nets.load("digits-clipped")
    with pytest.raises(ll.InvalidInput, match="index from 0 to 359"):
        NeuronExplorer(net, DIGITS.x_test, DIGITS.y_test, index=360)
    with pytest.raises(ll.InvalidInput, match="y as an integer"):
        NeuronExplorer(net, DIGITS.x_test, DIGITS.y_test[:5])
    with pytest.raises(ll.InvalidInput, match="2 features"):
        NeuronExplorer(net, DIGITS.x_test[:, :2], DIGITS.y_test)
    for start in ({"eps": -1}, {"eps": 0.5}, {"eps": nan}, {"eps_max": 0}, {"eps_max": inf}, {"theta_scale": 100}):
        with pytest.raises(ll.InvalidInput, match=f"{next(iter(start))} from"):
            NeuronExplorer(net, DIGITS.x_test, DIGITS.y_test, **{"eps_max": 0.4, **start})


def test_one_constant_point():
    """A network that never changes: radius infinite, nothing to draw but the flat line."""
    net = ll.nets.mlp(4, 3, 2).double()
    for parameter in net.parameters():
        parameter.data.zero_()
    net[2].bias.data[0] = 1.0
    explorer = NeuronExplorer(net, torch.zeros(1, 4).double(), torch.tensor([0]))
    assert "certified radius inf local" in explorer.summary
    explorer.eps.value = explorer.eps.max


def whole(screen):
    """What a page gets that asks for the whole state."""
    return unpack(zlib.compress(screen.get_state()["whole"]))


def test_nothing_is_uploaded():
    assert whole(Screen(go.Figure(), ()))["config"] == CONFIG
    assert CONFIG["modeBarButtonsToRemove"] == ["sendChartToCloud"]
    assert CONFIG["displaylogo"] is False


def test_figures_share_one_plotly_js():
    """It is 5 MB, which a browser has to read."""
    one, other = Screen(go.Figure(layout=LAYOUT), ()), Screen(go.Figure(layout=LAYOUT), ())
    assert one.carrier is other.carrier
    assert len(one.carrier.code) > 1e6
    assert max(len(str(value)) for name, value in one.get_state().items() if name != "_esm") < 1e4
    one.carrier.close()
    assert Screen(go.Figure(), ()).carrier.comm is not None


def test_the_browser_is_told_of_a_whole_figure(view, monkeypatch):
    told = []
    monkeypatch.setattr(Screen, "open", lambda screen: told.append(screen.get_state()))
    drawn = neurons(view, 5)
    Screen(drawn, ())
    (state,) = told
    head = unpack(zlib.compress(state["whole"]))
    given = {(each["trace"], each["path"]): each["values"] for each in head["properties"]}
    assert dict.fromkeys(parts(drawn), 1) == {place: len(values) for place, values in given.items()}
    assert all(came_back(given[place][0], value) for place, value in parts(drawn).items())


def test_a_page_that_has_missed_a_message_gets_all(view, monkeypatch):
    screen, sent = Screen(neurons(view, 5), ()), []
    screen.show(neurons(view, 6), ())
    assert (screen.count, whole(screen)["count"]) == (1, 1)
    monkeypatch.setattr(screen, "send", lambda _, buffers: sent.append(unpack(zlib.compress(buffers[0]))))
    said.say(screen, {"method": "custom", "content": {"missed": True}}, second=0)
    assert len(sent[0]["properties"]) == len(parts(neurons(view, 6)))


def test_a_redrawn_figure_is_one_message_of_what_changed(view, monkeypatch):
    screen, sent = Screen(neurons(view, 5), ()), []
    monkeypatch.setattr(screen, "send", lambda _, buffers: sent.append(unpack(zlib.compress(buffers[0]))))
    screen.show(neurons(view, 5), ())
    assert not sent.pop()["properties"]
    screen.show(neurons(view, 6), ())
    (message,) = sent
    paths = [each["path"] for each in message["properties"]]
    assert "annotations" in str(paths)
    assert "colorscale" not in paths


@pytest.mark.parametrize(
    ("value", "nicer"), [(0.19, 0.2), (0.2, 0.2), (0.21, 0.4), (3, 4), (4.5, 5), (6, 10), (0, 0), (torch.inf, 0)]
)
def test_nice(value, nicer):
    assert nice(value) == pytest.approx(nicer)
