"""What float64 rounds away decides nothing: products that cancel, in every bound and in the search for the radius."""

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

import lliptools as ll

UPPER = {name: bound for name, bound in ll.BOUNDS.items() if name != "sampled"}
Y = torch.tensor([0])


def lin(w, b=None):
    weight = torch.tensor(w, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=b is not None).double()
    layer.weight.data = weight
    if b is not None:
        layer.bias.data = torch.tensor(b, dtype=torch.float64)
    return layer


THIRD = 1 / 3
SLOPE = 1 - 3 * Fraction(THIRD)  # of logit 1 − logit 0 below: what 3t − 1 is, and float64 says it is 0
CANCELS = nn.Sequential(lin([[THIRD], [1.0]]), lin([[3.0, -1.0], [0.0, 0.0]], [1.0, 0.0]))
# The same behind a unit that is clipped at 5: between 0 and 5 the slope is 3e17 · t − 1e17 = −5.55.
CLIPPED = nn.Sequential(
    lin([[1.0]]),
    ll.nets.ClippedReLU(torch.tensor([5.0], dtype=torch.float64), learnable=False),
    lin([[THIRD], [1.0]]),
    lin([[3e17, -1e17], [0.0, 0.0]], [10.0, 0.0]),
)


def margin(net, x):
    """Of class 0 over class 1 in exact arithmetic, for a network of one input."""
    h = [Fraction(x)]
    for layer in net:
        if isinstance(layer, nn.Linear):
            bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
            rows = zip(layer.weight.tolist(), bias, strict=True)
            h = [sum((Fraction(w) * v for w, v in zip(row, h, strict=True)), Fraction(b)) for row, b in rows]
        else:
            h = [min(max(v, Fraction(0)), Fraction(5)) for v in h]
    return h[0] - h[1]


@pytest.mark.parametrize("name", UPPER)
def test_a_product_that_cancels_in_float64_has_a_finite_radius(name):
    zero = torch.zeros(1, 1, dtype=torch.float64)
    distance = 1 / SLOPE
    assert margin(CANCELS, 2 * distance) < 0 < margin(CANCELS, distance / 2)
    radius = ll.certified_radius(CANCELS, zero, Y, bound=UPPER[name]).item()
    assert math.isfinite(radius)
    assert Fraction(radius) < distance
    assert not ll.certify(CANCELS, zero, Y, 2e17, bound=UPPER[name]).holds


@pytest.mark.parametrize("name", UPPER)
def test_a_product_that_cancels_behind_a_clip_is_not_certified_too_far(name):
    zero = torch.zeros(1, 1, dtype=torch.float64)
    assert margin(CLIPPED, 0) > 0 > margin(CLIPPED, 2.5)
    certificate = ll.certify(CLIPPED, zero, Y, 2.5, bound=UPPER[name])
    assert not certificate.holds
    assert certificate.worst_margin.item() <= margin(CLIPPED, 2.5)


@pytest.mark.parametrize("name", UPPER)
def test_a_network_that_is_constant_is_certified_everywhere(name):
    net = nn.Sequential(lin([[0.0], [0.0]], [1.0, 0.0]), nn.ReLU(), lin([[1.0, 0.0], [0.0, 1.0]]))
    radius = ll.certified_radius(net, torch.zeros(1, 1, dtype=torch.float64), Y, bound=UPPER[name])
    assert radius.isinf().all()


@pytest.mark.parametrize("name", UPPER)
def test_every_bound_says_the_same_of_its_arithmetic(name):
    net, x = CLIPPED, torch.zeros(1, 1, dtype=torch.float64)
    assert UPPER[name](net, x, 0.1).arithmetic == "float64, rounding not enclosed"
    assert ll.certify(net, x, Y, 0.1, bound=UPPER[name]).bound.arithmetic == "float64, rounding enclosed"
