"""The pass of training finds what the pass of the theorems finds with the same boxes and norms."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds.estimated import estimated_bound
from lliptools.domains import Light
from lliptools.layers import lipschitz_mlp
from lliptools.nets import ClippedReLU, Residual
from lliptools.training import Certified, SharedNorm
from lliptools.training.norms import _leading


def convolutions():
    layers = (
        *(nn.Conv2d(2, 6, 3, padding=1), ClippedReLU(torch.full((6, 1, 1), 0.3))),
        *(nn.Conv2d(6, 8, 4, stride=2, padding=1), nn.AvgPool2d(2), ll.nets.ClippedMaxMin(0.3, -0.3)),
        *(nn.Flatten(), nn.Linear(32, 12), nn.Tanh(), nn.Linear(12, 5)),
    )
    return nn.Sequential(*layers), (2, 8, 8)


def residual():
    inside = nn.Sequential(nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 9))
    return nn.Sequential(nn.Linear(4, 9), ClippedReLU(0.4), Residual(inside), nn.Linear(9, 3)), (4,)


def linear():
    return nn.Sequential(nn.Linear(4, 3)), (4,)


def designed():
    return lipschitz_mlp("sll", 6, 4, depth=3), (6,)


NETWORKS = (convolutions, residual, linear, designed)


def started(build):
    torch.manual_seed(0)
    net, shape = build()
    return net.double(), torch.rand(5, *shape, dtype=torch.float64)


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_the_local_bound(build, graph):
    net, x = started(build)
    y = net(x).argmax(dim=1)
    found = estimated_bound(net, x, 0.1, SharedNorm(3), graph=graph)
    usual = ll.local_bound(net, x, 0.1, domain=Light, norm=SharedNorm(3), differentiable=True)
    assert found.kind == usual.kind == "estimate"
    torch.testing.assert_close(found.value, usual.value)
    torch.testing.assert_close(found.outputs, net(x))
    torch.testing.assert_close(found.pairwise(y), usual.pairwise(y))
    torch.testing.assert_close(found.hidden(), usual.hidden())
    assert torch.equal(found.eps, usual.eps)
    for one, other in zip(found.blocks[:-1], usual.blocks[:-1], strict=True):
        torch.testing.assert_close(one.box.lower, other.box.lower)
        torch.testing.assert_close(one.box.upper, other.box.upper)
        assert one.box.lower.requires_grad == graph
        torch.testing.assert_close(one.slope, other.slope)
        torch.testing.assert_close(one.radius, other.radius)
    if not graph:
        return
    gradients = [
        torch.autograd.grad(bound.value.sum(), list(net.parameters()), allow_unused=True) for bound in (found, usual)
    ]
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_the_global_bound_strikes_nothing(build):
    net, x = started(build)
    y = net(x).argmax(dim=1)
    found = estimated_bound(net, x, 0.1, SharedNorm(40), is_global=True)
    truth = ll.global_bound(net, x, 0.1)
    assert found.value.shape == (5,)
    torch.testing.assert_close(found.value, truth.value, rtol=1e-3, atol=0)
    torch.testing.assert_close(found.pairwise(y), truth.pairwise(y), rtol=1e-3, atol=0)
    torch.testing.assert_close(found.outputs, net(x))


def test_a_unit_that_never_fires_counts_in_the_global_norm():
    net = nn.Sequential(nn.Linear(1, 2), ClippedReLU(1.0), nn.Linear(2, 1), ClippedReLU(1.0), nn.Linear(1, 1)).double()
    for layer in net[::2]:
        layer.weight.data.fill_(1.0)
        layer.bias.data.fill_(0.0)
    net[2].bias.data.fill_(-5.0)  # of outputs in [0, 2]
    found = estimated_bound(net, torch.zeros(1, 1, dtype=torch.float64), 0.1, SharedNorm(3), is_global=True)
    assert found.value.item() == pytest.approx(2.0)


def test_it_certifies_nothing():
    net, x = started(residual)
    with pytest.raises(ll.InvalidInput, match="estimate"):
        ll.certify(
            net, x, net(x).argmax(dim=1), 0.1, bound=lambda *args, **_: estimated_bound(*args[:2], 0.1, SharedNorm())
        )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_shows_in_the_loss(value):
    net, x = started(convolutions)
    objective, y = Certified(0.1), torch.zeros(5, dtype=torch.int64)
    broken = deepcopy(net)
    broken[8].weight.data[0, 0] = value
    assert objective(net, x, y, 1.0, SharedNorm()).isfinite()
    assert not objective(broken, x, y, 1.0, SharedNorm()).isfinite()
    assert not objective(net, x.index_fill(0, torch.tensor([2]), math.nan), y, 1.0, SharedNorm()).isfinite()


def test_the_leading_eigenvector_of_tridiagonals():
    generator = torch.Generator().manual_seed(0)
    for size, apart in ((2, 0.5), (3, 0.5), (7, 0.5), (31, 0.5), (3, 1e-3), (7, 1e-3), (31, 1e-3), (7, 1e-7)):
        matrix = torch.diag_embed(1 - 2 * apart * torch.rand(200, size, generator=generator))
        beside = apart * torch.rand(200, size - 1, generator=generator)
        matrix = matrix + torch.diag_embed(beside, offset=1) + torch.diag_embed(beside, offset=-1)
        vector = _leading(matrix)
        assert (vector >= 0).all()
        quotient = (vector * (matrix @ vector[:, :, None])[:, :, 0]).sum(dim=1) / vector.square().sum(dim=1)
        largest = torch.linalg.eigvalsh(matrix.double())[:, -1].float()
        assert ((1 - 2e-5) * largest <= quotient).all()
        assert (quotient <= (1 + 1e-6) * largest).all()
    for scale in (1e-12, 1e12):  # of squares of norms
        torch.testing.assert_close(_leading(scale * matrix), vector, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("steps", [2, 6, 30])
def test_the_norm_of_what_stretches_nothing(steps):
    """All eigenvalues are the same, or nearly so."""
    generator = torch.Generator().manual_seed(0)
    for size, moved in ((16, 0.0), (16, 1e-6), (64, 1e-3), (64, 3e-2)):
        matrix = torch.linalg.qr(torch.randn(size, size, generator=generator)).Q
        matrix = matrix + moved * torch.randn(size, size, generator=generator)
        one = torch.ones(3, size)
        found = SharedNorm(steps)(ll.nets.LinearMap.dense(matrix), one, one)
        truth = torch.linalg.matrix_norm(matrix.double(), 2).float()
        assert (found <= truth * (1 + 1e-5)).all()
        assert (found >= truth * (1 - 10 * moved - 1e-5)).all()
