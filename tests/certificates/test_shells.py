"""The way to the edge, shell by shell: never looser than the whole ball, and never beyond the truth."""

import pytest
import torch
from networks import NETWORKS, in_ball, points
from torch import nn

import lliptools as ll


def steep():
    """f_0 − f_1 = 3 − relu(x) − 4 relu(x − 1): the constant is 1 up to x = 1, and 5 beyond."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    net[0].weight.data, net[0].bias.data = torch.ones(2, 1).double(), torch.tensor([0.0, -1.0]).double()
    net[2].weight.data = torch.tensor([[-1.0, -4.0], [0.0, 0.0]]).double()
    net[2].bias.data = torch.tensor([3.0, 0.0]).double()
    return net, torch.zeros(1, 1).double(), torch.tensor([0])


def test_a_constant_that_climbs():
    """3 is spent at 1 + 2/5; the whole ball charges 5 for all of it, thin shells nearly nothing too much."""
    net, x, y = steep()
    exact = [ll.certify(net, x, y, 1.39, bound=ll.merged_bound, shells=shells).holds.item() for shells in (1, 8, 64)]
    assert exact[-1]
    radii = [ll.certified_radius(net, x, y, bound=ll.bounds.path_bound, shells=k).item() for k in (1, 4, 16)]
    assert radii == sorted(radii)
    assert radii[-1] < 1.4 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("bound", ["global", "local", "tightest"])
@pytest.mark.parametrize("name", ["relu", "clipped", "clipped maxmin", "residual, clipped", "tanh"])
def test_shells_never_lose_and_are_never_broken(name, bound):
    net = NETWORKS[name]().double()
    x = points(net).double()
    y = net(x).argmax(dim=1)
    whole = ll.certified_radius(net, x, y, bound=ll.BOUNDS[bound], tolerance=1e-3)
    marched = ll.certified_radius(net, x, y, bound=ll.BOUNDS[bound], tolerance=1e-3, shells=12)
    assert (marched >= whole).all()
    if bound == "global":
        assert (marched <= whole * 1.01).all()  # the constant is the same in every shell
    some = (marched > 0) & (marched < 1e10)
    if not some.any():
        return
    x, y, marched = x[some], y[some], marched[some]
    for k in range(len(x)):
        found = ll.attacks.pgd(net, x[k : k + 1], y[k : k + 1], marched[k].item(), steps=40, restarts=4)
        assert ll.attacks.is_correct(net, found, y[k : k + 1])
        assert (net(in_ball(x[k], marched[k].item(), 2000, seed=k)).argmax(dim=1) == y[k]).all()
    there = marched * (1 - 1e-6)
    held = ll.certify(net, x, y, there, bound=ll.BOUNDS[bound], shells=20)
    plain = ll.certify(net, x, y, there, bound=ll.BOUNDS[bound])
    assert (held.worst_margin >= plain.worst_margin).all()


def test_locality_pays():
    net, x = ll.nets.load("digits-clipped"), ll.training.digits().x_test[:40]
    y = ll.training.digits().y_test[:40]
    whole = ll.certified_radius(net, x, y, tolerance=1e-3, centred=False)
    marched = ll.certified_radius(net, x, y, tolerance=1e-3, centred=False, shells=16)
    assert marched.mean() > 1.05 * whole.mean()
    held = ll.certify(net, x, y, 0.3, centred=False, shells=16)
    assert held.holds.sum() > ll.certify(net, x, y, 0.3, centred=False).holds.sum()
    assert (held.eps == 0.3).all()


def test_failure_probabilities_add_up():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 20 * 20, 3))
    x = torch.rand(1, 1, 20, 20)
    one = ll.certify(net, x, net(x).argmax(dim=1), 0.01)
    many = ll.certify(net, x, net(x).argmax(dim=1), 0.01, shells=3)
    assert many.bound.failure_probability == pytest.approx(2 * one.bound.failure_probability)


@pytest.mark.parametrize("shells", [0, -1, 1.5, True, None])
def test_a_count_that_is_none_is_refused(shells):
    net, x, y = steep()
    with pytest.raises(ll.InvalidInput, match="shells"):
        ll.certify(net, x, y, 0.1, shells=shells)


def test_centred_constants_say_nothing_between_shells():
    net, x, y = steep()
    with pytest.raises(ll.InvalidInput, match="any two points"):
        ll.certify(net, x, y, 0.1, bound=lambda *a: ll.local_bound(*a, centred=True), shells=4)
    both = ll.certify(net, x, y, 1.2, centred=True, shells=8)
    assert both.holds
