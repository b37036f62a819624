"""The same function in plain layers, which the engine reads, and derived weights that are never stale."""

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets import Designed

L = ll.layers


NETS = {
    "dense": (lambda: nn.Sequential(
        L.SLLLinear(4, 6), nn.ReLU(), L.CPLLinear(4, 3, nn.Tanh()), L.NormalizedLinear(4, 3)), (4,)),
    "maps": (lambda: nn.Sequential(
        L.AOLLinear(4, 6), L.SpectralLinear(6, 5), L.CayleyLinear(5, 5), L.BROLinear(5, 7)), (4,)),
    "sandwich": (lambda: nn.Sequential(L.SandwichLinear(4, 6), nn.Sequential(L.SandwichLinear(6, 3))), (4,)),
    "conv": (lambda: nn.Sequential(
        L.PadChannels(2, 4), L.SLLConv2d(4, 5), L.AOLConv2d(4, 3, 2, 1), L.ScaledAvgPool2d(2)), (2, 7, 6)),
    "wide padding": (lambda: nn.Sequential(
        L.SLLConv2d(2, 3, 3, 4), L.CPLConv2d(2, 3, 2, 0), L.SpectralConv2d(2, 3, 4, 5)), (2, 6, 5)),
    "circular": (lambda: nn.Sequential(L.SLLConv2d(2, 3, 3, 1, "circular"), L.CPLConv2d(2, 4, 4, 1, "circular"),
                                       L.AOLConv2d(2, 3, 5, 1, "circular")), (2, 6, 5)),
    "strided": (lambda: nn.Sequential(
        L.SLLConv2d(2, 3, 3, 1, stride=2), L.CPLConv2d(2, 3, 1, 0, stride=3),
        L.AOLConv2d(2, 3, 3, 1, stride=2), L.SpectralConv2d(3, 2, 2, 1, stride=2)), (2, 7, 6)),
    "strided circular": (lambda: nn.Sequential(L.SLLConv2d(2, 3, 3, 1, "circular", stride=2),
        L.CPLConv2d(2, 3, 2, 0, "circular", stride=3),
        L.SLLConv2d(2, 3, 5, 1, "circular", stride=2)), (2, 7, 6)),
    "cayley": (lambda: nn.Sequential(
        L.CayleyConv2d(2, 3), L.CayleyConv2d(3, 2, 2), L.CayleyConv2d(2, 2, 4)), (2, 5, 6)),
    "residual": (lambda: nn.Sequential(
        ll.nets.Residual(nn.Sequential(L.SLLLinear(4, 5), nn.Linear(4, 4))), nn.Linear(4, 3)), (4,)),
}  # fmt: skip


def randomised(net):
    for parameter in net.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NETS)
def test_same_function_and_readable(name, dtype):
    make, shape = NETS[name]
    net = randomised(make().to(dtype)).eval()
    plain = L.export(net, shape)
    assert not any(isinstance(part, Designed) for part in plain.modules())
    assert not plain.training
    x = torch.randn(5, *shape, dtype=dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    with torch.no_grad():
        torch.testing.assert_close(plain(x), net(x), rtol=tolerance, atol=tolerance)
        wanted = plain(x).flatten(1).double()
        torch.testing.assert_close(
            ll.nets.forward(ll.nets.read_blocks(plain, shape), x.double()), wanted, rtol=tolerance, atol=tolerance
        )
    lower = ll.sampled_bound(net, x[:2], 0.1, samples=16, steps=2).value
    for read in (net, plain):
        assert (lower <= ll.local_bound(read, x[:2], 0.1).value * (1 + max(tolerance, 1e-9))).all()


@pytest.mark.parametrize("name", ["dense", "conv", "circular", "cayley", "sandwich"])
def test_an_export_does_not_follow(name):
    make, shape = NETS[name]
    net = make().double()
    plain, x = L.export(net, shape), torch.randn(3, *shape).double()
    before = plain(x)
    randomised(net)
    assert torch.equal(plain(x), before)
    plain(x).sum().backward()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_without_a_shape_where_none_is_needed():
    net = nn.Sequential(
        L.SLLConv2d(2, 3), L.CPLConv2d(2, 3, 3, 1, "circular"), L.AOLConv2d(2, 3, 3, 1, stride=2), L.PadChannels(3, 4)
    )
    plain = L.export(net.double())
    for size in ((7, 6), (4, 9)):
        x = torch.randn(3, 2, *size).double()
        torch.testing.assert_close(plain(x), net(x), rtol=1e-12, atol=1e-12)


def test_one_layer():
    layer = L.SLLLinear(3, 4).double()
    plain, x = L.export(layer), torch.randn(3, 3).double()
    assert type(plain) is ll.nets.Residual
    torch.testing.assert_close(plain(x), layer(x), rtol=1e-12, atol=1e-12)
    assert type(L.export(L.AOLLinear(3, 4))) is nn.Linear
    for block in (nn.Linear(3, 3), L.AOLLinear(3, 3)):  # a branch of one layer
        net = ll.nets.Residual(block, nn.Linear(3, 3)).double()
        torch.testing.assert_close(ll.export(net, (3,))(x), net(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "layer", [L.CayleyConv2d(2, 2), L.SLLConv2d(2, 3, stride=2), L.CPLConv2d(2, 3, stride=2)], ids=str
)
def test_a_shape_that_is_needed_and_missing(layer):
    with pytest.raises(ll.InvalidInput, match="input_shape"):
        L.export(layer)
    with pytest.raises(ll.InvalidInput, match="input_shape"):
        L.export(nn.Sequential(nn.Identity(), layer))


def test_layers_inside_a_module_of_ones_own():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = L.SLLLinear(3, 4)

        def forward(self, x):
            return 2 * self.layer(x)

    with pytest.raises(ll.UnsupportedLayer, match="SLLLinear inside Own"):
        L.export(nn.Sequential(Own()))


LAYERS = [
    L.SLLLinear(3, 4), L.CPLLinear(3, 4), L.AOLLinear(3, 4), L.SpectralLinear(3, 4), L.CayleyLinear(3, 4),
    L.BROLinear(3, 4),
    L.SandwichLinear(3, 4), L.NormalizedLinear(3, 4), L.SLLConv2d(3, 4), L.CPLConv2d(3, 4), L.AOLConv2d(3, 4),
    L.SpectralConv2d(3, 4), L.CayleyConv2d(3, 4),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_no_weight_is_stale(layer):
    shape = (3,) if layer.axes == 1 else (3, 4, 5)
    layer = layer.double().eval()
    x = torch.randn(4, *shape).double()
    with torch.no_grad():
        layer(x)
        for name, parameter in layer.named_parameters():
            if name == "log_psi":
                layer.bias.data.normal_()
            before, bound = layer(x), ll.local_bound(nn.Sequential(layer), x, 0.1)
            parameter.data.add_(0.5 * torch.randn_like(parameter))  # past every counter of versions
            assert not torch.equal(layer(x), before), name
            blocks = ll.nets.read_blocks(nn.Sequential(layer), shape)
            torch.testing.assert_close(ll.nets.forward(blocks, x), layer(x).flatten(1), rtol=1e-12, atol=1e-12)
            assert bound.kind == "upper"
        layer.load_state_dict({name: 0.7 * value for name, value in layer.state_dict().items()})
        blocks = ll.nets.read_blocks(nn.Sequential(layer), shape)
        torch.testing.assert_close(ll.nets.forward(blocks, x), layer(x).flatten(1), rtol=1e-12, atol=1e-12)
