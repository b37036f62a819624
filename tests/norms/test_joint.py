"""One failure probability for a product: its budget, the product within it, and how often it fails."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds import exact_norm
from lliptools.nets import LinearMap
from lliptools.norms.aposteriori import bound_above
from lliptools.norms.joint import COSTS, Joint, _budget
from lliptools.norms.krylov import GolubKahan, ScaledMap, fresh_start

UNITS = range(1, len(COSTS) + 1)


@pytest.mark.parametrize("delta", [0.3, 1e-3, 1e-9])
def test_the_budget_of_two_layers_is_the_least_that_the_probability_allows(delta):
    chance = [math.exp(1 - q) - math.exp(-q) for q in UNITS]

    def exceeded(budget):
        beyond = 2 * math.exp(-len(COSTS))
        return beyond + sum(
            chance[a] * chance[b] for a, b in product(range(32), repeat=2) if COSTS[a] + COSTS[b] > budget
        )

    budget = _budget(2, delta)
    assert exceeded(budget) <= delta
    assert budget == 0 or exceeded(budget - 1) > delta


def test_growths_multiply_to_the_largest_product_within_the_budget():
    generator = torch.Generator().manual_seed(0)
    joint = Joint(3, 1e-2)
    count, budget = len(joint.deltas(2)), _budget(3, 5e-3)
    levels = [(1 + torch.rand(count, 2, generator=generator)).double().cumsum(0).flip(0) for _ in range(3)]
    found = torch.ones(2, dtype=torch.float64)
    for number, each in enumerate(levels, start=1):
        joint.note(each)
        found = found * joint.growth(each[0])
        best = torch.stack(
            [
                torch.stack([levels[k][count - 1 - q] for k, q in enumerate(qs)]).prod(dim=0)
                for qs in product(range(count), repeat=number)
                if sum(COSTS[q] for q in qs) <= budget
            ]
        )
        torch.testing.assert_close(found, best.amax(dim=0), rtol=1e-12, atol=0)


def test_a_layer_without_chance_counts_as_it_is_and_numbers_that_are_none_are_no_bound():
    joint, one = Joint(2, 1e-3), torch.ones(3, dtype=torch.float64)
    assert torch.equal(joint.growth(2 * one), 2 * one)
    levels = torch.ones(len(joint.deltas(3)), 3, dtype=torch.float64)
    levels[:, 0], levels[:, 1] = torch.nan, 0.0
    joint.note(levels)
    assert joint.growth(torch.tensor([torch.inf, 0.0, 1.0], dtype=torch.float64))[:2].tolist() == [torch.inf, 0.0]
    joint.note(torch.ones_like(levels))
    assert (joint.growth(one) >= one).all()


def test_the_product_fails_no_more_often_than_it_may():
    """Three layers of five steps at δ = 0.2, 400 times; more than 105 failures come once in a thousand runs."""
    torch.manual_seed(0)
    failures, size = 0, 40
    for _ in range(10):
        batch, joint, found, truth = 40, Joint(3, 40 * 0.2), 1.0, 1.0
        for _ in range(3):
            slopes = torch.rand(batch, size, dtype=torch.float64)
            one = torch.ones(batch, size, dtype=torch.float64)
            scaled = ScaledMap(LinearMap.dense(torch.eye(size, dtype=torch.float64)), one, slopes)
            process = GolubKahan(scaled, fresh_start(scaled, joint.number))
            process.advance(5)
            squared = bound_above(*process.tridiagonal(), np.full(batch, float(size)), joint.deltas(batch))
            levels = torch.from_numpy(squared).sqrt().T * scaled.scale
            joint.note(levels)
            found, truth = found * joint.growth(levels[0]), truth * slopes.amax(dim=1).sqrt()
        failures += int((found < truth).sum())
    assert failures <= 105


def test_equal_layers_of_one_network_have_independent_starts():
    one = torch.ones(1, 300, dtype=torch.float64)
    scaled = ScaledMap(LinearMap.dense(torch.eye(300, dtype=torch.float64)), one, one)
    cosine = torch.cosine_similarity(fresh_start(scaled), fresh_start(scaled, 1)).item()
    assert abs(cosine) < 0.3


def test_the_value_is_above_the_true_norms_and_below_the_product_of_single_ones():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten()
    )
    net = net.extend([nn.Linear(8 * 18 * 18, 260), nn.ReLU(), nn.Linear(260, 3)]).double()
    x = torch.rand(3, 1, 18, 18, dtype=torch.float64)
    bound, truth, columns = ll.local_bound(net, x, 0.05), torch.ones(3, dtype=torch.float64), torch.ones_like(x)
    for block in bound.blocks:
        truth, columns = truth * exact_norm(block.linear, block.row_slope, columns), block.slope
    single = torch.stack([block.norm for block in bound.blocks]).prod(dim=0)
    assert (truth <= bound.value).all()
    assert (bound.value <= single * (1 - 1e-6)).all()
    torch.testing.assert_close(bound.hidden() * bound.blocks[-1].growth, bound.value, rtol=1e-12, atol=0)
    torch.testing.assert_close(bound.blocks[-1].radius, 0.05 * bound.hidden(), rtol=1e-12, atol=0)


def test_a_norm_that_has_served_a_pass_starts_afresh():
    """Its budget is spent: a layer of another network is bounded as by a new norm."""
    torch.manual_seed(0)
    layers = [nn.Linear(260, 260).double() for _ in range(3)]
    x, norm = torch.randn(1, 260).double(), ll.bounds.UpperNorm(0.3, 0.9)
    used = ll.local_bound(nn.Sequential(layers[0], nn.ReLU(), layers[1]), x, 0.1, norm=norm).norm
    for other in (nn.Sequential(layers[2]), nn.Sequential(layers[2], nn.ReLU(), layers[0])):
        again = ll.local_bound(other, x.expand(2, -1), 0.1, norm=used)
        fresh = ll.local_bound(other, x.expand(2, -1), 0.1, norm=ll.bounds.UpperNorm(used.delta, 0.9))
        torch.testing.assert_close(again.value, fresh.value, rtol=0, atol=0)


def test_networks_with_branches_share_no_budget():
    """The norms behind a sum are asked for out of turn: there each layer has its own share."""
    inner = nn.Sequential(nn.Linear(260, 260), nn.ReLU(), nn.Linear(260, 260))
    net = nn.Sequential(ll.nets.Residual(inner), nn.ReLU(), nn.Linear(260, 260)).double()
    norm = ll.bounds.UpperNorm(1e-6).begin(ll.nets.read_blocks(net, (260,)))
    assert norm.joint is None
    assert norm.delta <= 1e-6 / 3


def test_maps_of_other_shapes_have_other_digests_and_starts():
    wide, tall = nn.Conv2d(1, 4, (1, 2), bias=False).double(), nn.Conv2d(1, 4, (2, 1), bias=False).double()
    tall.weight.data = wide.weight.data.reshape(4, 1, 2, 1)
    maps = [ll.nets.read_blocks(net, (1, 9, 9))[0].linear for net in (wide, tall)]
    assert maps[0].digest != maps[1].digest
    starts = [
        fresh_start(ScaledMap(one, torch.ones(1, *one.out_shape).double(), torch.ones(1, 1, 9, 9).double()))
        for one in maps
    ]
    assert not torch.equal(*starts)
