"""Networks made to break a bound: slopes at the edge of a precision, norms that underflow, rounding between layers."""

from fractions import Fraction

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds import exact_norm
from lliptools.domains import Interval


def dense(weight, bias) -> nn.Linear:
    weight = torch.as_tensor(weight, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float64))
    return layer


def test_slopes_are_not_rounded_to_float32():
    net = nn.Sequential(dense([[1.0]], [0.0]), nn.LeakyReLU(), dense([[1.0], [0.0]], [0.0, -1.0]))
    x, eps = torch.tensor([[-80.0]], dtype=torch.float64), 20.0000002
    assert ll.local_bound(net, x, eps).value.item() >= 0.01
    assert net(x - eps * (1 - 1e-10)).argmax() == 1
    for rung in ("local", "merged", "tightest", "exact"):
        assert not ll.certify(net, x, torch.tensor([0]), eps, bound=ll.BOUNDS[rung]).holds.any()


@pytest.mark.parametrize("residual", [False, True])
def test_global_radii_count_steep_slopes(residual):
    n = 16
    nothing = nn.Sequential(dense(torch.zeros(n, n), torch.zeros(n)), nn.ReLU())  # a linear one would be one map with x
    between = [ll.nets.Residual(nothing)] if residual else []
    eye, sink = dense(torch.eye(n), torch.zeros(n)), dense(-torch.ones(1, n), [-260.0])
    net = nn.Sequential(eye, nn.LeakyReLU(3.0), *between, sink, nn.ReLU(), dense([[1.0], [0.0]], [0.0, 1.0]))
    x, y = -5 * torch.ones(1, n, dtype=torch.float64), torch.tensor([1])
    assert net(x - 2.5 / 4).argmax() == 0
    assert not ll.certify(net, x, y, 2.5, bound=ll.tightest_bound).holds.any()


@pytest.mark.slow
def test_large_layers_whose_squares_underflow():
    conv, last = nn.Conv2d(8, 8, 3, padding=1).double(), nn.Linear(648, 2).double()
    with torch.no_grad():
        conv.weight.mul_(1e-170)
        conv.bias.zero_()
        last.weight.mul_(1e170)
        last.bias.copy_(torch.tensor([0.0, 1.0]))
    net, x = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), last), torch.randn(1, 8, 9, 9).double()
    exact = ll.local_bound(net, x, 0.5, norm=exact_norm).value
    assert exact * (1 - 1e-9) <= ll.local_bound(net, x, 0.5).value <= exact * 1.1
    assert ll.certified_radius(net, x, net(x).argmax(dim=1)).isfinite().all()


ALMOST = (0.1, 0.1 * 3)  # three times the first rounds to the second and is not equal to it


def test_rounding_of_composed_layers_is_not_lost_in_a_wide_one():
    n, m = 2100, 2001
    first = dense(torch.tensor(ALMOST, dtype=torch.float64)[:, None].expand(2, n), [0.0, 0.0])
    wide = dense(torch.cat([torch.full((1, 1), 1e18), torch.zeros(m - 1, 1)]), torch.eye(m)[1])
    net = nn.Sequential(first, dense([[3.0, -1.0]], [0.0]), wide)
    assert not ll.certify(net, torch.zeros(1, n).double(), torch.tensor([1]), 10.0).holds.any()


def test_rounding_of_composed_layers_counts_at_the_centre():
    """Logits −32 and −16 at the point itself, where the composed matrix has 0 in the place of −32."""
    K = 2.0**60
    composed = dense([[3 * K, -K], [0.0, 0.0]], [0.0, -16.0])
    net = nn.Sequential(dense([[ALMOST[0]], [ALMOST[1]]], [0.0, 0.0]), composed)
    x, y = torch.ones(1, 1).double(), torch.tensor([0])
    assert 3 * Fraction(ALMOST[0]) - Fraction(ALMOST[1]) < -16 / Fraction(K)
    assert ll.certify(net, x, y, 0.0, outward=False).holds.all()
    assert not ll.certify(net, x, y, 0.0).holds.any()


def test_cancellation_between_layers_that_are_kept_apart():
    n, m, K = 2100, 2001, 2.0**60
    W1, W2, last = torch.zeros(3, n).double(), torch.zeros(m, 3).double(), torch.zeros(2, m).double()
    W1[0], W1[1], W1[2, 0], W2[0, 0], W2[0, 1], W2[1, 2], last[0, 0] = *ALMOST, 1.0, 3 * K, -K, 1.0, 1.0
    bias = torch.zeros(m).double()
    bias[0] = 5.0
    net = nn.Sequential(dense(W1, [0.0] * 3), dense(W2, bias), nn.LeakyReLU(1.0), dense(last, [0.0, 11.0]))
    for _ in range(3):  # starts differ
        assert not ll.certify(net, torch.zeros(1, n).double(), torch.tensor([1]), 6.5 / 1466.424).holds.any()


def test_last_layer_at_radii_whose_squares_underflow():
    n, r = 64, 1.2589254117941508e-161
    last = dense(torch.stack([torch.full((n,), 1 / 8), torch.zeros(n)]), [0.0, 0.75 * r])
    net = nn.Sequential(dense(torch.eye(n).double() * r, torch.zeros(n)), nn.LeakyReLU(1.0), last)
    assert net(torch.full((1, n), 1 / 8).double()).argmax() == 0
    assert not ll.certify(net, torch.zeros(1, n).double(), torch.tensor([1]), 1.0).holds.any()


NUMBERS = [
    nn.Softplus(1.0, 0.0),
    nn.Softplus(float("inf")),
    nn.ELU(float("nan")),
    nn.LeakyReLU(float("inf")),
    nn.LeakyReLU(-0.1),
    nn.ELU(-1.0),
    nn.BatchNorm1d(1, eps=-1.0),
]


@pytest.mark.parametrize("layer", NUMBERS, ids=str)
def test_numbers_that_no_rule_covers(layer):
    with pytest.raises(ll.UnsupportedLayer, match="not"):
        ll.local_bound(nn.Sequential(nn.Linear(1, 1), layer).eval(), torch.zeros(1, 1), 0.1)


def test_statistics_that_cannot_be_divided_by():
    net = nn.Sequential(nn.BatchNorm1d(2, eps=1e-300), nn.Linear(2, 2)).double().eval()
    net[0].running_var.zero_()
    net[0].weight.data.fill_(1e200)
    with pytest.raises(ll.InvalidInput, match="not finite"):
        ll.local_bound(net, torch.zeros(1, 2), 0.1)


def test_hooks_for_all_modules_are_seen():
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: 2 * output)
    try:
        with pytest.raises(ll.UnsupportedLayer, match="hook"):
            ll.local_bound(ll.nets.mlp(2, 2), torch.zeros(1, 2), 0.1)
    finally:
        handle.remove()


def test_a_mark_is_not_inherited_by_what_computes_something_else():
    class Tenth(ll.bounds.GramNorm):
        def __call__(self, *arguments):
            return super().__call__(*arguments) / 10

    net, x = ll.nets.mlp(2, 3, 2), torch.zeros(1, 2)
    assert ll.local_bound(net, x, 0.1, norm=ll.bounds.GramNorm()).kind == "upper"
    assert ll.local_bound(net, x, 0.1, norm=Tenth()).kind == "estimate"


def test_gradient_through_soft_slopes():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double(), torch.randn(2, 3).double()

    def value():
        return ll.local_bound(net, x, 0.5, differentiable=True).value.sum()

    (gradient,) = torch.autograd.grad(value(), net[0].weight)
    direction, step = torch.randn_like(gradient), 1e-6
    with torch.no_grad():
        net[0].weight.add_(step * direction)
        above = value()
        net[0].weight.sub_(2 * step * direction)
        slope = (above - value()) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-8)


def test_bad_stages():
    net, x = ll.nets.mlp(2, 3, 2), torch.zeros(1, 2)
    for options, said in (
        ({"norm": "exact"}, "as a function"),
        ({"domain": 3}, "a domain as"),
        ({"domain": (0, 1)}, "confined"),
        ({"domain": Interval.confined(0, "1")}, "tuple"),
    ):
        with pytest.raises(ll.InvalidInput, match=said):
            ll.local_bound(net, x, 0.1, **options)
