"""Max pooling: its box, what it reads, and every bound of networks that have it."""

import math

import pytest
import torch
from networks import in_ball, random_net
from torch import nn

import lliptools as ll
from lliptools.nets.pooling import MaxPool
from lliptools.nets.registry import read_activation

POOLS = {
    "tiles": (nn.MaxPool2d(2), (2, 4, 6)),
    "tiles and a rest": (nn.MaxPool2d((2, 3)), (1, 5, 7)),
    "overlapping": (nn.MaxPool2d(3, 2, 1), (2, 5, 6)),
    "every place": (nn.MaxPool2d(3, 1, 1), (1, 4, 4)),
    "dilated": (nn.MaxPool2d(2, 2, 1, dilation=3), (1, 6, 7)),
    "signals": (nn.MaxPool1d(3, 2), (2, 8)),
    "padded signals": (nn.MaxPool1d(4, 3, 2), (3, 7)),
}
BESIDE = {
    "alone": (None, None),
    "after relu": (nn.ReLU(), None),
    "after gelu": (nn.GELU(), None),
    "before tanh": (None, nn.Tanh()),
    "between two": (nn.LeakyReLU(2.0), ll.nets.ClippedReLU(0.7)),
}


def pool(name, beside):
    """The rule of a pooling layer with activations on both sides, and a shape that it takes."""
    layer, shape = POOLS[name]
    rule = read_activation(layer)
    rule.before, rule.after = (None if side is None else read_activation(side) for side in BESIDE[beside])
    return rule, shape


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("name", POOLS)
def test_the_change_is_no_longer_than_its_rows_and_columns_say(name, beside):
    rule, shape = pool(name, beside)
    draw = torch.Generator().manual_seed(0)
    for width in (0.05, 0.5, 3.0):
        z = torch.randn(200, *shape, dtype=torch.float64, generator=draw)
        lower = z - width * torch.rand(z.shape, dtype=torch.float64, generator=draw)
        upper = z + width * torch.rand(z.shape, dtype=torch.float64, generator=draw)
        one, other = (lower + (upper - lower) * torch.rand(z.shape, dtype=torch.float64, generator=draw) for _ in "ab")
        low, high = rule.image(lower, upper)
        assert low.shape[1:] == rule.out_shape(shape)
        for start, center in ((one, None), (z, (z, z))):
            assert ((low <= rule(start)) & (rule(start) <= high)).all()
            columns, rows = rule.slope(lower, upper, center), rule.row_slope(lower, upper, center)
            change = (rule(other) - rule(start)).square() / columns.clamp_min(1e-300)
            assert (change * (columns == 0)).sum() < 1e-12 / 1e-300  # those that are constant
            assert ((rule(other) - rule(start))[columns == 0].abs() < 1e-12).all()
            most = (rows * (other - start).square()).flatten(1).sum(dim=1)
            assert ((change * (columns > 0)).flatten(1).sum(dim=1) <= most * (1 + 1e-9) + 1e-12).all()


@pytest.mark.parametrize("name", POOLS)
def test_the_box_is_the_smallest_one(name):
    layer, shape = POOLS[name]
    lower = torch.randn(5, *shape).double()
    upper = lower + torch.rand(5, *shape).double()
    low, high = read_activation(layer).image(lower, upper)
    assert torch.equal(low, layer(lower))
    assert torch.equal(high, layer(upper))


@pytest.mark.parametrize("name", POOLS)
def test_pieces_change_with_the_winner(name):
    layer, shape = POOLS[name]
    rule, z = pool(name, "after relu")[0], torch.randn(1, *shape).double()
    assert rule.piece(z).shape == layer(z).shape
    for place in torch.randint(z.numel(), (20,)).tolist():
        moved = z.clone()
        moved.view(-1)[place] += 4.0
        same = rule.row_slope(z, z) == rule.row_slope(moved, moved)
        assert torch.equal(rule.piece(z), rule.piece(moved)) == same.all()


@pytest.mark.parametrize("name", POOLS)
def test_rows_are_counted_and_masked(name):
    """Everywhere: how many windows read a unit. At a point: how many it wins."""
    layer, shape = POOLS[name]
    rule, z = read_activation(layer), torch.randn(3, *shape).double()
    far = torch.full_like(z, torch.inf)
    total = torch.zeros_like(z)
    for window in rule._windows(shape):
        for unit in window.unique():
            total.view(3, -1)[:, unit] += 1
    assert torch.equal(rule.row_slope(-far, far), total)
    p = z.clone().requires_grad_()
    layer(p).sum().backward()
    assert torch.equal(rule.row_slope(z, z), p.grad)


def images(pooling, *beside):
    """A convolution, a pooling layer and what stands beside it, twice."""
    return random_net(
        nn.Conv2d(1, 3, 3, padding=1), *beside[0], pooling, *beside[1], nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip


NETS = {
    "relu, pool": lambda: images(nn.MaxPool2d(2), [nn.ReLU()], []),
    "pool, relu": lambda: images(nn.MaxPool2d(2), [], [nn.ReLU()]),
    "overlapping": lambda: images(nn.MaxPool2d(3, 2, 1), [nn.LeakyReLU(0.2)], [nn.Tanh()]),
    "maxmin": lambda: images(nn.MaxPool2d(2), [nn.Conv2d(3, 4, 1), ll.nets.MaxMin(), nn.Conv2d(4, 3, 1)], []),
    "first and last": lambda: random_net(nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(1, 3, 3), nn.MaxPool2d(1), nn.Flatten()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_bounds_of_networks(name):
    torch.manual_seed(0)
    net = NETS[name]()
    x = torch.randn(3, 1, 6, 6).double()
    y, everywhere = net(x).argmax(dim=1), ll.global_bound(net, x).value
    for eps in (0.01, 0.5):
        lower = ll.sampled_bound(net, x, eps).value
        found = {bound: ll.BOUNDS[bound](net, x, eps) for bound in ("local", "path", "merged", "tightest")}
        assert all((lower <= bound.value * (1 + 1e-9)).all() for bound in found.values())
        assert (found["local"].value <= everywhere * (1 + 1e-9)).all()
        with ll.bounds.outward_rounding():
            centred = {bound: ll.BOUNDS[bound](net, x, eps, centred=True) for bound in found}
        for k, center in enumerate(x):
            samples = in_ball(center.flatten(), eps, 300, seed=k).view(-1, 1, 6, 6)
            far = (samples - center).flatten(1).norm(dim=1)
            moved = (net(samples) - net(center[None])).norm(dim=1)
            for bound in centred.values():
                assert (moved <= bound.value[k] * far * (1 + 1e-9) + 1e-12).all()
    J = torch.stack([torch.autograd.functional.jacobian(lambda p: net(p[None])[0], p).flatten(1) for p in x])
    near = ll.merged_bound(net, x, 1e-9).value
    assert ((near / torch.linalg.matrix_norm(J, 2) - 1).abs() < 1e-6).all()
    assert (ll.certified_radius(net, x, y) > 0).all()
    assert ll.certify_in_stages(net, x, y, 1e-4).holds.all()
    with pytest.raises(ll.UnsupportedLayer, match="mixes units"):
        ll.exact_bound(net, x, 0.1)


def test_a_unit_that_cannot_win_masks_its_row():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Unflatten(1, (1, 2)), nn.MaxPool1d(2), nn.Flatten()).double()
    net[0].weight.data = torch.diag(torch.tensor([1.0, 5.0])).double()
    x = torch.tensor([[10.0, 0.0]]).double()
    assert ll.local_bound(net, x, 0.5).value.item() == pytest.approx(1.0, rel=1e-9)
    assert ll.local_bound(net, x, 3.0).value.item() == pytest.approx(5.0, rel=1e-9)
    assert ll.global_bound(net, x).value.item() == pytest.approx(5.0, rel=1e-9)
    overlapping = nn.Sequential(nn.Unflatten(1, (1, 4)), nn.MaxPool1d(2, 1), nn.Flatten()).double()
    assert ll.global_bound(overlapping, torch.zeros(1, 4)).value.item() == pytest.approx(math.sqrt(2), rel=1e-9)


def test_training_and_reading():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    loss = ll.training.Certified(0.1)(net, x, y, 0.5, ll.training.SharedNorm(2))
    loss.backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in net.parameters())
    read = ll.nets.read_program(torch.export.export(net.eval(), (x,)))
    assert torch.equal(read(x), net(x))
    for layer, said in (
        (nn.MaxPool2d(3, ceil_mode=True), "ceil_mode"),
        (nn.MaxPool2d(2, return_indices=True), "return_indices"),
        (nn.MaxPool2d(9), "9 or more"),
        (nn.MaxPool1d(2), "channels"),
        (nn.MaxPool2d(2, padding=1, dilation=9), "hold an input"),
    ):
        with pytest.raises((ll.UnsupportedLayer, ll.InvalidInput), match=said):
            ll.local_bound(nn.Sequential(layer, nn.Flatten()), x, 0.1)


def test_what_stands_beside_it_is_read_as_one_block():
    for name in ("relu, pool", "pool, relu", "overlapping"):
        blocks = ll.nets.read_blocks(NETS[name](), torch.Size([1, 6, 6]))
        assert [isinstance(block.activation, MaxPool) for block in blocks] == [True, False, False]
