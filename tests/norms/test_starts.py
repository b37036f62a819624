"""Where probabilistic norms start: nothing that a caller seeds can meet it, and what it sees is enclosed."""

import math

import numpy as np
import pytest
import torch
from networks import random_net
from torch import nn

import lliptools as ll
from lliptools.nets import LinearMap
from lliptools.norms.aposteriori import AposterioriNorm, bound_above
from lliptools.norms.krylov import GolubKahan, ScaledMap, fresh_start

WIDTH = 300  # more than what eigenvalues are computed of


def ones(linear):
    one = torch.ones(1, dtype=torch.float64)
    return one.expand(1, linear.rows), one.expand(1, linear.columns)


@pytest.mark.parametrize("seed", range(5))
def test_weights_made_from_the_callers_own_seed_are_bounded(seed):
    torch.manual_seed(seed)
    u = torch.randn(1, WIDTH, dtype=torch.float64)[0]
    u = u / u.norm()
    W = torch.eye(WIDTH, dtype=torch.float64) - torch.outer(u, u) / 2
    last = torch.stack([W[0] / W[0].norm() * 1.5, torch.zeros(WIDTH)])
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.ReLU(), nn.Linear(WIDTH, 2, bias=False)).double()
    net[0].weight.data, net[2].weight.data = W, last
    x = 2 * torch.ones(1, WIDTH, dtype=torch.float64)
    torch.manual_seed(seed)
    assert ll.local_bound(net, x, 0.1).blocks[0].norm.item() >= 1 - 1e-12
    for method in ("aposteriori", "auto"):
        torch.manual_seed(seed)
        assert ll.spectral_norm(W, method).item() >= 1 - 1e-12


def test_no_number_is_drawn_from_the_callers_stream_and_answers_repeat():
    net = random_net(nn.Linear(3, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 4))
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state()
        found.append((ll.local_bound(net, x, 0.1).value, ll.certify_in_stages(net, x, y, 0.01, tolerance=1e-2).holds))
        ll.certified_radius(net, x[:1], y[:1])
        assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, *found))
    alone = torch.cat([ll.local_bound(net, x[k : k + 1], 0.1).value for k in range(5)])
    torch.testing.assert_close(alone, found[0][0], rtol=2e-3, atol=0)


def test_other_matrices_and_other_masks_have_other_starts():
    torch.manual_seed(0)
    linear = LinearMap.dense(torch.randn(8, 8, dtype=torch.float64))
    other = LinearMap.dense(linear.weight.nextafter(torch.tensor(math.inf, dtype=torch.float64)))
    rows, columns = (side.expand(2, -1).clone() for side in ones(linear))
    rows[1, 3] = 0.5
    start = fresh_start(ScaledMap(linear, rows, columns))
    assert not torch.isclose(start[0], start[1]).any()
    assert not torch.isclose(start[:1], fresh_start(ScaledMap(other, *ones(other)))).any()
    assert torch.equal(start[:1], fresh_start(ScaledMap(linear, *ones(linear))))


def test_starts_are_uniform_on_the_sphere_of_what_is_left():
    linear = LinearMap.dense(torch.eye(6, dtype=torch.float64))
    rows = torch.ones(4000, 6, dtype=torch.float64)
    rows[:, 0] = torch.linspace(0.1, 1, 4000)
    columns = torch.ones(4000, 6, dtype=torch.float64)
    columns[:, 5] = 0
    start = fresh_start(ScaledMap(linear, rows, columns))
    assert (start[:, 5] == 0).all()
    torch.testing.assert_close(start[:, :5].mT.cov(), torch.eye(5, dtype=torch.float64), rtol=0, atol=0.1)
    assert start.mean(dim=0).abs().max() < 0.1


@pytest.mark.parametrize("start", ["null space", "smallest", "beside"])
def test_a_start_that_does_not_see_the_norm_is_no_bound_below_it(start, monkeypatch):
    top = torch.zeros(1, WIDTH, dtype=torch.float64)
    top[0, 0] = 1.0
    aside = torch.zeros_like(top)
    aside[0, -1] = 1.0
    given = {"null space": aside, "smallest": aside + 5e-324 * top, "beside": aside + 1e-12 * top}[start]
    monkeypatch.setattr("lliptools.norms.aposteriori.fresh_start", lambda scaled, number: given)
    diagonal = torch.full((WIDTH,), 0.5, dtype=torch.float64)
    diagonal[0], diagonal[-1] = 10.0, 0.0 if start == "null space" else 0.5
    linear = LinearMap.dense(torch.diag(diagonal))
    found = AposterioriNorm(delta=1e-9).bracket(linear, *ones(linear))[1].item()
    # Of "smallest" nothing can be known: that start has a probability far below delta.
    assert found >= (0.5 if start == "smallest" else 10.0)


@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("below", [0.5, 9.0, 9.99])
def test_what_rounding_does_to_the_process_is_enclosed(delta, below):
    """At starts whose share of the largest singular vector is just what the probability allows, and more."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64))[0]
    values = below * torch.rand(WIDTH, generator=generator, dtype=torch.float64)
    values[0], values[1] = 10.0, below
    linear = LinearMap.dense(rotation @ torch.diag(values) @ rotation.T)
    least = math.sqrt(math.pi * delta**2 / (2 * WIDTH))
    for share in (1.001, 3.0, 1e2):
        for number in range(3):
            rest = torch.randn(WIDTH, generator=generator, dtype=torch.float64)
            rest[0] = 0
            rest = rest / rest.norm() * math.sqrt(max(0.0, 1 - (share * least) ** 2))
            rest[0] = share * least * (-1) ** number
            process = GolubKahan(ScaledMap(linear, *ones(linear)), (rotation @ rest)[None])
            for steps in (1, 2, 3, 5, 10, 30):
                process.advance(steps)
                squared = bound_above(*process.tridiagonal(), np.array([WIDTH]), delta)
                assert math.sqrt(squared[0]) * process.scaled.scale.item() >= 10 * (1 - 1e-13)


@pytest.mark.parametrize("delta", [math.nan, math.inf, 0.0, -1.0, 1.0, 2.0, 1e-15])
def test_a_probability_that_is_none_is_refused(delta):
    linear = LinearMap.dense(torch.eye(4, dtype=torch.float64))
    with pytest.raises(ll.InvalidInput, match="delta"):
        AposterioriNorm(delta=delta)(linear, *ones(linear))


def test_numbers_that_are_not_finite_are_no_bound():
    diagonal = np.array([[1.0, np.nan], [1.0, 2.0], [np.inf, 1.0]])
    found = bound_above(diagonal, np.full((3, 2), 0.1), np.array([5, 5, 5]), 1e-9)
    assert np.isinf(found[[0, 2]]).all()
    assert 2 <= found[1] < np.inf


@pytest.mark.filterwarnings("error")
def test_a_space_of_unknown_dimension_has_no_bound():
    found = bound_above(np.ones((3, 2)), np.full((3, 2), 0.1), np.array([5, np.nan, np.inf]), 1e-9)
    assert np.isfinite(found[0])
    assert np.isinf(found[1:]).all()
