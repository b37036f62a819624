"""What no theorem covers is refused, when a layer is built and when its attributes are changed later."""

import pickle

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets import Chain, Designed, Guarantee, forward, read_blocks
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Dense

L = ll.layers
RESIDUAL = [L.SLLLinear, L.CPLLinear, L.SandwichLinear, L.SLLConv2d, L.CPLConv2d]
CONV = [L.SLLConv2d, L.CPLConv2d, L.AOLConv2d, L.SpectralConv2d]


class Absolute(nn.Module):
    def forward(self, x):
        return x.abs()


class Falling(ll.nets.Activation):
    """−relu(z), with its rule: slopes −1 and 0."""

    def forward(self, z):
        return -z.relu()

    def image(self, lower, upper):
        return -upper.relu(), -lower.relu()

    def slopes(self, lower, upper):
        return -(upper > 0).to(upper), -(lower >= 0).to(lower)


class Twice(nn.ReLU):
    def forward(self, x):
        return 2 * x.relu()


STEEP = [
    nn.GELU(), nn.SiLU(), nn.Mish(), nn.SELU(), ll.nets.MaxMin(), ll.nets.ClippedMaxMin(0.3), Absolute(), Twice(),
    Falling(),
    nn.LeakyReLU(2.0), nn.LeakyReLU(-0.1), nn.LeakyReLU(float("nan")), nn.ELU(2.0), nn.ELU(-1.0), nn.PReLU(),
    nn.CELU(2.0),
    nn.Softplus(1.0, 0.0), nn.Softmax(dim=1), nn.Identity(), nn.Linear(4, 4), nn.Hardswish(), nn.Hardshrink(),
]  # fmt: skip


@pytest.mark.parametrize("activation", STEEP, ids=lambda a: str(a).replace(" ", ""))
@pytest.mark.parametrize("kind", RESIDUAL)
def test_activations_that_no_theorem_covers(kind, activation):
    with pytest.raises(ll.UnsupportedLayer):
        kind(3, 4, activation=activation)
    layer = kind(3, 4)
    layer.activation = activation
    with pytest.raises(ll.UnsupportedLayer):
        layer.lipschitz_bound()
    x = torch.zeros(1, 3) if layer.axes == 1 else torch.zeros(1, 3, 4, 4)
    with pytest.raises(ll.UnsupportedLayer):
        ll.local_bound(nn.Sequential(layer), x, 0.1)


def test_an_activation_that_is_changed_in_place():
    layer = L.SLLLinear(3, 4, nn.LeakyReLU(0.1))
    layer.activation.negative_slope = 2.0
    with pytest.raises(ll.UnsupportedLayer, match="2"):
        layer.lipschitz_bound()
    layer = L.SLLLinear(3, 4)
    layer.activation.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(ll.UnsupportedLayer, match="hook"):
        ll.global_bound(nn.Sequential(layer), torch.zeros(1, 3))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "same", None])
@pytest.mark.parametrize("kind", CONV)
def test_paddings_that_repeat_pixels(kind, mode):
    with pytest.raises(ll.UnsupportedLayer, match="padding_mode"):
        kind(3, 4, padding_mode=mode)
    layer = kind(3, 4)
    layer.padding_mode = mode
    with pytest.raises(ll.UnsupportedLayer, match="padding_mode"):
        ll.global_bound(nn.Sequential(layer), torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("kind", CONV)
def test_circular_outputs_larger_than_inputs(kind):
    for kernel, padding in ((1, 1), (2, 1), (3, 2), (4, 2)):
        with pytest.raises(ll.UnsupportedLayer, match="at most"):
            kind(3, 4, kernel, padding, "circular")
    layer = kind(3, 4, 3, 1, "circular")
    layer.padding = 2
    with pytest.raises(ll.UnsupportedLayer, match="at most"):
        layer.lipschitz_bound()
    layer = kind(3, 4, 3, 2)
    layer.padding_mode = "circular"
    with pytest.raises(ll.UnsupportedLayer, match="at most"):
        layer.lipschitz_bound()


@pytest.mark.parametrize("kind", CONV)
def test_a_kernel_of_another_size_put_in(kind):
    layer = kind(1, 1, 3, 1, "circular")
    layer.weight = nn.Parameter(torch.ones(1, 1, 2, 2))  # now 2·padding > kernel − 1: Jacobians of norm 2.6
    with pytest.raises(ll.InvalidInput, match="another size"):
        layer.lipschitz_bound()
    layer = kind(1, 1, 2, 0, "circular")
    layer.kernel_size, layer.padding = 3, 1
    with pytest.raises(ll.InvalidInput, match="another size"):
        ll.global_bound(nn.Sequential(layer), torch.zeros(1, 1, 4, 4))


def test_rows_that_were_put_in_count():
    layer = L.NormalizedLinear(3, 2).double()
    layer.weight, layer.bias = nn.Parameter(torch.ones(50, 3).double()), nn.Parameter(torch.zeros(50).double())
    bound = ll.global_bound(nn.Sequential(layer), torch.zeros(1, 3).double()).value
    assert bound >= 50**0.5 * (1 - 1e-12)
    assert float(layer.lipschitz_bound()) >= 50**0.5 * (1 - 1e-12)


def test_cayley_convolutions_on_a_torus_only():
    for options in ({"padding_mode": "zeros"}, {"padding": 0}, {"padding": 2}):
        with pytest.raises(ll.UnsupportedLayer):
            L.CayleyConv2d(2, 2, 3, **options)
    layer = L.CayleyConv2d(2, 2)
    layer.stride = 2
    with pytest.raises(ll.UnsupportedLayer, match="stride"):
        ll.global_bound(nn.Sequential(layer), torch.zeros(1, 2, 4, 4))
    with pytest.raises(ll.InvalidInput, match="at least 3"):
        L.CayleyConv2d(2, 2)(torch.zeros(1, 2, 2, 4))


BAD = [
    lambda: L.SLLLinear(0, 3), lambda: L.SLLLinear(3, 2.5), lambda: L.AOLLinear(3, True),
    lambda: L.BROLinear(3, 3, rank=4),
    lambda: L.BROLinear(3, 3, rank=0), lambda: L.SLLConv2d(3, 3, 0), lambda: L.SLLConv2d(3, 3, 3, -1),
    lambda: L.AOLConv2d(3, 3, 3, "same"), lambda: L.AOLConv2d(3, 3, stride=0), lambda: L.PadChannels(4, 3),
    lambda: L.ScaledAvgPool2d(0), lambda: L.SLLLinear(3, 4)(torch.zeros(1, 4)),
    lambda: L.AOLLinear(3, 4)(torch.zeros(1, 4)),
    lambda: L.SLLConv2d(3, 4)(torch.zeros(1, 2, 5, 5)), lambda: L.SLLConv2d(3, 4, 5, 0)(torch.zeros(1, 3, 4, 4)),
    lambda: L.ScaledAvgPool2d(5)(torch.zeros(1, 3, 4, 4)), lambda: L.PadChannels(3, 4)(torch.zeros(1, 2, 4, 4)),
    lambda: L.SandwichLinear(3, 4)(torch.zeros(1, 4)), lambda: L.CayleyConv2d(3, 4)(torch.zeros(1, 2, 4, 4)),
    lambda: L.SLLConv2d(1, 1, 5, 2, "circular")(torch.zeros(1, 1, 1, 5)),
]  # fmt: skip


@pytest.mark.parametrize("build", BAD)
def test_sizes_that_do_not_fit(build):
    with pytest.raises(ll.InvalidInput):
        build()


class Doubled(L.SLLLinear):
    def back(self):
        return 2 * super().back()


class OwnForward(L.AOLLinear):
    def forward(self, x):
        return 2 * super().forward(x)

    def lipschitz_bound(self):
        return Guarantee(1.0, "on nothing")


class Mine(L.AOLLinear):
    """Says itself what it guarantees."""

    def matrix(self):
        return 3 * super().matrix()

    def lipschitz_bound(self):
        return Guarantee(3.0, "on features")


@pytest.mark.parametrize("kind", [Doubled, OwnForward])
def test_a_guarantee_is_not_inherited(kind):
    with pytest.raises(ll.UnsupportedLayer, match="inherits"):
        ll.local_bound(nn.Sequential(kind(3, 4)), torch.zeros(1, 3), 0.1)


def test_a_guarantee_of_ones_own():
    net = nn.Sequential(Mine(3, 4)).double()
    assert 1.5 <= ll.global_bound(net, torch.zeros(1, 3).double()).value <= 3 + 1e-9


class Beside(Designed):
    """x + 2x, as one map beside its input."""

    def chain(self, shape, dtype):
        twice = Dense(2 * torch.eye(shape[0], dtype=dtype), shape)
        return Chain((LinearMap.of(twice),), skip=True)

    def lipschitz_bound(self):
        return Guarantee(3.0, "on features")


def test_one_map_beside_its_input_is_read_with_it():
    net, x = nn.Sequential(Beside()), torch.randn(2, 3).double()
    assert torch.equal(forward(read_blocks(net, x.shape[1:]), x), net(x))
    assert ll.local_bound(net, x, 0.1).value.tolist() == pytest.approx([3.0, 3.0], rel=1e-12)


@pytest.mark.parametrize("name", ["matrix", "chain", "rounding", "lipschitz_bound", "forward"])
def test_methods_that_are_replaced_on_the_object(name):
    layer = L.SpectralLinear(3, 3)
    setattr(layer, name, lambda *arguments: 5.0 * torch.eye(3))
    with pytest.raises(ll.UnsupportedLayer):
        ll.global_bound(nn.Sequential(layer), torch.zeros(1, 3))


def test_hooks_and_reparametrised_weights():
    layer = L.SLLLinear(3, 4)
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(ll.UnsupportedLayer, match="hook"):
        ll.global_bound(nn.Sequential(layer), torch.zeros(1, 3))
    layer = nn.utils.parametrizations.weight_norm(L.AOLLinear(3, 4))
    with pytest.raises(ll.UnsupportedLayer):
        ll.global_bound(nn.Sequential(layer), torch.zeros(1, 3))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["weight", "bias", "log_q"])
def test_parameters_that_are_not_finite(name, value):
    layer = L.SLLLinear(3, 4)
    getattr(layer, name).data.view(-1)[0] = value
    with pytest.raises(ll.InvalidInput, match="finite"):
        ll.global_bound(nn.Sequential(layer), torch.zeros(1, 3))


def test_guarantees_say_where_they_hold():
    assert str(L.SLLConv2d(3, 4, 3, 1, "circular").lipschitz_bound()).startswith("1 on images of every size, circular")
    assert "zero padding 2, stride 3" in str(L.AOLConv2d(3, 4, 3, 2, stride=3).lipschitz_bound())
    found = pickle.loads(pickle.dumps(L.SLLLinear(3, 4).lipschitz_bound()))
    assert (found, found.holds) == (1.0, "on features")
    assert L.SLLLinear(3, 4).lipschitz_bound() == 1
    assert "3, 4" in str(L.SLLLinear(3, 4))
    assert "padding=1" in str(L.SLLConv2d(3, 4))


def test_pairs_cannot_pass_for_an_elementwise_activation():
    pairs = ll.nets.MaxMin()
    with pytest.raises(AttributeError):
        pairs.elementwise = True
    vars(pairs)["elementwise"] = True
    with pytest.raises(ll.UnsupportedLayer):
        ll.layers.SLLLinear(3, 4, pairs)
