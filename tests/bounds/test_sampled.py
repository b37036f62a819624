"""The constant from below: never above the exact one, and not far from it."""

import math

import pytest
import torch
from networks import NETWORKS, PIECEWISE, points, random_mlp
from torch import nn

import lliptools as ll
from lliptools.bounds.exact import exact_bound
from lliptools.bounds.sampled import sampled_bound


@pytest.mark.parametrize("name", PIECEWISE)
def test_below_the_exact_constant(name):
    net = NETWORKS[name]()
    x = points(net, 3)
    for eps in (0.0, 1e-12, 0.01, 0.4):
        sampled, exact = sampled_bound(net, x, eps, samples=32, steps=5), exact_bound(net, x, eps)
        assert sampled.kind == "lower"
        assert (sampled.value <= exact.value * (1 + 1e-9)).all()
        if eps <= 0.01:
            assert (sampled.value >= 0.999 * exact.value).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_below_the_masks_in_large_balls(name):
    net = NETWORKS[name]()
    x = points(net, 3)
    for eps in (3.0, 1e3, 1e30):
        sampled = sampled_bound(net, x, eps, samples=32, steps=5).value
        assert (sampled <= ll.local_bound(net, x, eps).value * (1 + 1e-9)).all()


def test_it_finds_the_constant_of_the_moons():
    net, x = ll.nets.load("moons"), ll.training.moons().x_test[:20]
    for eps in (0.05, 0.3):
        found = sampled_bound(net, x, eps).value / exact_bound(net, x, eps).value
        assert (found <= 1).all()
        assert found.mean() >= 0.99


def test_the_climb_is_worth_more_than_as_many_samples():
    net, x = ll.nets.load("digits-clipped"), ll.training.digits().x_test[:2]
    climbed = sampled_bound(net, x, 0.5, samples=64, steps=20).value
    thrown = sampled_bound(net, x, 0.5, samples=64 + 2 * 20 * 8, steps=0).value
    assert (climbed > 1.03 * thrown).all()


def test_a_kink_is_not_mistaken_for_a_slope():
    """f = relu(x + 5) − relu(x) + relu(−x) − … is constant but for its kink, where autograd puts slope 1 together."""
    into, out = nn.Linear(1, 3).double(), nn.Linear(3, 1).double()
    into.weight.data, into.bias.data = torch.tensor([[1.0], [1.0], [-1.0]]).double(), torch.tensor([5.0, 0, 0]).double()
    out.weight.data = torch.tensor([[1.0, -1.0, 1.0]]).double()
    net, x = nn.Sequential(into, nn.ReLU(), out), torch.zeros(1, 1).double()
    for eps in (0.0, 1e-300, 1e-17, 0.5):
        assert sampled_bound(net, x, eps).value.item() == 0.0
        assert sampled_bound(ll.nets.fold(1, 2), x, eps).value.item() <= 1.0


def test_many_outputs():
    """More than the whole Jacobian is computed for: power iteration, from below."""
    net, x = random_mlp(6, 24, 30), torch.randn(4, 6).double()
    sampled, exact = sampled_bound(net, x, 0.1), exact_bound(net, x, 0.1)
    assert (sampled.value <= exact.value * (1 + 1e-9)).all()
    assert (sampled.value >= 0.95 * exact.value).all()
    assert (sampled_bound(ll.nets.fold(20, 1), torch.ones(1, 20).double(), 0.5).value - 1).abs() < 1e-9


def test_a_point_has_its_value_in_any_batch_and_the_seed_decides():
    net, x = random_mlp(3, 16, 12, 4), torch.randn(5, 3).double()
    eps = torch.linspace(0.1, 0.5, 5)
    together = sampled_bound(net, x, eps).value
    assert together[3].item() == pytest.approx(sampled_bound(net, x[3:4], eps[3].item()).value.item(), rel=1e-9)
    assert torch.equal(together, sampled_bound(net, x, eps).value)
    assert not torch.equal(
        sampled_bound(net, x, 5.0, samples=1, steps=0).value,
        sampled_bound(net, x, 5.0, samples=1, steps=0, seed=1).value,
    )


def test_overflow_is_not_a_lower_bound():
    net, x = random_mlp(3, 8, 6, 4), torch.ones(1, 3).double()
    for parameter in net.parameters():
        parameter.data.mul_(1e200)
    assert sampled_bound(net, x, 0.1, samples=8, steps=2).value.item() == 0.0


FAINT = [(1.6e-162, 1.0), (1.0, 2.7e-162), (1e100, 3e-162), (1e100, 1e-161), (1e200, 1e-320)]


@pytest.mark.parametrize(("size", "eps"), FAINT)
def test_secants_whose_squares_underflow(size, eps):
    net = nn.Sequential(nn.Linear(2, 2, bias=False)).double()
    net[0].weight.data = size * torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double()
    found = sampled_bound(net, torch.zeros(1, 2).double(), eps, centred=True).value
    assert found <= math.sqrt(2) * size


def test_it_certifies_nothing_and_refuses_what_it_cannot_sample():
    net, x = random_mlp(3, 8, 4), torch.ones(1, 3).double()
    with pytest.raises(ll.InvalidInput, match='kind "lower"'):
        ll.certify(net, x, torch.tensor([0]), 0.1, bound=sampled_bound)
    with pytest.raises(ll.InvalidInput, match="finite radius"):
        sampled_bound(net, x, math.inf)
    with pytest.raises(ll.InvalidInput, match="at least one sample"):
        sampled_bound(net, x, 0.1, samples=0)
