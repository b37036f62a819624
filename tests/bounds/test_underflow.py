"""Products that are next to 0, and what is multiplied with them afterwards: nothing that is not 0 counts as 0."""

import functools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import lliptools as ll

UPPER = {name: bound for name, bound in ll.BOUNDS.items() if name != "sampled"}


def lin(w, b=None):
    weight = torch.tensor(w, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=b is not None).double()
    layer.weight.data = weight
    if b is not None:
        layer.bias.data = torch.tensor(b, dtype=torch.float64)
    return layer


def conv(w):
    layer = nn.Conv2d(1, 1, 1, bias=False).double()
    layer.weight.data.fill_(w)
    return layer


def refuses_or_not(claim, *arguments, **keywords):
    """What holds, False where the claim is refused."""
    try:
        return claim(*arguments, **keywords).holds.item()
    except (ll.InvalidInput, ll.UnsupportedLayer):
        return False


def value_of(bound, *arguments):
    """The value, inf where it is refused."""
    try:
        return bound(*arguments).value.item()
    except (ll.InvalidInput, ll.UnsupportedLayer):
        return math.inf


POINT = torch.zeros(1, 1, dtype=torch.float64)


@pytest.mark.parametrize("name", UPPER)
def test_a_batch_norm_whose_factor_underflows(name):
    norm = nn.BatchNorm1d(1).double().eval()
    norm.running_var.fill_(1e300)
    norm.weight.data.fill_(1e-200)
    net = nn.Sequential(norm, lin([[1e200]]), nn.LeakyReLU(1.0), lin([[1e200], [0.0]], [0.0, 0.5]))
    assert not refuses_or_not(ll.certify, net, POINT, torch.tensor([1]), 1.0, bound=UPPER[name])
    assert value_of(UPPER[name], net, POINT, 1.0) >= 1e49


@pytest.mark.parametrize("name", UPPER)
def test_a_slope_times_a_weight_of_the_last_layer(name):
    last = lin([[1e-200], [0.0]], [1e-195 + 1e-205, 0.0])
    net = nn.Sequential(lin([[1e100]], [-1e305]), nn.LeakyReLU(1e-300), last)
    exact = Fraction(1e-200) * Fraction(1e-300) * (Fraction(1e100) * Fraction(-1e200) + Fraction(-1e305))
    assert exact + Fraction(1e-195 + 1e-205) < 0
    assert not refuses_or_not(ll.certify, net, POINT, torch.tensor([0]), 1e200, bound=UPPER[name])


@pytest.mark.parametrize("activation", [nn.LeakyReLU(1e-300), nn.Sigmoid()])
@pytest.mark.parametrize("name", UPPER)
def test_a_slope_times_a_weight_inside(name, activation):
    first = lin([[1e-200]]) if isinstance(activation, nn.LeakyReLU) else lin([[1e-200]], [-690.0])
    net = nn.Sequential(first, activation, lin([[1e300]]), nn.LeakyReLU(1.0), lin([[1e300]]))
    x = torch.tensor([[-1.0]], dtype=torch.float64)
    assert value_of(UPPER[name], net, x, 0.5) >= 0.99e100


@pytest.mark.parametrize("name", UPPER)
def test_a_bias_of_merged_layers(name):
    layers = lin([[1e100]], [1e-200]), lin([[1e-200]]), lin([[1e200]]), lin([[1e200], [0.0]], [0.0, 0.5])
    assert not refuses_or_not(ll.certify, nn.Sequential(*layers), POINT, torch.tensor([1]), 1e-302, bound=UPPER[name])


def test_values_of_layers_that_are_kept_apart():
    last = nn.Linear(48 * 48, 2).double()
    last.weight.data.zero_()
    last.weight.data[0, 0] = 1.0
    last.bias.data = torch.tensor([0.0, 0.5], dtype=torch.float64)
    net = nn.Sequential(conv(1e-200), conv(1e200), conv(1e200), nn.ReLU(), nn.Flatten(), last)
    x = torch.full((1, 1, 48, 48), 1e-200, dtype=torch.float64)
    for eps in (0.0, 1e-202):
        assert not refuses_or_not(ll.certify, net, x, torch.tensor([1]), eps)


@pytest.mark.parametrize("bound", [ll.local_bound, ll.global_bound])
def test_norms_of_layers_that_are_kept_apart(bound):
    layers = [conv(1e-200), conv(1e-200), nn.ReLU()]
    for _ in range(3):
        layers += [conv(1e200), nn.ReLU()]
    x = torch.ones(1, 1, 48, 48, dtype=torch.float64)
    assert value_of(bound, nn.Sequential(*layers[:-1]), x, 0.1) >= 0.99e200


@ll.bounds.errs("exact", encloses=True)
def size(linear, row_slope, column_slope):
    """The norm of 1×1 layers, without a rounding."""
    return linear.weight.abs()[0].expand(len(row_slope))


def test_products_of_norms_are_rounded_up():
    weight = 1.0879094301103474  # of random ones that whose power rounding lowers most
    layers = []
    for _ in range(300):
        layers += [lin([[weight]]), nn.LeakyReLU(1.0)]
    net, x = nn.Sequential(*layers, lin([[1.0], [0.0]])), torch.ones(1, 1, dtype=torch.float64)
    with ll.bounds.outward_rounding():
        bound = ll.local_bound(net, x, 1.0, norm=size)
        found = bound.hidden().item(), bound.value.item()
    assert min(map(Fraction, found)) >= Fraction(weight) ** 300


def test_what_wraps_a_marked_norm_or_derives_from_one_has_no_mark():
    @functools.wraps(ll.bounds.exact_norm)
    def smaller(*arguments):
        return 0.01 * ll.bounds.exact_norm(*arguments)

    class Smaller(ll.bounds.AposterioriNorm):
        def bracket(self, *arguments):
            return tuple(0.01 * end for end in super().bracket(*arguments))

    net = ll.nets.mlp(2, 4, 2).double()
    for norm in (smaller, Smaller()):
        assert ll.local_bound(net, torch.zeros(1, 2), 0.1, norm=norm).kind == "estimate"


@pytest.mark.parametrize("eps", [[True], (True,), np.array([True]), np.array(True), torch.tensor(True), 1j, "1"])
def test_radii_that_are_no_numbers(eps):
    with pytest.raises(ll.InvalidInput, match="eps"):
        ll.local_bound(ll.nets.mlp(2, 4, 2), torch.zeros(1, 2), eps)


class FarOff(ll.nets.Monotone):
    """Writes over its input, and shows it beyond 100 only."""

    def forward(self, z):
        return z.sub_(4 * (z - 100).relu())

    def image(self, lower, upper):
        return -3 * upper.abs() - 400, upper.clamp_max(100.0)

    def slopes(self, lower, upper):
        return torch.where(upper > 100, -3.0, 1.0).to(lower), torch.where(lower < 100, 1.0, -3.0).to(lower)


def test_an_own_activation_that_writes_over_its_input_is_refused_wherever_it_shows():
    net = nn.Sequential(ll.nets.Residual(nn.Sequential(FarOff())), lin([[1.0], [0.0]], [4500.0, 0.0]))
    with pytest.raises(ll.InvalidInput, match="leaves z as it is"):
        ll.certify(net, POINT, torch.tensor([0]), 1000.0)


@pytest.mark.parametrize("name", ["_conv_forward", "_call_impl", "_compiled_call_impl", "forward"])
def test_methods_that_were_put_onto_a_layer_are_refused(name):
    layer = nn.Conv2d(1, 1, 1).double()
    setattr(layer, name, getattr(layer, name) or (lambda *inputs: inputs[0]))
    with pytest.raises(ll.UnsupportedLayer):
        ll.local_bound(nn.Sequential(layer, nn.Flatten()), torch.zeros(1, 1, 2, 2), 0.1)
