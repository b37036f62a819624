"""Sums of branches with an activation behind them, which masks the last rows of both."""

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds import sums
from lliptools.norms.auto import UpperNorm


def net_of(seed, shortcut, activation):
    torch.manual_seed(seed)
    block = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
    over = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)) if shortcut else None
    sums = [layer for _ in range(2) for layer in (ll.nets.Residual(block, over), activation)]
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), *sums, nn.Linear(6, 2)).double()


@pytest.mark.slow
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.1), ll.nets.ClippedReLU(0.3), ll.nets.MaxMin()])
@pytest.mark.parametrize("shortcut", [False, True])
def test_no_slope_is_above(activation, shortcut):
    x = torch.randn(4, 3, dtype=torch.float64)
    for seed in range(2):
        net = net_of(seed, shortcut, activation)
        for eps in (0.05, 1.0):
            with ll.bounds.outward_rounding(eps < 1):
                local, whole = ll.local_bound(net, x, eps), ll.global_bound(net, x).value
                centred = ll.local_bound(net, x, eps, centred=True).value
            assert (ll.sampled_bound(net, x, eps, samples=16, steps=2).value <= local.value).all()
            assert (centred <= local.value * (1 + 1e-9)).all()
            assert (local.value <= whole * (1 + 1e-9)).all()
            product = torch.stack([block.norm for block in local.blocks]).prod(dim=0)
            torch.testing.assert_close(product, local.value, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shortcut", [False, True])
def test_rows_of_both_branches_are_masked(shortcut):
    """diag(3, 1) + diag(1, 1) where the first unit is off: 2 instead of 4, of parts too large for one matrix or not."""
    scale = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    scale.weight.data = torch.diag(torch.tensor([3.0, 1.0])).double()
    curved = nn.Sequential(nn.LeakyReLU(1.0), scale)
    over = nn.Sequential(nn.LeakyReLU(1.0)) if shortcut else None
    net = nn.Sequential(ll.nets.Residual(curved, over), nn.ReLU())
    x = torch.tensor([[-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]]).double()
    found = ll.local_bound(net, x, 0.1)
    assert found.value.tolist() == pytest.approx([2.0, 4.0, 0.0], rel=1e-12)
    assert ll.global_bound(net, x).value.tolist() == pytest.approx([4.0] * 3, rel=1e-12)


def test_norms_found_twice_share_the_failure_probability():
    wide = nn.Conv2d(4, 4, 3, padding=1)
    net = nn.Sequential(ll.nets.Residual(nn.Sequential(wide, nn.ReLU(), wide)), nn.ReLU(), nn.Flatten()).double()
    found = ll.local_bound(net, torch.rand(1, 4, 24, 24).double(), 0.1, norm=UpperNorm(1e-6, 0.1))
    assert 0 < found.failure_probability <= 1e-6 * (1 + 1e-9)


def test_a_masked_branch_that_is_no_number_is_not_taken_for_nothing(monkeypatch):
    branch = ll.nets.Residual(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)))
    net = nn.Sequential(nn.Linear(3, 4), branch, nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.zeros(2, 3).double()
    wanted = ll.local_bound(net, x, 1.0).value
    assert (wanted > 0).all()
    monkeypatch.setattr(sums, "masked", lambda walk, branch, rows, columns: rows.new_full((2,), torch.nan))
    assert (ll.local_bound(net, x, 1.0).value >= wanted).all()
