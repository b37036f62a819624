"""The oracle itself: it refutes what is false, in proofs, and nothing that is true."""

import ast
import math
from pathlib import Path

import pytest
import torch
from exact import Exact
from oracle import Oracle
from random_networks import random_network
from torch import nn

import lliptools as ll

HERE = Path(__file__).parent


def lin(weight, bias=None) -> nn.Linear:
    weight = torch.as_tensor(weight, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.zeros(len(weight)) if bias is None else torch.as_tensor(bias, dtype=torch.float64))
    return layer


def refute(net, x, eps, y=0):
    """Refutations of one certificate."""
    x = torch.as_tensor(x, dtype=torch.float64)[None]
    return Oracle(net, x).certificates(x, torch.tensor([y]), torch.tensor([eps], dtype=torch.float64), x)


def refute_slope(net, x, eps, value):
    """Refutations of one constant of the whole network."""
    x = torch.as_tensor(x, dtype=torch.float64)[None]
    eps, value, most = (torch.tensor([number], dtype=torch.float64) for number in (eps, value, math.inf))
    return Oracle(net, x).slopes(x, torch.tensor([0]), eps, value, most.expand(1, net(x.clone()).shape[1]))


def test_it_is_small_and_shares_no_code():
    sources = [(HERE / name).read_text() for name in ("oracle.py", "exact.py")]
    assert sum(len(source.splitlines()) for source in sources) <= 300
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    allowed = {"collections", "collections.abc", "copy", "fractions", "math", "numpy", "torch", "exact"}
    assert imported == allowed


def test_exact_pieces_are_the_network():
    exact = 0
    for seed in range(150):
        case = random_network(seed)
        oracle = Oracle(case.net, case.x)
        if oracle.chain is None:
            continue
        exact += 1
        x, step = case.x[0].double(), torch.randn_like(case.x[0].double())
        p = oracle.along(x, 0 * x, step, math.inf)
        for start, end, (a, b) in p:
            for t in (start, (start + end) / 2, end):
                there = x + float(t) * step
                found = torch.tensor([float(number) for number in a + b * t], dtype=torch.float64)
                # the segment goes on for as long as t is rounded, by an ulp at the outset of a steep piece
                assert (found - oracle(there[None])[0]).norm() <= 100 * oracle.rounding(there[None])
    assert exact > 45


def test_exact_numbers_are_exact():
    numbers = torch.tensor([[0.1, -3.0], [5e-324, 1.7e308]], dtype=torch.float64)
    assert [[float(f) for f in row] for row in Exact.of(numbers).fractions()] == numbers.tolist()
    product = (Exact.of(numbers) @ Exact.of(numbers)).fractions()
    assert product[1, 0] == Exact.of(numbers).fractions()[1] @ Exact.of(numbers).fractions()[:, 0]


def changed(layer: nn.Module, **numbers) -> nn.Module:
    """The layer with numbers set after it was built."""
    for name, number in numbers.items():
        setattr(layer, name, number)
    return layer


in_place = nn.Sequential(nn.ReLU(inplace=True), lin(torch.zeros(2, 2)))
# What has been certified somewhere, some time, and is false: a network, a point, a radius for class 0.
CERTIFIED = {
    "a layer that changes its input in place": (
        nn.Sequential(lin(torch.eye(2)), ll.nets.Residual(in_place), lin([[-1.0, 0.0], [0.0, 0.0]], [0.0, 1.0])),
        [-5.0, 0.0],
        4.0,
    ),
    "a product that cancels but for rounding": (
        nn.Sequential(lin([[1 / 3], [1.0]]), lin([[3.0, -1.0], [0.0, 0.0]], [1.0, 0.0])),
        [0.0],
        math.inf,
    ),
    "the same behind an activation": (
        nn.Sequential(
            *(lin([[1.0]]), ll.nets.ClippedReLU(5.0), lin([[1 / 3], [1.0]])),
            lin([[3e17, -1e17], [0.0, 0.0]], [1.0, 0.0]),
        ),
        [0.0],
        2.5,
    ),
    "softplus beyond its threshold": (
        nn.Sequential(nn.Softplus(), lin([[1.0], [0.0]], [0.0, 20 + 1e-9])),
        [20.0],
        1e-10,
    ),
    "zeros that have become twos": (
        nn.Sequential(
            *(changed(nn.ZeroPad2d((1, 0, 0, 0)), value=2.0), nn.Flatten()), lin([[-1.0, 0.0], [0.0, 0.0]], [1.0, 0.0])
        ),
        [[[0.0]]],
        1.0,
    ),
    "a radius below the normal numbers": (nn.Sequential(lin([[-1e300], [0.0]], [5e-11, 0.0])), [0.0], 1e-310),
    "a tie on the sphere": (nn.Sequential(lin([[1.0], [0.0]])), [0.5], 0.5 * (1 + 2**-39)),
}


@pytest.mark.parametrize("name", CERTIFIED)
def test_false_certificates_are_refuted(name):
    assert refute(*CERTIFIED[name])


u = torch.randn(3, generator=torch.Generator().manual_seed(0)).double()
householder = torch.eye(3).double() - torch.outer(u, u) / u.square().sum() / 2
# The same of Lipschitz constants: a network, a point, a radius and the constant.
BOUNDED = {
    "a sliver between two units": (
        nn.Sequential(*(lin([[1.0], [1.0]], [0.0, -1e-15]), nn.ReLU(), lin([[-1e6, 1e6], [0.0, 0.0]], [5e-10, 0.0]))),
        [-0.5],
        1.0,
        0.0,
    ),
    "a threshold that has been changed": (
        nn.Sequential(lin([[1.0]]), changed(nn.ReLU6(), max_val=9.0), lin([[1.0], [0.0]])),
        [7.0],
        0.5,
        0.0,
    ),
    "a norm from an unlucky start": (nn.Sequential(lin(householder)), [0.0, 0.0, 0.0], 1.0, 0.50005),
    "softplus beyond its threshold": (nn.Sequential(nn.Softplus(), lin([[1.0], [0.0]])), [20.0], 1e-9, 1.0),
    "a norm of 5, rounded down": (nn.Sequential(lin([[3.0], [4.0]])), [1.0], 1.0, 5 * (1 - 2**-53)),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_false_constants_are_refuted(name):
    assert refute_slope(*BOUNDED[name])


def test_nothing_is_found_against_what_is_true():
    assert not refute_slope(nn.Sequential(lin([[3.0], [4.0]])), [1.0], 1.0, 5.0)
    assert not refute_slope(BOUNDED["a sliver between two units"][0], [-0.5], 1.0, 1e6)
    assert not refute_slope(nn.Sequential(nn.Softplus(), lin([[1.0], [0.0]])), [-20.0], 1.0, 1e-8)
    assert not refute(nn.Sequential(lin([[1.0], [0.0]])), [0.5], 0.5 * (1 - 2**-52))
    assert not refute(CERTIFIED["the same behind an activation"][0], [0.0], 0.18)
    assert not refute(CERTIFIED["a radius below the normal numbers"][0], [0.0], 4e-311)


def test_a_norm_from_below_that_says_it_is_from_above_is_caught():
    """Two steps of power iteration, a few per cent short on layers of twenty units."""
    power = ll.bounds.errs("upper")(lambda *layer: ll.bounds.PowerNorm(2)(*layer))
    caught = 0
    for seed in range(10):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(20, 20, bias=False), nn.Linear(20, 3)).double()
        x, eps = torch.randn(1, 20).double(), torch.ones(1).double()
        bound = ll.local_bound(net, x, eps, norm=power)
        y = torch.tensor([0])
        caught += bool(Oracle(net, x).slopes(x, y, eps, bound.value, bound.pairwise(y)))
    assert caught >= 8


@pytest.mark.slow
def test_most_radii_beyond_the_nearest_break_are_refuted():
    """Of networks with two inputs, whose distance to another label is known exactly; and none that is a bit smaller."""
    beyond = within = asked = 0
    for seed in range(10):
        torch.manual_seed(seed)
        net, x = ll.nets.mlp(2, 12, 8, 3).double(), torch.randn(4, 2).double()
        y = net(x).argmax(dim=1)
        distance, _ = ll.bounds.adversarial_distance(net, x, y, 3.0)
        known = distance.isfinite()
        x, y, distance, oracle = x[known], y[known], distance[known], Oracle(net, x)
        asked += len(x)
        beyond += len({found.row for found in oracle.certificates(x, y, distance * 1.05, x)})
        within += len(oracle.certificates(x, y, distance * (1 - 1e-9), x))
    assert asked > 20
    assert within == 0
    assert beyond >= 0.9 * asked


def test_constants_a_tenth_too_small_are_refuted():
    """The exact constants of networks with two inputs, times .9."""
    caught = asked = 0
    for seed in range(10):
        torch.manual_seed(seed)
        net, x = ll.nets.mlp(2, 12, 8, 3).double(), torch.randn(4, 2).double()
        y, eps = net(x).argmax(dim=1), torch.full((4,), 0.3).double()
        exact = ll.exact_bound(net, x, eps)
        found = Oracle(net, x).slopes(x, y, eps, 0.9 * exact.value, math.inf * torch.ones(4, 3).double())
        asked += len(x)
        caught += len({each.row for each in found})
    assert caught >= 0.9 * asked
