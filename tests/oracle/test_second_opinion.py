"""The oracle on what the library claims: about networks that ship, odd ones, and random ones of every kind of layer."""

import pytest
import torch
from claims import LADDER, judge, turn
from networks import NETWORKS, points
from random_networks import WIDE, random_network
from torch import nn

import lliptools as ll

pytestmark = pytest.mark.slow

BATCH, BATCHES = 50, 20
SHAPES = {"moons": (2,), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "digits-conv": (1, 8, 8), "": (64,)}


@pytest.mark.parametrize("name", NETWORKS)
def test_odd_networks(name):
    net = NETWORKS[name]()
    verdict = judge(net, points(net, count=3), radii=("local", "stages"))
    assert verdict.refuted == []
    assert verdict.certificates() > 0


@pytest.mark.parametrize("start", [*range(0, BATCH * BATCHES, BATCH), WIDE, WIDE + BATCH])
def test_random_networks(start):
    """One or two bounds are asked about each, in turn; benchmarks/soundness.py goes on where this stops."""
    certificates, refuted = 0, []
    for seed in range(start, start + BATCH):
        case = random_network(seed)
        verdict = judge(case.net, case.x, seed=seed, **turn(seed))
        certificates += verdict.certificates()
        refuted += [f"seed {seed}: {each}" for each in verdict.refuted]
    assert refuted == []
    assert certificates > 10 * BATCH


@pytest.mark.parametrize("name", ll.nets.available())
def test_shipped_networks(name):
    """At one point of noise; the convolutions on large images at fewer radii, by the two bounds that read no matrix."""
    net, large = ll.nets.load(name), name.startswith(("mnist-small", "cifar10"))
    x = torch.rand(1, *next(shape for start, shape in SHAPES.items() if name.startswith(start)), dtype=torch.float64)
    verdict = judge(net, x, bounds=LADDER[:2] if large else LADDER, shares=(0.5, 1.0) if large else (0.3, 0.95, 1.0))
    assert verdict.refuted == []
    assert verdict.certificates() > 0


def test_a_jump_whose_unit_the_next_layer_does_not_read():
    """Found by the oracle: 0 times a slope without end is no number, and no norm of 0."""
    net = nn.Sequential(nn.Linear(1, 2), nn.Softplus(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    numbers = ([[1.0], [1.0]], [0.0, 0.0], [[1.0, 0.0]], [0.0], [[1.0], [0.0]], [0.0, 1.0])
    for parameter, value in zip(net.parameters(), numbers, strict=True):
        parameter.data = torch.tensor(value, dtype=torch.float64)
    x, y = torch.tensor([[20.0]], dtype=torch.float64), torch.tensor([0])
    assert net(x - 19.5).argmax() == 1
    assert not ll.certify(net, x, y, 19.5).holds
    assert judge(net, x, bounds=LADDER).refuted == []


@pytest.mark.parametrize("seed", [49025, 61725])
def test_what_overflows_in_float32_breaks_nothing_off(seed):
    """Found by the oracle: an estimate of certify_in_stages met numbers that are not finite."""
    case = random_network(seed)
    assert judge(case.net, case.x, seed=seed, bounds=(), radii=("stages",)).refuted == []
