"""Designed layers as blocks of the engine: bounds between samples and guarantees, certificates, gradients."""

import copy
import math

import pytest
import torch
from networks import in_ball, jacobians, random_net
from torch import nn

import lliptools as ll

L = ll.layers
SLACK = 1 + 1e-9


NETS = {
    "sll, normalized": lambda: random_net(L.SLLLinear(3, 6), L.SLLLinear(3, 8), L.NormalizedLinear(3, 4)),
    "cpl between plain": lambda: random_net(nn.Linear(3, 5), L.CPLLinear(5, 6), nn.ReLU(), nn.Linear(5, 4)),
    "maps and relu": lambda: random_net(
        L.AOLLinear(3, 8), nn.ReLU(), L.SpectralLinear(8, 6), nn.ReLU(), L.CayleyLinear(6, 4)
    ),
    "maps after each other": lambda: random_net(
        L.BROLinear(3, 8), L.AOLLinear(8, 5), nn.Linear(5, 6), L.CayleyLinear(6, 4)
    ),
    "maxmin": lambda: random_net(
        L.CayleyLinear(3, 8), ll.nets.MaxMin(), L.BROLinear(8, 8), ll.nets.MaxMin(), nn.Linear(8, 4)
    ),
    "sandwich": lambda: random_net(L.SandwichLinear(3, 6), L.SandwichLinear(6, 5, nn.Tanh()), nn.Linear(5, 4)),
    "clipped inside": lambda: random_net(
        nn.Linear(3, 6), ll.nets.ClippedReLU(0.4), L.SLLLinear(6, 5, ll.nets.ClippedReLU(0.3)),
        L.NormalizedLinear(6, 4), seed=1,
    ),
    "smooth inside": lambda: random_net(
        L.SLLLinear(3, 6, nn.Softplus(threshold=40)), L.CPLLinear(3, 6, nn.ELU()), nn.Linear(3, 4)
    ),
    "nested": lambda: random_net(
        nn.Sequential(L.SLLLinear(3, 4), nn.Sequential(nn.Tanh(), L.SLLLinear(3, 4))), ll.nets.Residual(
            nn.Sequential(L.SLLLinear(3, 4), nn.Linear(3, 3))), L.NormalizedLinear(3, 4)
    ),
    "steep before": lambda: random_net(nn.LeakyReLU(3.0), L.SLLLinear(3, 6), nn.LeakyReLU(2.0), L.AOLLinear(3, 4)),
    "ends in a residual": lambda: random_net(nn.Linear(3, 5), nn.ReLU(), L.SLLLinear(5, 5)),
    "plain residual": lambda: random_net(
        nn.Linear(3, 3), nn.ReLU(), ll.nets.Residual(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))),
        nn.Tanh(), L.AOLLinear(3, 4),
    ),
    "images": lambda: random_net(
        nn.Linear(3, 32), nn.Unflatten(1, (2, 4, 4)), L.PadChannels(2, 3), L.SLLConv2d(3, 4),
        L.CPLConv2d(3, 2, stride=2), L.ScaledAvgPool2d(2), nn.Flatten(), L.SLLLinear(12, 8), L.NormalizedLinear(12, 4),
    ),
    "circular images": lambda: random_net(
        nn.Linear(3, 18), nn.Unflatten(1, (2, 3, 3)), L.SLLConv2d(2, 3, 2, 0, "circular"),
        L.AOLConv2d(2, 4, 3, 1, "circular"), nn.ReLU(), L.CayleyConv2d(4, 4),
        L.SpectralConv2d(4, 3, 3, 1, stride=2), nn.Flatten(), nn.Linear(12, 4),
    ),
}  # fmt: skip


@pytest.fixture(params=NETS)
def net(request):
    return NETS[request.param]()


def points(count=4):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_what_is_read_is_what_is_computed(net):
    x = 3 * torch.randn(50, 3).double()
    with torch.no_grad():
        torch.testing.assert_close(
            ll.nets.forward(ll.nets.read_blocks(net, (3,)), x), net(x).flatten(1), rtol=1e-12, atol=1e-12
        )


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.5, 5.0])
def test_bounds_in_their_order(net, eps):
    x = points()
    local, tightest, everywhere = ll.local_bound(net, x, eps), ll.tightest_bound(net, x, eps), ll.global_bound(net, x)
    lower = ll.sampled_bound(net, x, eps, samples=32, steps=5)
    assert (lower.value <= tightest.value * SLACK).all()
    assert (tightest.value <= local.value * SLACK).all()
    assert (local.value <= everywhere.value * SLACK).all()
    for rung in (ll.merged_bound, ll.bounds.path_bound):
        assert (lower.value <= rung(net, x, eps).value * SLACK).all()
    exact = copy.deepcopy(net)
    for k, center in enumerate(x):
        slopes = torch.linalg.matrix_norm(jacobians(exact, in_ball(center, eps, 20, seed=k)), 2)
        assert slopes.max() <= tightest.value[k] * SLACK


def test_boxes_hold_what_comes_through(net):
    x, eps = points(2), 0.3
    local, blocks = ll.local_bound(net, x, eps), ll.nets.read_blocks(net, (3,))
    for k, center in enumerate(x):
        h = in_ball(center, eps, 2_000, seed=k)
        with torch.no_grad():
            for block, bound in zip(blocks, local.blocks, strict=True):
                h = ll.nets.forward((block,), h)
                assert (h >= bound.output.lower[k] - 1e-10).all()
                assert (h <= bound.output.upper[k] + 1e-10).all()


def test_what_the_guarantee_is_worth():
    chain = random_net(*[L.SLLLinear(4, 9) for _ in range(10)])
    x = torch.randn(3, 4).double()
    assert (ll.global_bound(chain, x).value <= 1 + 1e-9).all()
    with ll.bounds.outward_rounding():
        enclosed = ll.global_bound(chain, x).value
    rounding = chain[0].chain((4,), torch.float64).rounding
    assert ((enclosed >= 1 + 10 * rounding) & (enclosed <= 1 + 1e-9)).all()
    plain = L.export(chain)
    assert (ll.global_bound(plain, x).value > 2).all()  # without what the layers vouch for
    mixed = random_net(L.CayleyLinear(4, 4), L.AOLLinear(4, 6), nn.Flatten(), L.SLLLinear(6, 3), L.SandwichLinear(6, 4))
    assert (ll.global_bound(mixed, x).value <= 1 + 1e-9).all()


def test_local_bounds_fall_below_the_guarantee():
    net = random_net(L.SLLLinear(3, 3), L.NormalizedLinear(3, 3))
    net[0].bias.data.fill_(5.0)  # all units are open: x − 2W T⁻¹Wᵀx
    x = points()
    tightest = ll.tightest_bound(net, 0.1 * x, 0.1)
    true = torch.linalg.matrix_norm(jacobians(net, 0.1 * x), 2)
    torch.testing.assert_close(tightest.value, true, rtol=1e-6, atol=0)


def test_pairwise_is_the_distance_of_the_rows():
    net = random_net(*[L.SLLLinear(5, 8) for _ in range(4)], L.NormalizedLinear(5, 4))
    x = torch.randn(6, 5).double()
    with torch.no_grad():
        logits, rows = net(x), net[-1].matrix()
    y = logits.argmax(dim=1)
    distance = (rows[y][:, None] - rows).norm(dim=2)
    torch.testing.assert_close(ll.global_bound(net, x).pairwise(y), distance, rtol=1e-9, atol=1e-12)
    margins = logits.gather(1, y[:, None]) - logits
    wanted = (margins / distance).masked_fill(distance == 0, math.inf).amin(dim=1)
    torch.testing.assert_close(ll.certified_radius(net, x, y, ll.global_bound), wanted, rtol=1e-5, atol=0)
    assert (ll.certified_radius(net, x, y) >= wanted * (1 - 1e-5)).all()


@pytest.mark.slow
def test_no_attack_breaks_a_certificate(net):
    x = points(8)
    with torch.no_grad():
        logits = net(x)
    if logits.dim() != 2:
        return
    y = logits.argmax(dim=1)
    radius = ll.certified_radius(net, x, y)
    assert (radius > 0).any()
    for k in range(len(x)):
        eps = min(float(radius[k]), 1e6)
        attacked = ll.attacks.pgd(net, x[k : k + 1], y[k : k + 1], eps, steps=20, restarts=2)
        assert ll.attacks.is_correct(net, attacked, y[k : k + 1]).all() or eps == 0
    with torch.no_grad():
        for eps in (0.05, 0.3):
            holds = ll.certify(net, x, y, eps).holds
            for k in holds.nonzero().flatten():
                assert (net(in_ball(x[k], eps, 500, seed=int(k))).argmax(dim=1) == y[k]).all()


def test_a_certificate_is_used_up():
    """Orthogonal layers leave distances as they are: the certified radius is the distance to the boundary."""
    net = random_net(L.CayleyLinear(3, 3), L.BROLinear(3, 3), L.NormalizedLinear(3, 2))
    x = points()
    with torch.no_grad():
        y, logits, rows = net(x).argmax(dim=1), net(x), net[-1].matrix()
    true = (logits[:, 0] - logits[:, 1]).abs() / (rows[0] - rows[1]).norm()
    torch.testing.assert_close(ll.certified_radius(net, x, y), true, rtol=1e-5, atol=0)


def test_local_bounds_give_gradients(net):
    bound = ll.local_bound(net, points(), 0.3, differentiable=True)
    (
        bound.value.sum() + bound.pairwise(torch.zeros(4, dtype=torch.int64)).sum() + bound.blocks[-1].box.upper.sum()
    ).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or "bias" in name or "theta" in name, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_do_not_follow_when_the_network_is_trained(dtype):
    net = NETS["images"]().to(dtype)
    x = torch.randn(5, 3).double()
    blocks, bound = ll.nets.read_blocks(net, (3,)), ll.local_bound(net, x.to(dtype), 0.1, differentiable=True)
    before = ll.nets.forward(blocks, x).detach().clone()
    pairs = bound.pairwise(torch.zeros(5, dtype=torch.int64)).detach().clone()
    for parameter in net.parameters():
        parameter.data.mul_(3.0).add_(1.0)
    assert torch.equal(ll.nets.forward(blocks, x), before)
    assert torch.equal(bound.pairwise(torch.zeros(5, dtype=torch.int64)), pairs)


def test_float32_networks():
    net = NETS["images"]().float()
    x = points().float()
    local, everywhere = ll.local_bound(net, x, 0.1), ll.global_bound(net, x)
    assert local.value.dtype == torch.float64
    assert (local.value <= everywhere.value * SLACK).all()
    exact = copy.deepcopy(net).double()
    for k, center in enumerate(x.double()):
        slopes = torch.linalg.matrix_norm(jacobians(exact, in_ball(center, 0.1, 20)), 2)
        assert slopes.max() <= local.value[k] * SLACK
    quick = ll.training.estimated_bound(net, x, 0.1, ll.bounds.exact_norm).value
    torch.testing.assert_close(quick.double(), local.value, rtol=1e-2, atol=1e-5)


def test_one_layer_alone_and_every_axis_of_a_batch():
    for layer, shape in ((L.SLLLinear(3, 4), (3,)), (L.SLLConv2d(3, 4), (3, 5, 5)), (L.CayleyConv2d(3, 2), (3, 5, 5))):
        x = torch.randn(2, 3, *shape)
        torch.testing.assert_close(layer(x)[1, 2], layer(x[1, 2]))
        assert layer(x[:0]).shape[0] == 0
        assert ll.global_bound(nn.Sequential(layer), x[0]).value.max() <= 1 + 1e-9
