"""The exact centred constant in the plane: between what is seen and every other bound, and what certificates gain."""

import math

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds.exact_centred import TOLERANCE

CENTRED = ("local", "path", "merged", "tightest")
ACTIVATIONS = {"relu": nn.ReLU, "leaky": nn.LeakyReLU, "clipped": lambda: ll.nets.ClippedReLU(0.4), "tanh": nn.Hardtanh}


def planar(activation, seed=0, width=8):
    torch.manual_seed(seed)
    layers = nn.Linear(2, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 3)
    return nn.Sequential(*layers).double(), torch.randn(3, 2, dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("eps", [1e-3, 0.3, 2.0])
def test_it_lies_between_what_is_seen_and_every_other_bound(name, eps):
    net, x = planar(ACTIVATIONS[name])
    y = net(x).argmax(dim=1)
    with ll.bounds.outward_rounding(eps == 0.3):
        found, between = ll.exact_bound(net, x, eps, centred=True), ll.exact_bound(net, x, eps)
        others = [ll.BOUNDS[bound](net, x, eps, centred=True) for bound in CENTRED]
    seen = ll.bounds.sampled_bound(net, x, eps, samples=600, centred=True).value
    assert (seen <= found.value).all()
    assert (found.value <= between.value).all()
    assert (found.pairwise(y) <= between.pairwise(y)).all()
    for other in others:
        assert (found.value <= other.value * (1 + 2 * TOLERANCE)).all()
        assert (found.pairwise(y) <= other.pairwise(y) * (1 + 2 * TOLERANCE)).all()
    turn, far = 2 * math.pi * torch.arange(1500).double() / 1500, eps * torch.linspace(0.02, 1 - 1e-9, 40).double()
    moves = (far[:, None, None] * torch.stack([turn.cos(), turn.sin()], dim=1)).flatten(0, 1)
    for k, center in enumerate(x):
        rises = (net(center + moves) - net(center[None])).detach()
        lost = 1e-13 / (0.02 * eps)
        largest = (rises.norm(dim=1) / moves.norm(dim=1)).max()
        pairs = ((rises[:, y[k], None] - rises).abs() / moves.norm(dim=1)[:, None]).amax(dim=0)
        assert 0.95 * found.value[k] - lost <= largest <= found.value[k] + lost
        assert (0.95 * found.pairwise(y)[k] - lost <= pairs).all()
        assert (pairs <= found.pairwise(y)[k] + lost).all()


def test_closed_forms_at_a_bend_beyond_one_and_far_from_any():
    """3 relu(x₁ − 1): half of the slope from 0 within 2, all of it at the bend, nothing within 1/2 of 0."""
    net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    net[0].weight.data, net[0].bias.data = torch.tensor([[1.0, 0.0]]).double(), -torch.ones(1).double()
    net[2].weight.data, net[2].bias.data = torch.tensor([[3.0], [0.0]]).double(), torch.zeros(2).double()
    for point, eps, wanted in (((0.0, 0.0), 2.0, 1.5), ((1.0, 0.0), 0.1, 3.0), ((0.0, 5.0), 0.5, 0.0)):
        found = ll.exact_bound(net, torch.tensor([point]).double(), eps, centred=True).value.item()
        assert wanted <= found <= wanted * (1 + 2 * TOLERANCE) + 1e-12


def test_the_record_says_where_it_is_not_done():
    net, x = planar(nn.ReLU)
    assert ll.exact_bound(net, x, 0.1, centred=True).between == "the centre and any point"
    for bound in (ll.exact_bound(net, x, 0.0, centred=True), ll.exact_bound(net, x, 0.1)):
        assert bound.between == "any two points"
    assert ll.exact_bound(ll.nets.mlp(3, 4, 2), torch.zeros(1, 3), 0.1, centred=True).between == "any two points"


@pytest.mark.slow
def test_certificates_by_it_reach_further_and_never_beyond_the_adversary():
    net, x = planar(nn.ReLU, seed=1)
    y = net(x).argmax(dim=1)
    distance = ll.bounds.adversarial_distance(net, x, y, 3.0)[0]
    found, plain = (ll.certified_radius(net, x, y, ll.exact_bound, centred=c, tolerance=1e-3) for c in (True, False))
    assert (found <= distance).all()
    assert (found >= plain * (1 - 1e-2)).all()
    assert (found > 1.01 * plain).any()


@pytest.mark.parametrize("scale", [1e-65, 1e65])
def test_squares_neither_overflow_nor_underflow(scale):
    net, x = planar(nn.ReLU, seed=1)
    plain = ll.exact_bound(net, x, 1.0, centred=True)
    with torch.no_grad():
        for power, layer in zip((1, 2, 3), net[::2], strict=True):
            layer.weight *= scale
            layer.bias *= scale**power
    found = ll.exact_bound(net, x, 1.0, centred=True)
    torch.testing.assert_close(found.value / scale**3, plain.value, rtol=1e-7, atol=0)
    y = torch.tensor([0, 1, 2])
    torch.testing.assert_close(found.pairwise(y) / scale**3, plain.pairwise(y), rtol=1e-7, atol=0)


def test_a_step_that_is_over_next_to_the_centre_counts():
    """max(u + d, 0) − max(u − d, 0) climbs by its slope of 1 within 1e-6 of the radius only."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        net[0].bias.copy_(torch.tensor([1e-6, -1e-6]))
        net[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    assert ll.exact_bound(net, torch.zeros(1, 2).double(), 1.0, centred=True).value >= 1
