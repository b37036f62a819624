"""Certificates in stages give the answers of the full computation, and say what decided."""

import pytest
import torch
from networks import NETWORKS, points
from torch import nn

import lliptools as ll


def small_cnn():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 4, 2, 1),
        ll.nets.ClippedReLU(0.3),
        nn.Conv2d(6, 8, 3, padding=1),
        ll.nets.ClippedReLU(torch.full((8, 1, 1), 0.2)),
        nn.Flatten(),
        nn.Linear(8 * 14 * 14, 4),
    )
    x = torch.rand(40, 1, 28, 28)
    return net, x, net(x).argmax(dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.0, 0.01, 0.02, 0.04, 3.0])
def test_same_answers_as_the_full_computation(eps):
    net, x, y = small_cnn()
    y[:3] = (y[:3] + 1) % 4
    staged, full = ll.certify_in_stages(net, x, y, eps), ll.certify(net, x, y, eps)
    assert torch.equal(staged.holds, full.holds)
    assert not staged.holds[:3].any()
    assert (staged.stage >= 0).all()
    assert staged.failure_probability <= 1e-9


@pytest.mark.slow
def test_every_stage_has_its_points():
    net, x, y = small_cnn()
    reach = ll.certified_radius(net, x, y, bound=lambda *a: ll.global_bound(*a, norm=ll.bounds.torus_norm))
    staged = ll.certify_in_stages(net, x, y, reach * torch.linspace(0.9, 4.0, 40))
    assert len(set(staged.stage.tolist())) >= 3
    text = str(staged)
    assert text.splitlines()[0] == f"{int(staged.holds.sum())} of 40 points certified"
    assert "decided by the global bound" in text


@pytest.mark.slow
def test_without_estimates_the_upper_norms_decide(monkeypatch):
    """Nothing is dropped early: all stages have points, each at its own radius, and they share delta."""
    monkeypatch.setattr("lliptools.certificates.stages.LOWER_STEPS", ())
    net, x, y = small_cnn()
    reach = ll.certified_radius(net, x, y, bound=lambda *a: ll.global_bound(*a, norm=ll.bounds.torus_norm))
    eps = reach * torch.linspace(0.9, 6.0, 40)
    staged = ll.certify_in_stages(net, x, y, eps)
    assert staged.stage.unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(staged.holds, ll.certify(net, x, y, eps).holds)
    assert staged.failure_probability <= 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks_too(name):
    net = NETWORKS[name]()
    x = points(net)
    y = net(x).argmax(dim=1)
    eps = 0.9 * ll.certified_radius(net, x, y).nan_to_num(posinf=1.0).clamp_max(1e6)
    staged = ll.certify_in_stages(net, x, y, eps)
    assert torch.equal(staged.holds, ll.certify(net, x, y, eps).holds)


def test_what_it_does_not_take():
    net, x, y = small_cnn()
    with pytest.raises(ll.InvalidInput, match="tolerance"):
        ll.certify_in_stages(net, x, y, 0.1, tolerance=2.0)


def test_numbers_beyond_float32_drop_no_point():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)).double()
    net[0].weight.data *= 1e60
    net[2].weight.data *= 1e-60
    x = torch.randn(4, 3).double()
    y = net(x).argmax(dim=1)
    eps = 0.999 * ll.certified_radius(net, x, y)
    full = ll.certify(net, x, y, eps)
    assert full.holds.any()
    assert torch.equal(ll.certify_in_stages(net, x, y, eps).holds, full.holds)
