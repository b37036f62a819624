"""Centred constants: no difference from the centre is larger, and certificates rest on them."""

import pytest
import torch
from networks import NETWORKS, VARIED, in_ball, points
from torch import nn

import lliptools as ll

SLACK = 1 + 1e-9
BOUNDS = [name for name in ll.BOUNDS if name not in ("global", "exact", "sampled")]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in VARIED else [pytest.mark.slow]) for name in NETWORKS]
)
def test_no_difference_from_the_centre_is_larger(name):
    net = NETWORKS[name]()
    x = points(net, 3)
    exact = net.double()
    for eps in (1e-3, 0.3, 1.5):
        with ll.bounds.outward_rounding(eps != 0.3):
            found = {bound: ll.BOUNDS[bound](net, x, eps, centred=True) for bound in BOUNDS}
        y = exact(x.double()).argmax(dim=1)
        assert (found["local"].value <= ll.local_bound(net, x, eps).value * SLACK).all()
        for k, center in enumerate(x.double()):
            samples = in_ball(center, eps, 500, seed=k)
            outputs = exact(torch.cat([center[None], samples])).flatten(1).detach()
            moved, far = outputs[1:] - outputs[:1], (samples - center).flatten(1).norm(dim=1)
            lost = 1e-14 * (1 + outputs.abs().max())
            pairs = (moved[:, y[k], None] - moved).abs()
            for bound in found.values():
                assert (moved.norm(dim=1) <= bound.value[k] * far * SLACK + lost).all()
                assert (pairs <= bound.pairwise(y)[k] * far[:, None] * SLACK + 2 * lost).all()


def test_the_record_says_which_it_is():
    net, x = NETWORKS["relu"](), points(NETWORKS["relu"]())
    for bound in BOUNDS:
        assert ll.BOUNDS[bound](net, x, 0.1).between == "any two points"
        assert ll.BOUNDS[bound](net, x, 0.1, centred=True).between == "the centre and any point"
    assert ll.global_bound(net, x).between == "any two points"


def test_a_unit_in_closed_form():
    """relu(x − 1) at 0 within 2: 1 / 2 of what the unit passes on beyond 1, and the whole between two points."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    net[0].weight.data, net[0].bias.data = torch.ones(1, 1).double(), -torch.ones(1).double()
    net[2].weight.data, net[2].bias.data = torch.tensor([[3.0], [0.0]]).double(), torch.tensor([0.0, 2.0]).double()
    x, y = torch.zeros(1, 1).double(), torch.tensor([1])
    assert ll.local_bound(net, x, 2.0).value.item() == pytest.approx(3.0)
    assert ll.local_bound(net, x, 2.0, centred=True).value.item() == pytest.approx(1.5)
    # f_1 − f_0 = 2 − 3 relu(x − 1) is 0 at 1 + 2/3.
    assert ll.certified_radius(net, x, y, centred=True).item() == pytest.approx(5 / 3, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "clipped", "clipped maxmin", "tanh", "convolutional", "residual"])
def test_attacks_never_break_a_centred_certificate(name):
    """Of any bound: all are attacked in the largest of their balls, in which the others lie."""
    net = NETWORKS[name]().double()
    x = points(net).double()
    y = net(x).argmax(dim=1)
    radii = {bound: ll.certified_radius(net, x, y, bound=ll.BOUNDS[bound], tolerance=1e-2) for bound in BOUNDS}
    plain = ll.certified_radius(net, x, y, tolerance=1e-2, centred=False)
    assert (radii["local"] >= plain * 0.98).all()
    for k, each in enumerate(torch.stack([*radii.values()], dim=1)):
        found = each[each.isfinite()]
        if len(found) and (radius := found.max().item()) > 0:
            moved = ll.attacks.pgd(net, x[k : k + 1], y[k : k + 1], radius, steps=40, restarts=4)
            assert ll.attacks.is_correct(net, moved, y[k : k + 1])
            samples = in_ball(x[k], radius, 2000, seed=k)
            assert (net(samples).argmax(dim=1) == y[k]).all()


def test_multipliers_of_a_pair_s_own():
    """What decides is worked on longer, and never looser for it."""
    net = NETWORKS["deep"]()
    x = points(net)
    y = net(x).argmax(dim=1)
    bound = ll.merged_bound(net, x, 0.3, centred=True)
    shared = bound.pairwise(y)
    other = shared > 0
    closer = bound.pairwise(y, torch.where(other, shared / 1.2, torch.inf))
    assert (closer <= shared * SLACK).all()
    assert (closer < shared * 0.999)[other].any()
    exact = net.double()
    for k, center in enumerate(x.double()):
        samples = in_ball(center, 0.3, 2000, seed=k)
        outputs = exact(torch.cat([center[None], samples])).detach()
        moved, far = outputs[1:] - outputs[:1], (samples - center).norm(dim=1)
        pairs = (moved[:, y[k], None] - moved).abs()
        assert (pairs <= closer[k] * far[:, None] * SLACK + 1e-13).all()


def test_a_function_without_the_option_is_asked_as_it_is():
    net, x = NETWORKS["relu"](), points(NETWORKS["relu"]())
    y = net(x).argmax(dim=1)
    found = ll.certify(net, x, y, 0.1, bound=lambda *a: ll.local_bound(*a), centred=True)
    assert found.bound.between == "any two points"
    assert ll.certify(net, x, y, 0.1, centred=True).bound.between == "the centre and any point"
    assert ll.certify(net, x, y, 0.1).bound.between == "the centre and any point"
    assert ll.certify(net, x, y, 0.1, centred=False).bound.between == "any two points"


@pytest.mark.parametrize("name", ["relu", "clipped", "maxmin", "tanh", "residual, clipped", "convolutional"])
@pytest.mark.parametrize("eps", [0.05, 0.5, 4.0])
def test_sampled_secants_lie_below(name, eps):
    net = NETWORKS[name]().double()
    x = points(net).double()
    found = ll.sampled_bound(net, x, eps, samples=64, steps=20, centred=True)
    assert found.kind == "lower"
    assert found.between == "the centre and any point"
    for bound in (ll.local_bound, ll.tightest_bound):
        assert (found.value <= bound(net, x, eps, centred=True).value).all()
    assert (found.value.sum() > 0.3 * ll.tightest_bound(net, x, eps, centred=True).value.sum()).all()


def test_a_secant_that_is_known():
    """relu from −1: in the ball of radius 3 the steepest secant goes to its edge, 2/3."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    for part in (net[0], net[2]):
        part.weight.data.fill_(1.0)
        part.bias.data.zero_()
    found = ll.sampled_bound(net, torch.tensor([[-1.0]]).double(), 3.0, centred=True)
    assert found.value.item() == pytest.approx(2 / 3, rel=1e-6)
    assert found.value.item() <= 2 / 3
