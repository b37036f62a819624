import pytest
import torch
from networks import NETWORKS, points

import lliptools as ll
from lliptools.nets import LinearMap, fold, forward, mlp, read_blocks
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
