import pytest
import torch
from networks import NETWORKS, points
from torch import nn

import lliptools as ll
from lliptools.nets import LinearMap, fold, forward, mlp, operators, read_blocks
from lliptools.nets.composition import composed


def test_blocks_compute_the_network():
    for name, make in NETWORKS.items():
        net = make()
        x = points(net)
        blocks = read_blocks(net, x.shape[1:])
        expected = net.double()(x.double())
        torch.testing.assert_close(forward(blocks, x.double()), expected, rtol=1e-10, atol=1e-12)
        assert blocks[-1].activation is None
        plain = [block for block in blocks[:-1] if not block.inner]
        assert all(block.activation is not None for block in plain) or "residual" in name


def test_images_are_flattened():
    net = torch.nn.Sequential(torch.nn.Flatten(), *mlp(12, 5, 3))
    x = torch.randn(2, 3, 2, 2)
    torch.testing.assert_close(forward(read_blocks(net, x.shape[1:]), x.flatten(1).double()).float(), net(x))


def test_fold_is_the_identity():
    x = torch.randn(5, 4, dtype=torch.float64)
    assert torch.equal(fold(4, 3)(x), x)


def test_mlp_has_one_threshold_a_unit():
    net = mlp(3, 5, 4, activation="clipped_relu", theta=0.2)
    assert net[1].theta.shape == (5,)
    assert [type(layer).__name__ for layer in net] == ["Linear", "ClippedReLU", "Linear"]


def test_a_layer_of_several_operators_is_refused():
    one = LinearMap.dense(torch.eye(2, dtype=torch.float64))
    nothing = LinearMap.identity(torch.Size([2]), torch.zeros((), dtype=torch.float64))
    with pytest.raises(ll.UnsupportedLayer, match="one operator each"):
        composed(one, nothing)


def test_a_network_that_ends_in_means_is_read_in_few_passes(monkeypatch):
    """16 channels of 32 × 32 pixels and 10 outputs: 10 rows are pushed back, not 16,384 columns forward."""
    net = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).double()
    passed = []
    for name in ("conv2d", "conv2d_input"):
        convolve = getattr(operators, name)
        samples = (lambda *args: len(args[0])) if name == "conv2d" else (lambda *args: args[0][0])
        monkeypatch.setattr(
            operators, name, lambda *args, f=convolve, n=samples: (passed.append(n(*args)), f(*args))[1]
        )
    linear = ll.nets.read_blocks(net, torch.Size([16, 32, 32]))[-1].linear
    assert 0 < sum(passed) <= 10 * 10
    assert linear.matrix_error is not None
    torch.testing.assert_close(linear.weight[:, ::1024] * 1024, net[3].weight.double())
