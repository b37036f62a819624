"""Rounding enclosed: bounds hold against exact arithmetic, and nobody notices what it costs."""

from fractions import Fraction
from itertools import permutations

import pytest
import torch
from networks import NETWORKS, points
from torch import nn

import lliptools as ll
from lliptools.domains.center import Center, at_center


def exact_dense(net, x):
    """The values of every block of a network of Linear, ReLU and ClippedReLU, as fractions."""
    h, found = [Fraction(v) for v in x.double().tolist()], []
    for layer in net:
        if isinstance(layer, nn.Linear):
            rows, bias = layer.weight.double().tolist(), layer.bias.double().tolist()
            h = [
                sum(Fraction(w) * v for w, v in zip(row, h, strict=True)) + Fraction(b)
                for row, b in zip(rows, bias, strict=True)
            ]
            found.append(h)
        else:
            theta = layer.theta.double().expand(len(h)).tolist() if isinstance(layer, ll.nets.ClippedReLU) else None
            h = [max(v, Fraction(0)) for v in h]
            if theta:
                h = [min(v, max(Fraction(t), Fraction(0))) for v, t in zip(h, theta, strict=True)]
            found[-1] = h
    return found


@pytest.mark.parametrize("name", ["relu", "clipped", "deep", "float32", "weights of 1e5", "weights of 1e-5", "theta 0"])
def test_the_doubt_holds_the_exact_values(name):
    net = NETWORKS[name]()
    x = points(net, 3)
    with ll.bounds.outward_rounding(), torch.no_grad():
        blocks = ll.nets.read_blocks(net, x.shape[1:])
        values = at_center(blocks, Center(x.double(), torch.zeros(3, 3).double()))
    for k in range(3):
        for value, truth in zip(values, exact_dense(net, x[k]), strict=True):
            for got, doubt, exact in zip(value.value[k].tolist(), value.doubt[k].tolist(), truth, strict=True):
                assert abs(Fraction(got) - exact) <= Fraction(doubt)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("eps", [0.0, 0.01, 0.5, 1e3])
def test_enclosing_widens_by_a_trifle(name, eps):
    net = NETWORKS[name]()
    x = points(net, 3)
    plain = ll.local_bound(net, x, eps)
    with ll.bounds.outward_rounding():
        wider = ll.local_bound(net, x, eps)
    assert wider.arithmetic == "float64, rounding enclosed"
    assert plain.arithmetic == "float64, rounding not enclosed"
    assert (wider.value >= plain.value).all()
    for one, other in zip(wider.blocks, plain.blocks, strict=True):
        assert (one.box.lower <= other.box.lower).all()
        assert (one.box.upper >= other.box.upper).all()
        # The norm behind a sum of branches is a share of that sum's norm: the product so far is what is enclosed.
        assert (one.radius >= other.radius).all()
        assert "residual" in name or (one.norm >= other.norm).all()
    pairs = list(zip(wider.blocks, plain.blocks, strict=True))
    same = torch.stack([((a.slope - b.slope).abs() < 1e-9).flatten(1).all(dim=1) for a, b in pairs]).all(dim=0)
    # A unit within rounding of its bend, or one that nothing feeds, may become unstable.
    assert (wider.value[same] <= plain.value[same] * (1 + 1e-9)).all()
    assert same.any() or eps in (0.0, 1e3)


def test_an_attack_on_rounding():
    """The first logit is 1 exactly and comes out as 0 or 2 in some order of summation; the second is 0.5 or 1.5."""
    caught = 0
    for row in permutations([1e16, 1.0, -1e16]):
        layer = nn.Linear(3, 2).double()
        layer.weight.data = torch.tensor([row, (0.0, 0.0, 0.0)], dtype=torch.float64)
        x = torch.ones(1, 3).double()
        for rival, truth in ((0.5, 0), (1.5, 1)):
            layer.bias.data = torch.tensor([0.0, rival], dtype=torch.float64)
            net, wrong = nn.Sequential(layer), torch.tensor([1 - truth])
            caught += bool(ll.certify(net, x, wrong, 0.0, outward=False).holds)
            assert not ll.certify(net, x, wrong, 0.0).holds.any()
    assert caught  # without the enclosure, false certificates are issued


def nothing_beside(width):
    layer = nn.Linear(width, width).double()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return ll.nets.Residual(nn.Sequential(layer, nn.ReLU()))  # without it both paths would be one map


@pytest.mark.parametrize("after", [nn.ReLU(), nothing_beside(1)], ids=["at the bend", "on the skipped path"])
def test_doubt_is_carried_on(after):
    """1 exactly, which comes out as 0 in some order of summation, where the unit seems to be off."""
    layer, lost = nn.Linear(3, 1).double(), 0
    layer.bias.data.zero_()
    for row in permutations([1e16, 1.0, -1e16]):
        layer.weight.data = torch.tensor([row], dtype=torch.float64)
        with ll.bounds.outward_rounding(), torch.no_grad():
            blocks = ll.nets.read_blocks(nn.Sequential(layer, after), torch.Size([3]))
            end = at_center(blocks, Center(torch.ones(1, 3).double(), torch.zeros(1, 3).double()))[-1]
        lost += end.value.item() == 0
        assert abs(end.value.item() - 1) <= end.doubt.item()
    assert lost


def test_the_switch_is_a_context():
    from lliptools.norms.rounding import is_outward

    assert not is_outward()
    with ll.bounds.outward_rounding():
        assert is_outward()
        with ll.bounds.outward_rounding(False):
            assert not is_outward()
        assert is_outward()
    assert not is_outward()


def test_the_helpers_are_neutral_outside():
    from lliptools.norms import rounding

    linear = ll.nets.LinearMap.dense(torch.randn(3, 2, dtype=torch.float64))
    moved, row, column = (torch.rand(4, size, dtype=torch.float64) for size in (2, 3, 2))
    assert rounding.unit(moved) == rounding.gamma(5, moved) == rounding.enclosed(7.0) == 0.0
    assert torch.equal(rounding.inflated(moved), moved)
    assert torch.equal(rounding.absolute_with_slack(linear, moved, moved), linear.apply_absolute(moved))
    assert not rounding.running_error(linear, moved, moved).any()
    assert not rounding.matrix_slack(linear, row, column).any()
    with ll.bounds.outward_rounding():
        assert rounding.unit(moved) == 2.0**-53
        assert rounding.enclosed(7.0) == 7.0
        assert (rounding.absolute_with_slack(linear, moved, moved) > linear.apply_absolute(moved)).all()
        assert (rounding.running_error(linear, moved, moved) > linear.apply_absolute(moved)).all()


def test_certificates_enclose_by_default():
    net, data = ll.nets.load("digits-clipped"), ll.training.digits()
    x, y = data.x_test[:40], data.y_test[:40]
    wide, plain = ll.certify(net, x, y, 0.1), ll.certify(net, x, y, 0.1, outward=False)
    assert wide.bound.arithmetic == "float64, rounding enclosed"
    lost = (plain.worst_margin - wide.worst_margin) / plain.margin.abs()
    assert (lost > 0).all()
    assert lost.max() < 1e-9
