"""What the figure of the neurons draws of networks that are not small dense ones with thresholds."""

import re

import numpy as np
import pytest
import torch
from networks import NETWORKS, points
from torch import nn

import lliptools as ll
from lliptools.nets import LinearMap
from lliptools.teach.explorers.neurons.figure import neurons
from lliptools.teach.explorers.neurons.units_figure import GAP
from lliptools.teach.explorers.neurons.view import NeuronView
from lliptools.teach.explorers.neurons.weights import Weights
from lliptools.teach.explorers.neurons.widget import NeuronExplorer
from lliptools.teach.shared.example import labelled
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.units import AT_THETA, AT_ZERO, DRAWN, ON

RADII = torch.tensor([0.0, 0.05, 5.0]).double()


def conv_view(shape=(1, 12, 12), activation="relu", theta=0.1):
    torch.manual_seed(0)
    net = ll.nets.cnn("2C1F", shape, activation=activation, theta=theta).double()
    return net, NeuronView(net, torch.rand(shape).double(), 1, RADII)


def titles(figure):
    return [annotation.text for annotation in figure.layout.annotations]


def pictures(figure, zmax):
    return [np.asarray(trace.z) for trace in figure.data if trace.type == "heatmap" and trace.zmax == zmax]


def test_a_large_matrix_is_pooled_and_counted_exactly():
    torch.manual_seed(0)
    weight = torch.randn(4096, 512).double()
    rows, columns = torch.rand(1, 4096) < 0.4, torch.rand(1, 512) < 0.7
    masked = Weights(LinearMap.dense(weight)).masked(rows.double(), columns.double())
    assert masked.cells.shape == (128, 128)
    assert masked.step == (32, 4)
    assert masked.full == (4096, 512)
    assert masked.kept == (int(rows.sum()), int(columns.sum()))
    filled = ~masked.cells.isnan()
    assert filled.any(dim=1).sum() == -(-masked.kept[0] // 32)
    assert filled.any(dim=0).sum() == -(-masked.kept[1] // 4)
    kept = weight.abs()[rows[0]][:, columns[0]].float()
    cells = masked.cells * Weights(LinearMap.dense(weight)).brightest
    assert cells[2, 3].item() == pytest.approx(kept[64:96, 12:16].mean().item(), rel=1e-5)
    assert Weights(LinearMap.dense(weight)).masked(0 * rows.double(), columns.double()).cells.isnan().all()


def test_smooth_slopes_fade_the_weights():
    weight = torch.ones(2, 2).double()
    masked = Weights(LinearMap.dense(weight)).masked(torch.tensor([[0.25, 1.0]]), torch.ones(1, 2))
    assert masked.cells.tolist() == [[0.5, 0.5], [1.0, 1.0]]
    assert masked.kept == (2, 2)


def test_a_small_convolutional_network_shows_its_kernels():
    net, x, y = labelled("digits-conv")
    view = NeuronView(net, x[3], int(y[3]), torch.tensor([0.0, 0.1]).double())
    assert sum(block.linear.rows * block.linear.columns for block in view.local.blocks) < DRAWN
    assert view.matrices == ()
    assert any("K<sub>1</sub>" in title for title in titles(neurons(view, 1)))


def test_feature_maps_and_kernels():
    _, view = conv_view()
    figure = neurons(view, 1)
    block = view.local.blocks[0]
    varying = int((block.slope[1] > 0).sum())
    assert f"<b>layer 1: {varying}/576 varying</b>" in titles(figure)
    live = [int((block.slope[1].flatten(1) > 0).any(dim=1).sum()) for block in view.local.blocks[:2]]
    assert f"<b>K<sub>2</sub>  32×16 of 4×4 → {live[1]}×{live[0]}</b>" in titles(figure)
    assert figure.layout.xaxis6.title.text == f"288×576 → {int((view.local.blocks[1].slope[1] > 0).sum())}×{varying}"
    maps = pictures(figure, GAP + 1)[0]
    states = view.states(0, 1).numpy()
    for code in range(4):
        assert (maps == code).sum() == (states == code).sum()
    first = states.reshape(16, 6, 6)[0]
    assert (maps[:6, :6] == first).all()


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 12, 12)])
def test_points_stay_images(shape):
    net, view = conv_view(shape)
    picture = neurons(view, 0).data[0]
    assert np.asarray(picture.z).shape[:2] == (12, 12)
    assert picture.type == ("image" if shape[0] == 3 else "heatmap")
    x = torch.rand(3, *shape)
    explorer = NeuronExplorer(net.float(), x, torch.tensor([0, 1, 2]), index=1)
    explorer.point.value = 2
    assert "index=2" in explorer.call.value
    assert explorer.view.local.value[3] == pytest.approx(
        ll.local_bound(net, x[2:].double(), explorer.view.radii[3].item()).value.item(), rel=0.02
    )


def test_norms_by_chance_are_said():
    torch.manual_seed(0)
    net = ll.nets.cnn("2C1F", (1, 28, 28)).double()
    x = torch.rand(2, 1, 28, 28).double()
    explorer = NeuronExplorer(net, x, net(x).argmax(dim=1), eps_max=5.0)
    assert len(explorer.view.radii) == 21
    assert "norms by chance: false with probability ≤" in explorer.summary
    radius, more = explorer.view.radius, explorer.view.at_least[0]
    assert radius > 0
    assert not more
    assert ll.certify(net, x[:1], explorer.view.local.outputs.argmax(dim=1)[:1], radius * 0.99).holds.all()


def test_pairs_are_constant_at_either_threshold():
    net = NETWORKS["clipped maxmin"]()
    x = points(net, 1)
    view = NeuronView(net, x[0], 0, RADII)
    block, states = view.local.blocks[0], view.states(0, 1)
    h = net[:2](x + 0.05 * torch.nn.functional.normalize(torch.randn(500, 3).double()))
    assert (states == AT_THETA).any()
    assert (states == AT_ZERO).any()
    assert (h[:, states == AT_THETA] == net[1].theta_max).all()
    assert (h[:, states == AT_ZERO] == net[1].theta_min).all()
    assert ((states >= ON) == (block.slope[1] > 0)).all()
    assert "at θ_min" in view.summary(1)[1]
    names = [trace.name for trace in neurons(view, 1).data]
    assert "constant at θ_max" in names
    explorer = NeuronExplorer(net, x, torch.tensor([0]), eps_max=1.0)
    before = explorer.view.local.value
    explorer.theta_scale.value = 0.25
    assert (explorer.view.local.value < before).any()


def test_a_unit_that_is_on_is_linear():
    """On says: one linear piece all over the ball, whatever the activation."""
    for name in ("leaky", "relu", "maxmin", "clipped maxmin", "tanh"):
        net = NETWORKS[name]()
        x = points(net, 1)
        on = NeuronView(net, x[0], 0, RADII).states(0, 1) == ON
        assert on.any() == (name != "tanh")
        steps = 0.05 * torch.nn.functional.normalize(torch.randn(200, 3).double())
        h = net[:2](torch.cat([x, x + steps, x - steps]))[:, on]
        assert torch.allclose(h[1:201] + h[201:], 2 * h[:1], atol=1e-12)


def test_what_cannot_be_drawn_is_said():
    net = NETWORKS["residual"]()
    view = NeuronView(net, points(net, 1)[0], 0, RADII)
    figure = neurons(view, 1)
    assert "the identity:<br>nothing to draw" in titles(figure)
    assert any("2.2: no activation" in title for title in titles(figure))
    assert "layer 2.1:" in view.summary(1)[1]


def test_deep_networks_are_paged():
    torch.manual_seed(0)
    net = ll.nets.mlp(4, *[6] * 9, 3).double()
    x = torch.randn(2, 4).double()
    explorer = NeuronExplorer(net, x, torch.tensor([0, 1]), first=2, eps_max=1.0)
    assert "first=2" in explorer.reproduce()
    assert [title for title in titles(explorer.figure) if "W<sub>5" in title]
    explorer.first.value = 7
    shown = [title for title in titles(explorer.figure) if "W<sub>" in title]
    assert [f"W<sub>{k}</sub>" in title for k, title in zip((7, 8, 9, 10), shown, strict=True)] == [True] * 4
    with pytest.raises(ll.InvalidInput, match="first from 1 to 7"):
        NeuronExplorer(net, x, torch.tensor([0, 1]), first=8)


@pytest.mark.parametrize("activation", ["residual", "tanh", "maxmin"])
def test_planes_of_other_networks(activation):
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 6))
    layer = {"residual": ll.nets.Residual(inner), "tanh": nn.Tanh(), "maxmin": ll.nets.MaxMin()}[activation]
    net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 6), layer, nn.Linear(6, 2)).double()
    x = torch.randn(5, 2).double()
    plane = Plane(net, x, pixels=30)
    assert torch.equal(plane.classes[7, 11], net(torch.stack([plane.x0[11], plane.x1[7]])[None]).argmax())
    view = NeuronView(net, x[0], 0, RADII, plane)
    assert len(plane.kinks) == len(view.hidden) == 2
    assert plane.kinks[1].any() == (activation != "tanh")
    neurons(view, 1)


@pytest.mark.slow
def test_radii_certify_and_end_where_the_engine_ends():
    for name in ("clipped", "residual, clipped", "convolutional, clipped by channel", "dead layer"):
        net = NETWORKS[name]()
        x = points(net, 2).double()
        y = net(x).argmax(dim=1)
        for bound, found in ((ll.local_bound, "radius"), (ll.global_bound, "radius_global")):
            truth = ll.certified_radius(net, x, y, bound=bound)
            for k in range(2):
                view = NeuronView(net, x[k], int(y[k]), RADII)
                assert getattr(view, found) == pytest.approx(truth[k].item(), rel=3e-6)


def test_radii_are_written_rounded_down():
    net, data = ll.nets.load("digits-clipped"), ll.training.digits()
    for number in (3, 8, 11):
        view = NeuronView(net, data.x_test[number], int(data.y_test[number]), torch.arange(61).double() * 0.01)
        found = re.search(r"certified radius (?:≥ )?(\S+) local, (?:≥ )?(\S+) global", view.summary(10)[2])
        for text, radius in zip(found.groups(), (view.radius, view.radius_global), strict=True):
            assert float(text) <= radius
            assert float(text) == pytest.approx(radius, rel=1e-3)
        figure = neurons(view, 10)
        (trace,) = (each for each in figure.data if "certified radius" in (each.hovertemplate or ""))
        assert [text.split(": ")[1] for text in trace.text] == [found[2], found[1]]


def test_units_of_a_network_that_has_none():
    net, x = nn.Sequential(nn.Linear(4, 3)).double(), torch.eye(4).double()
    explorer = ll.teach.UnitExplorer(net, x, net(x).argmax(dim=1), eps=0.1, eps_max=1.0)
    assert explorer.summary.startswith("ε = 0.1: 0 of 0 units can change their output; 0 stand still.")
    assert "no hidden units" in str(explorer.figure.layout.annotations)
