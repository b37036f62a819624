"""The explorer of clipping: what its strips and bounds say, and how they move."""

from math import inf, nan

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from networks import NETWORKS, VARIED, points
from pictures import differences
from torch import nn

import lliptools as ll
from lliptools.teach.explorers.clipping.figure import clipping
from lliptools.teach.explorers.clipping.view import ClipView, Member, theta_curve
from lliptools.teach.explorers.clipping.widget import ClipExplorer
from lliptools.teach.shared.efforts import Effort
from lliptools.teach.shared.units import AT_THETA, AT_ZERO, ON

DIGITS = ll.training.digits()
SMALL = Effort()


@pytest.fixture(scope="module")
def nets():
    return {name: ll.nets.load(f"digits-0.5-{name}") for name in ("standard", "clipped", "sparse")}


@pytest.fixture
def explorer(nets):
    return ClipExplorer(nets, DIGITS.x_test, DIGITS.y_test, network="sparse", index=3, eps=0.1, eps_max=0.5)


def view_of(net, eps=0.1, theta_scale=1.0, count=9):
    return seen(net, DIGITS.x_test[:count], DIGITS.y_test[:count], eps, theta_scale, SMALL)


def seen(net, x, *more):
    return ClipView(net, x, *more, ll.global_bound(net, x[:1]))


def test_view_agrees_with_the_engine(nets):
    for net in nets.values():
        view = view_of(net)
        bound = ll.local_bound(net, DIGITS.x_test[:9], 0.1)
        assert view.local == pytest.approx(bound.value[0].item(), rel=1e-9)
        holds = ll.certify(net, DIGITS.x_test[:9], DIGITS.y_test[:9], 0.1, centred=False).holds
        assert torch.equal(view.certificate.holds, holds)
        here, mean = view.varying
        assert here[1] == pytest.approx(bound.blocks[1].slope[0].mean().item())
        assert mean[1] == pytest.approx(bound.blocks[1].slope[1:].mean().item())


def test_strips_say_the_truth_about_the_zones(nets):
    view = view_of(nets["sparse"], theta_scale=0.25)
    strips = view.strips(0, most=1000)
    assert strips.every == 1
    assert sum(strips.counts) == len(strips.states) == 128
    assert min(strips.counts) > 0
    constant_low, constant_high = strips.states == AT_ZERO, strips.states == AT_THETA
    assert (strips.upper[constant_low] <= 0).all()
    assert (strips.lower[constant_high] >= strips.high[constant_high]).all()
    moving = strips.states >= ON
    assert ((strips.upper > 0) & (strips.lower < strips.high))[moving].all()
    assert torch.equal(strips.low, torch.zeros(128).double())
    assert sorted(strips.high.tolist()) == pytest.approx(sorted((0.25 * nets["sparse"][1].theta).tolist()))
    kind = torch.where(constant_low, 0, torch.where(constant_high, 2, 1))
    assert (kind.diff() >= 0).all()
    assert view.strips(0, most=50).every == 3
    assert view.strips(0, most=50).counts == strips.counts


def test_without_a_threshold_it_is_the_plain_relu(nets):
    """θ = ∞ is the network with every clipped ReLU replaced by a ReLU."""
    net = nets["clipped"]
    plain = nn.Sequential(*(nn.ReLU() if isinstance(layer, ll.nets.ClippedReLU) else layer for layer in net))
    for eps in (0.0, 0.1, 1.0):
        one, other = view_of(net, eps, inf), view_of(plain, eps)
        assert torch.equal(one.certificate.bound.value, other.certificate.bound.value)
        assert torch.equal(one.certificate.holds, other.certificate.holds)
        assert one.varying == other.varying


def test_fewer_units_of_the_first_layer_vary_as_theta_falls(nets):
    shares = [view_of(nets["sparse"], theta_scale=2.0**k).varying for k in range(-4, 5)]
    for which in (0, 1):
        first = [share[which][0] for share in shares]
        assert first == sorted(first)
        assert first[0] < first[-1]


def test_curve_and_family_agree_with_the_view(nets):
    curve = theta_curve(nets["clipped"], DIGITS.x_test[:1], 0.1, [0.25, 1.0, inf], SMALL)
    for k, scale in enumerate((0.25, 1.0, inf)):
        view = view_of(nets["clipped"], theta_scale=scale)
        assert curve[k] == pytest.approx(view.local, rel=1e-9)
        assert curve[k] <= view.everywhere.value.item() * (1 + 1e-9)
    given = DIGITS.x_test[:9], DIGITS.y_test[:9], 0.1, 1.0, SMALL
    members = [Member(name, seen(net, *given)) for name, net in nets.items()]
    assert [one.name for one in members] == list(nets)
    for one in members:
        view = view_of(nets[one.name])
        assert one.ratio == (view.certificate.bound.value[1:] / view.everywhere.value).mean().item()
        assert one.varying == pytest.approx(sum(view.varying[1]) / 2)
        assert 0 <= one.certified <= one.right <= 1


def test_controls_change_figure_and_text(explorer):
    before, text = go.Figure(explorer.figure), explorer.summary
    explorer.theta_scale.value = 0.25
    assert "θ times 0.25" in explorer.summary
    explorer.theta_scale.value = inf
    assert "∞: nothing is clipped" in explorer.summary
    explorer.network.value = "standard"
    assert ", 0 at θ" in explorer.summary
    assert list(explorer.figure.data[-1].customdata) == ["standard", "clipped", "sparse"]
    explorer.eps.value = 0.5
    assert "ε = 0.5" in explorer.summary
    explorer.reset.click()
    assert explorer.summary == text
    assert not differences(explorer.figure, before)


@pytest.mark.slow
def test_call_reproduces_the_view(explorer, nets):
    explorer.theta_scale.value, explorer.point.value, explorer.eps.value = inf, 11, 0.2
    call = explorer.reproduce()
    assert "network='sparse', index=11, eps=0.2, theta_scale=float('inf'), eps_max=0.5" in call
    again = eval(call, {"ll": ll, "net": nets, "x": DIGITS.x_test, "y": DIGITS.y_test})
    assert again.summary == explorer.summary
    single = ClipExplorer(nets["clipped"], DIGITS.x_test, DIGITS.y_test, theta_scale=2**0.5)
    again = eval(single.reproduce(), {"ll": ll, "net": nets["clipped"], "x": DIGITS.x_test, "y": DIGITS.y_test})
    assert again.summary == single.summary
    assert "network" not in single.reproduce()


def test_first_look_shows_nothing_stale(explorer):
    """Another radius, before the rest is computed: no curve and no family of the old one."""
    drawn = explorer._figure(coarse=True)
    assert len(drawn.data) == len(explorer.figure.data)
    explorer._held = True
    explorer.eps.value = 0.4
    drawn = explorer._figure(coarse=True)
    lines = [trace for trace in drawn.data if trace.type == "scatter" and trace.line.color == "#0072B2"]
    assert any(np.isnan(np.asarray(line.y, dtype=float)).all() for line in lines)
    assert list(drawn.data[-1].x) == [None]
    assert len(drawn.data) == len(explorer.figure.data)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIED)
def test_every_network_at_its_extremes(name):
    net = NETWORKS[name]()
    x = points(net, count=3)
    for eps in (0.0, 0.1, 1e6):
        for scale in (0.25, inf):
            view = seen(net, x, torch.tensor([0, 1, 0]), eps, scale, SMALL)
            scales = [0.25, 1.0, inf]
            curve = scales, theta_curve(net, x[:1], eps, scales, SMALL)
            figure = clipping(view, curve, [Member(name, seen(net, x, view_labels(x), eps, scale, SMALL))])
            assert len(figure.data) == len(clipping(view).data)
            assert "nan" not in "".join(view.summary())


def view_labels(x):
    return torch.zeros(len(x), dtype=torch.int64)


def test_images_of_a_convolutional_network():
    torch.manual_seed(0)
    net = ll.nets.cnn("2C1F", (1, 12, 12), activation="clipped_maxmin", theta=0.2).float()
    x = torch.rand(5, 1, 12, 12)
    explorer = ClipExplorer(net, x, torch.zeros(5, dtype=torch.int64), eps=0.5, eps_max=1.0)
    strips = explorer.view.strips(0)
    assert strips.every > 1
    assert strips.names == ("θ_min", "θ_max")
    assert strips.low.isinf().any()  # the larger of a pair has no lower threshold
    assert f"1 in {strips.every} drawn" in explorer.figure.layout.xaxis.title.text


def test_bad_input_is_refused(nets):
    x, y = DIGITS.x_test, DIGITS.y_test
    for wrong in ({}, {1: nets["clipped"]}):
        with pytest.raises(ll.InvalidInput, match="networks by name"):
            ClipExplorer(wrong, x, y)
    with pytest.raises(ll.InvalidInput, match="network as one of"):
        ClipExplorer(nets, x, y, network="other")
    with pytest.raises(ll.InvalidInput, match="theta_scale as inf or"):
        ClipExplorer(nets, x, y, theta_scale=0.3)
    for start in ({"index": 360}, {"eps": nan}, {"eps": 1.0}, {"eps_max": inf}, {"first": 2}):
        with pytest.raises(ll.InvalidInput, match=f"{next(iter(start))} from"):
            ClipExplorer(nets, x, y, **{"eps_max": 0.4, **start})
    with pytest.raises(ll.InvalidInput):
        ClipExplorer(nets, x, y + 10)
    with pytest.raises(ll.InvalidInput, match="2 features"):
        ClipExplorer({**nets, "moons": ll.nets.load("moons")}, x, y)
    with pytest.raises(ll.InvalidInput, match="finite"):
        ClipExplorer(nets, x * nan, y)


def test_a_move_of_theta_keeps_the_axes_and_asks_for_the_point_alone(explorer):
    axes = [explorer.figure.layout[axis].range for axis in ("yaxis", "yaxis2")]
    explorer.finish()
    at = {**explorer._state, "theta_scale": 0.25}
    alone, draw, lines = explorer._show(at, True)
    assert alone.count == 0
    assert not any("mean" in line or "points" in line for line in lines)
    assert [draw().layout[axis].range for axis in ("yaxis", "yaxis2")] == axes
    whole, draw, lines = explorer._show(at, False)
    assert whole.local == pytest.approx(alone.local, rel=1e-9)
    assert whole.everywhere is alone.everywhere
    assert any("mean" in line for line in lines)
    assert [draw().layout[axis].range for axis in ("yaxis", "yaxis2")] == axes
