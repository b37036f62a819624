"""Bounds and certificates are the same numbers on every device."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.layers import lipschitz_mlp
from lliptools.nets import ClippedReLU, MaxMin, Residual

pytestmark = pytest.mark.slow

EPS = 0.05


def dense():
    return ll.nets.mlp(2, 8, 6, 3), (2,)


def clipped():
    return ll.nets.mlp(6, 12, 10, 4, activation="clipped_relu", theta=0.3), (6,)


def maxmin():
    return ll.nets.mlp(6, 12, 10, 4, activation="clipped_maxmin", theta=0.3), (6,)


def convolutions():
    layers = (
        *(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), ClippedReLU(torch.full((6, 1, 1), 0.3))),
        *(nn.Conv2d(6, 8, 4, stride=2, padding=1), nn.AvgPool2d(2), MaxMin()),
        *(nn.Flatten(), nn.Linear(32, 12), nn.Tanh(), nn.Linear(12, 4)),
    )
    return nn.Sequential(*layers).eval(), (2, 8, 8)


def wide_convolution():
    """Too large for eigenvalues: the Fourier bound and the a-posteriori one."""
    return nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 4)), (2, 12, 12)


def windows():
    """Borders that repeat pixels, windows, and activations that fall before they grow."""
    layers = (
        *(nn.Conv2d(2, 6, 3, padding=1, padding_mode="reflect"), nn.PReLU(6), nn.MaxPool2d(3, 2, 1), nn.GELU()),
        *(nn.Upsample(scale_factor=2), nn.Conv2d(6, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d((2, 4)), nn.Flatten()),
        nn.Linear(32, 4),
    )
    return nn.Sequential(*layers).eval(), (2, 8, 8)


def residual():
    inside = nn.Sequential(nn.Linear(9, 7), nn.LeakyReLU(0.1), nn.Linear(7, 9))
    return nn.Sequential(nn.Linear(4, 9), ClippedReLU(0.4), Residual(inside), nn.Linear(9, 3)), (4,)


def designed():
    return lipschitz_mlp("sll", 6, 4, depth=3), (6,)


def orthogonal():
    return lipschitz_mlp("cayley", 6, 4, depth=3), (6,)


NETWORKS = (dense, clipped, maxmin, convolutions, wide_convolution, windows, residual, designed, orthogonal)


def pair(build, device, samples=3):
    """The network and points here, and the same there, and labels that the network gives."""
    torch.manual_seed(0)
    net, shape = build()
    net = net.double()
    x = torch.rand(samples, *shape, dtype=torch.float64)
    return net, x, deepcopy(net).to(device), x.to(device), net(x).argmax(dim=1)


def close(there, here, rtol=1e-9):
    torch.testing.assert_close(there.cpu(), here, rtol=rtol, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("rung", ["global", "local", "path", "merged", "tightest"])
@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_every_upper_bound(device, build, rung):
    net, x, net_there, x_there, _ = pair(build, device)
    here, found = ll.bounds.BOUNDS[rung](net, x, EPS), ll.bounds.BOUNDS[rung](net_there, x_there, EPS)
    assert found.value.device.type == device.type
    assert found.kind == here.kind
    close(found.value, here.value)
    for there_block, block in zip(found.blocks, here.blocks, strict=True):
        close(there_block.norm, block.norm)
        close(there_block.box.lower, block.box.lower)
        close(there_block.slope, block.slope)


def test_the_truth_from_both_sides(device):
    net, x, net_there, x_there, y = pair(dense, device)
    close(ll.bounds.exact_bound(net_there, x_there, EPS).value, ll.bounds.exact_bound(net, x, EPS).value)
    distance = ll.bounds.adversarial_distance
    for found, here in zip(distance(net_there, x_there, y.to(device), 2.0), distance(net, x, y, 2.0), strict=True):
        close(found, here)
    # The search moves to the best of its samples, which rounding can change.
    close(ll.bounds.sampled_bound(net_there, x_there, EPS).value, ll.bounds.sampled_bound(net, x, EPS).value, rtol=1e-6)


@pytest.mark.parametrize("build", [clipped, convolutions, designed], ids=lambda build: build.__name__)
def test_certificates(device, build):
    net, x, net_there, x_there, y = pair(build, device)
    y_there = y.to(device)
    one, other = ll.certify(net_there, x_there, y_there, EPS), ll.certify(net, x, y, EPS)
    close(one.worst_margin, other.worst_margin)
    assert one.holds.tolist() == other.holds.tolist()
    stages = ll.certify_in_stages(net_there, x_there, y_there, EPS)
    assert stages.holds.tolist() == ll.certify_in_stages(net, x, y, EPS).holds.tolist()
    pgd = partial(ll.attacks.pgd, eps=EPS, steps=2, restarts=2)
    close(pgd(net_there, x_there, y_there), pgd(net, x, y))


@pytest.mark.gpu
@pytest.mark.parametrize("build", [clipped, convolutions, designed], ids=lambda build: build.__name__)
def test_radii_and_tables(gpu, build):
    net, x, net_there, x_there, y = pair(build, gpu)
    y_there = y.to(gpu)
    close(ll.certified_radius(net_there, x_there, y_there), ll.certified_radius(net, x, y))
    assert ll.certified_accuracy(net_there, x_there, y_there, EPS) == ll.certified_accuracy(net, x, y, EPS)


@pytest.mark.gpu
def test_half_precision_of_products_changes_no_certificate(gpu):
    """TF32 is for float32, and certificates are computed in float64, also for a float32 network."""
    before = torch.get_float32_matmul_precision()
    _, _, net, x, y = pair(convolutions, gpu)
    net, found = net.float(), []
    try:
        for precision, allowed in (("highest", False), ("high", True), ("medium", True)):
            torch.set_float32_matmul_precision(precision)
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=allowed):
                found.append((ll.local_bound(net, x, EPS).value, ll.certify(net, x, y.to(gpu), EPS).worst_margin))
    finally:
        torch.set_float32_matmul_precision(before)
    for value, margin in found[1:]:
        assert torch.equal(value, found[0][0])
        assert torch.equal(margin, found[0][1])


def test_what_differs_is_named(device, monkeypatch):
    """Also where a network begins with layers that have no parameters, and so no device."""
    net = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.Tanh()).double().to(device)
    monkeypatch.setattr(nn.Tanh, "forward", lambda layer, z: z.sin())
    with pytest.raises(ll.UnsupportedLayer, match=r"layer 3 \(Tanh\)"):
        ll.local_bound(net, torch.rand(2, 2, 4, 4, dtype=torch.float64).to(device), EPS)
