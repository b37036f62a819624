"""Inequalities on a grid of networks × points × radii: samples ≤ local ≤ global, boxes hold, bounds grow with eps."""

import copy

import pytest
import torch
from networks import NETWORKS, RADII, in_ball, jacobians, points
from torch import nn

import lliptools as ll
from lliptools.bounds.merged import FULL
from lliptools.domains import Ball, Interval

pytestmark = pytest.mark.slow

SLACK = 1 + 1e-9  # float64 rounding of the comparison itself


@pytest.fixture(params=NETWORKS)
def net(request):
    return NETWORKS[request.param]()


@pytest.mark.parametrize("eps", RADII)
def test_local_lies_between_sampled_slopes_and_global(net, eps):
    x = points(net)
    local, everywhere = ll.local_bound(net, x, eps), ll.global_bound(net, x)
    exact = copy.deepcopy(net).double()
    samples = torch.cat([in_ball(center, eps, 40, seed=k) for k, center in enumerate(x)])
    slopes, outputs = jacobians(exact, samples).view(6, 40, -1, 3), exact(samples).view(6, 40, -1)
    assert (torch.linalg.matrix_norm(slopes, 2) <= local.value[:, None] * SLACK).all()
    # a difference of outputs loses up to 1e-13 of their size to rounding
    rounding = 1e-13 * (1 + outputs.abs().amax(dim=(1, 2), keepdim=True)[..., 0])
    changes, steps = (part.diff(dim=1).norm(dim=2) for part in (outputs, samples.view(6, 40, 3)))
    assert (changes <= local.value[:, None] * steps * SLACK + rounding).all()
    assert (local.value <= everywhere.value * SLACK).all()
    assert local.kind == everywhere.kind == "upper"
    assert local.failure_probability == 0.0


@pytest.mark.parametrize("domain", [Interval & Ball, FULL], ids=["default", "full"])
@pytest.mark.parametrize("eps", RADII)
def test_boxes_hold_every_sample(net, eps, domain):
    x = points(net, count=2)
    local = ll.local_bound(net, x, eps, domain=domain)
    blocks = ll.nets.read_blocks(net, x.shape[1:])
    for k, center in enumerate(x):
        h = in_ball(center, eps, 10_000)
        for bound, block in zip(local.blocks, blocks, strict=True):
            z = ll.nets.forward((block,), h) if block.inner else block.linear.apply(h)
            rounding = 1e-12 * (1 + z.abs().max())
            assert (z >= bound.box.lower[k] - rounding).all()
            assert (z <= bound.box.upper[k] + rounding).all()
            h = z if block.activation is None else block.activation(z)
            if block.activation is not None:
                constant = bound.slope[k] == 0
                assert (h[:, constant] - h[:1, constant]).abs().sum() == 0
                assert (h >= bound.output.lower[k] - rounding).all()
                assert (h <= bound.output.upper[k] + rounding).all()
            center_of_ball = _forward(blocks, local, block, center)
            reached = (h - center_of_ball).norm(dim=1).max()
            root = bound.slope[k].amax().sqrt().clamp_min(1.0)  # the radius is that of D^-½ times the change
            assert reached <= bound.radius[k] * bound.norm[k] * root * SLACK + rounding


def _forward(blocks, local, until, center):
    h = center.double()[None]
    for block in blocks:
        h = ll.nets.forward((block,), h)
        if block is until:
            return h
    raise AssertionError


def test_bound_grows_with_eps(net):
    x = points(net)
    values = torch.stack([ll.local_bound(net, x, eps).value for eps in RADII])
    assert (values[1:] >= values[:-1] / SLACK).all()
    pairs = torch.stack([ll.local_bound(net, x, eps).pairwise(torch.zeros(6, dtype=torch.int64)) for eps in RADII])
    assert (pairs[1:] >= pairs[:-1] / SLACK).all()


def all_vary(blocks):
    """Whether no unit is masked, inside of residual blocks neither."""
    return all((block.slope > 0).all() and all_vary(block.inner) for block in blocks)


def test_infinite_radius_is_the_global_bound_but_for_units_behind_a_clip(net):
    x = points(net)
    local, everywhere = ll.local_bound(net, x, torch.inf), ll.global_bound(net, x)
    assert (local.value <= everywhere.value).all()
    if all_vary(local.blocks):
        assert torch.equal(local.value, everywhere.value)


@pytest.mark.parametrize("eps", [0.01, 0.3])
def test_pairwise_bounds_the_margin(net, eps):
    x = points(net)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    local = ll.local_bound(net, x, eps)
    pairwise = local.pairwise(y)
    assert (pairwise <= 2**0.5 * local.value[:, None] * SLACK).all()
    assert (pairwise.gather(1, y[:, None]) == 0).all()
    exact = copy.deepcopy(net).double()
    samples = torch.cat([in_ball(center, eps, 40) for center in x])
    slopes = jacobians(exact, samples).view(6, 40, -1, 3)
    margins = slopes[torch.arange(6), :, y][:, :, None] - slopes
    assert (margins.norm(dim=3).amax(dim=1) <= pairwise * SLACK).all()


def test_a_batch_is_its_points(net):
    x, eps = points(net), torch.tensor([0.0, 0.01, 0.1, 0.2, 1.0, 5.0])
    batch = ll.local_bound(net, x, eps)
    for k in range(len(x)):
        alone = ll.local_bound(net, x[k : k + 1], float(eps[k])).value[0]
        torch.testing.assert_close(alone, batch.value[k], rtol=1e-12, atol=0)


def test_float64_whatever_the_network():
    net = NETWORKS["float32"]()
    bound = ll.local_bound(net, points(net), 0.1)
    assert bound.value.dtype == bound.blocks[0].box.lower.dtype == torch.float64
    assert not bound.value.requires_grad


def test_a_changed_norm_is_only_an_estimate():
    net = NETWORKS["relu"]()
    x = points(net)

    def frobenius(linear, row_slope, column_slope):
        return (row_slope[:, :, None] * linear.weight * column_slope[:, None]).flatten(1).norm(dim=1)

    bound = ll.local_bound(net, x, 0.1, norm=frobenius)
    assert bound.kind == "estimate"
    assert (bound.value >= ll.local_bound(net, x, 0.1).value).all()
    with pytest.raises(ll.InvalidInput, match='kind "estimate"'):
        ll.certify(net, x, torch.zeros(6, dtype=torch.int64), 0.1, bound=lambda *a: ll.local_bound(*a, norm=frobenius))
    marked = ll.bounds.errs("upper")(frobenius)
    assert ll.local_bound(net, x, 0.1, norm=marked).kind == "upper"


def test_a_changed_box_is_used():
    net = NETWORKS["relu"]()
    x = points(net)
    wider = ll.local_bound(net, x, 0.1, domain=ll.domains.Ball)
    assert wider.kind == "upper"
    assert (wider.value >= ll.local_bound(net, x, 0.1).value / SLACK).all()
    assert (wider.blocks[1].box.upper >= ll.local_bound(net, x, 0.1).blocks[1].box.upper).all()


def test_gradient_reaches_every_weight():
    net = NETWORKS["clipped"]()
    x, y = points(net), torch.zeros(6, dtype=torch.int64)
    bound = ll.local_bound(net, x, 0.1, differentiable=True)
    (bound.pairwise(y).sum() + bound.blocks[1].box.upper.sum()).backward()
    weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    assert all(weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any() for weight in weights)


def test_gradient_is_finite_where_everything_is_struck():
    net = NETWORKS["dead layer"]()
    bound = ll.local_bound(net, points(net), 0.1, differentiable=True)
    (bound.pairwise(torch.zeros(6, dtype=torch.int64)).sum() + bound.blocks[2].box.upper.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
