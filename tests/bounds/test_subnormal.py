"""Numbers below 2.2e-308, whose products and halves are rounded by up to half of themselves, and weights of 1e300."""

from fractions import Fraction

import torch
from torch import nn

import lliptools as ll
from lliptools.norms.sums import sums_norm

LEAST, WIDE = 5e-324, 1e300
STEP = LEAST * WIDE


def dense(weight, bias):
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    layer.weight.data, layer.bias.data = (torch.tensor(part, dtype=torch.float64) for part in (weight, bias))
    return layer


def certifies(net, x, eps, moved):
    """Whether class 0 certifies; at the point that was moved, in the ball, it is not the label."""
    x, moved = (torch.tensor([part], dtype=torch.float64) for part in (x, moved))
    assert net(x).argmax() == 0
    assert net(x + moved).argmax() == 1
    assert torch.linalg.vector_norm(moved / eps) <= 1
    return ll.certify(net, x, torch.tensor([0]), eps).holds.item()


def test_half_of_a_constant():
    theta = torch.tensor([LEAST, torch.inf], dtype=torch.float64)
    inner = dense([[WIDE, 1.0]], [-1.1 * STEP])
    first = dense([[0.0, 0.0], [1.0, 0.0]], [1.0, 0.6 * STEP])
    net = nn.Sequential(first, ll.nets.ClippedReLU(theta), inner, nn.ReLU(), dense([[-1e24], [0.0]], [3.0, 0.0]))
    assert not certifies(net, [0.0, 0.0], 2e-24, [1e-24, 0.0])


def test_rounding_of_a_small_number_that_is_multiplied_with_a_large_one():
    counts, weights = (3 * 2**45 + 1, 2**46 + 5, 2**46 + 7), (1.1 * WIDE, -1.3 * WIDE)
    exact = sum(Fraction(w) * k for w, k in zip(weights, counts[:2], strict=True))
    x = torch.tensor([[k * LEAST for k in counts]], dtype=torch.float64)
    # The last weight cancels the others, or nearly so: in exact arithmetic class 0 loses by what float64 rounds away.
    near = torch.tensor(float(-exact / counts[2]), dtype=torch.float64)
    seen = 0
    for last in (near, near.nextafter(0 * near), near.nextafter(2 * near)):
        weight = (*weights, last.item())
        margin = sum(Fraction(w) * k for w, k in zip(weight, counts, strict=True))
        net = nn.Sequential(dense([weight, [0.0] * 3], [0.0, 0.0]))
        y = torch.tensor([0 if margin < 0 else 1])
        seen += int(net(x).argmax() == y) and bool(net(x)[0, 0] != 0)
        assert not ll.certify(net, x, y, 0.0).holds.item()
    assert seen


def test_the_distance_of_two_rows():
    last = dense([[LEAST, LEAST], [0.0, 0.0]], [-2.8 * STEP, 0.0])
    net = nn.Sequential(dense([[WIDE, 0.0], [0.0, WIDE]], [2 * WIDE] * 2), nn.ReLU(), last)
    assert not certifies(net, [0.0, 0.0], 1.0, [-0.7, -0.7])


def test_the_norm_of_a_row_behind_a_mask():
    first = dense([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [-1.0, 2 * WIDE, 2 * WIDE])
    inner = dense([[1e-170, LEAST, LEAST]], [-5.2 * STEP])
    net = nn.Sequential(first, nn.ReLU(), inner, nn.ReLU(), dense([[-1e25], [0.0]], [0.1, 0.0]))
    assert not certifies(net, [0.0, 0.0], WIDE, [0.7 * WIDE, 0.7 * WIDE])


def test_a_column_that_is_longer_than_the_rows():
    weight = torch.full((10**6, 1), 0.3, dtype=torch.float64)
    linear = ll.nets.LinearMap.dense(weight)
    with ll.bounds.outward_rounding():
        found = sums_norm(linear, weight.new_ones(1, 10**6), weight.new_ones(1, 1)).item()
    assert Fraction(found) ** 2 >= 10**6 * Fraction(0.3) ** 2
