"""The merged bounds enclose their own rounding: held against networks that cancel, in rational arithmetic."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise, permutations
from random import Random
from types import SimpleNamespace

import pytest
import torch
from networks import NETWORKS, points
from stepwise import Linear, Units, merge
from torch import nn

import lliptools as ll
from lliptools.bounds.ellipsoid import Problem
from lliptools.bounds.merged import FULL
from lliptools.domains.zonotope import Zonotope
from lliptools.nets.registry import read_activation

MERGED = ("path", "merged", "tightest")
RUNGS = [ll.local_bound, *(ll.BOUNDS[name] for name in MERGED)]
RUNGS += [lambda *a: ll.merged_bound(*a, steps=8), lambda *a: ll.local_bound(*a, domain=FULL)]
LABEL = torch.tensor([0])


def lin(weight, bias=None):
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    layer.weight.data = torch.tensor(weight, dtype=torch.float64)
    layer.bias.data = torch.tensor([0.0] * len(weight) if bias is None else bias, dtype=torch.float64)
    return layer


def point(*values):
    return torch.tensor([values], dtype=torch.float64)


# The network on a line through the point, exactly: pieces (low, high, [(value at low, value at high) of every unit]).

BENT = {
    nn.ReLU: lambda layer: ([0], lambda z: max(z, 0)),
    nn.LeakyReLU: lambda layer: ([0], lambda z: z if z > 0 else z * Fraction(layer.negative_slope)),
    nn.Hardtanh: lambda layer: (
        [Fraction(layer.min_val), Fraction(layer.max_val)],
        lambda z: min(max(z, Fraction(layer.min_val)), Fraction(layer.max_val)),
    ),
    ll.nets.ClippedReLU: lambda layer: (
        [0, Fraction(layer.theta.item())],
        lambda z: min(max(z, 0), Fraction(layer.theta.item())),
    ),
}


def cut(piece, changes):
    """A piece in parts within which none of the changes (at low, at high) changes its sign."""
    low, high, units = piece
    at = {Fraction(a) / (a - b) for a, b in changes if a * b < 0}
    for one, other in pairwise(sorted({Fraction(0), *at, Fraction(1)})):
        yield low + one * (high - low), low + other * (high - low), [
            (a + one * (b - a), a + other * (b - a)) for a, b in units
        ]  # fmt: skip


def through(layer, piece):
    """The pieces that a layer makes of one."""
    low, high, units = piece
    if isinstance(layer, nn.Linear):
        matrix = [[Fraction(w) for w in row] for row in layer.weight.tolist()]
        rows = list(zip(matrix, map(Fraction, layer.bias.tolist()), strict=True))
        ends = zip(*units, strict=True)
        values = [[sum(w * h for w, h in zip(row, end, strict=True) if w) + b for row, b in rows] for end in ends]
        yield low, high, list(zip(*values, strict=True))
    elif isinstance(layer, ll.nets.Residual):
        for part in along(layer.block, piece)[-1]:
            share = [(end - low) / (high - low) for end in part[:2]]
            before = [tuple(a + s * (b - a) for s in share) for a, b in units]
            yield *part[:2], [(a + c, b + d) for (a, b), (c, d) in zip(before, part[2], strict=True)]
    elif isinstance(layer, ll.nets.MaxMin):
        half = len(units) // 2
        differences = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(units[:half], units[half:], strict=True)]
        for *where, parts in cut(piece, differences):
            pairs = list(zip(parts[:half], parts[half:], strict=True))
            yield *where, [tuple(pick(a[k], b[k]) for k in (0, 1)) for pick in (max, min) for a, b in pairs]
    else:
        bends, value = BENT[type(layer)](layer)
        for *where, parts in cut(piece, [(a - bend, b - bend) for a, b in units for bend in bends]):
            yield *where, [(value(a), value(b)) for a, b in parts]


def along(net, start):
    """The pieces before every activation and at the end."""
    found, pieces = [], [start]
    for layer in net:
        if type(layer) in BENT:
            found.append(pieces)
        pieces = [part for piece in pieces for part in through(layer, piece)]
    return [*found, pieces]


def line(x, direction, eps):
    """The ball's part on a line through x: a piece of length 2·eps, or hardly less."""
    length = math.sqrt(sum(d * d for d in direction)) * (1 + 1e-12)
    reach = Fraction(eps) / Fraction(length)
    return -reach, reach, [(c - reach * d, c + reach * d) for c, d in zip(x, direction, strict=True)]


def check(net, x, eps, direction):
    """No bound and no box is below what happens on the line; the largest squared slope of the network is returned."""
    x, direction = [Fraction(v) for v in x], [Fraction(d) for d in direction]
    places = along(net, line(x, direction, eps))
    square = sum(d * d for d in direction)
    slopes = [[(b - a) / (high - low) for a, b in units] for low, high, units in places[-1]]
    truth = max(sum(slope * slope for slope in piece) for piece in slopes) / square
    between = [max((piece[0] - piece[j]) ** 2 for piece in slopes) / square for j in range(len(slopes[0]))]
    with ll.bounds.outward_rounding():
        for rung in RUNGS:
            bound = rung(net, point(*map(float, x)), float(eps))
            assert bound.arithmetic == "float64, rounding enclosed"
            assert bound.value.item() == math.inf or Fraction(bound.value.item()) ** 2 >= truth
            for pair, least in zip(bound.pairwise(LABEL)[0].tolist(), between, strict=True):
                assert pair == math.inf or Fraction(pair) ** 2 >= least
            if len(bound.blocks) == len(places) and not any(block.inner for block in bound.blocks):
                for block, pieces in zip(bound.blocks, places, strict=True):
                    ends = [list(zip(*units, strict=True)) for *_, units in pieces]
                    box = zip(*(side[0].tolist() for side in (block.box.lower, block.box.upper)), strict=True)
                    for unit, (lower, upper) in enumerate(box):
                        values = [end[unit] for piece in ends for end in piece]
                        assert lower == -math.inf or Fraction(lower) <= min(values)
                        assert upper == math.inf or Fraction(upper) >= max(values)
    return truth


def zonotopes(blocks, zonotope):
    """The zonotope before every activation and at the end, each with its own box for the next activation."""
    found = []
    for block in blocks:
        if block.inner:
            zonotope = zonotopes(block.inner, zonotope)[-1].add(zonotope)
            continue
        before = zonotope.linear(block.linear)
        found.append(before)
        zonotope = before.after(SimpleNamespace(activation=block.activation, box=before.box()), None)
    return [*found[:-1], zonotope] if blocks[-1].inner else found


def check_zonotope(net, x, eps, direction):
    """The zonotope by itself, cut with no other box, holds what happens on the line."""
    pieces = along(net, line([Fraction(v) for v in x], [Fraction(d) for d in direction], eps))[-1]
    with ll.bounds.outward_rounding(), torch.no_grad():
        start = Zonotope.start(point(*x), torch.tensor([eps], dtype=torch.float64))
        box = zonotopes(ll.nets.read_blocks(net, torch.Size([len(x)])), start)[-1].box()
    for unit, (lower, upper) in enumerate(zip(box.lower[0].tolist(), box.upper[0].tolist(), strict=True)):
        values = [value for *_, units in pieces for value in units[unit]]
        assert lower == -math.inf or Fraction(lower) <= min(values)
        assert upper == math.inf or Fraction(upper) >= max(values)


# The cases that were found.


def test_two_layers_whose_product_cancels():
    """3·fl(1/3) − 1 is −2^−54 and comes out as 0: the margin is negative at 2e17."""
    net = nn.Sequential(lin([[1 / 3], [1.0]]), lin([[3.0, -1.0], [0.0, 0.0]], [1.0, 0.0]))
    assert 3 * Fraction(1 / 3) - 1 == Fraction(-1, 2**54)
    for rung in RUNGS:
        radius = ll.certified_radius(net, point(0.0), LABEL, bound=rung).item()
        assert 0 < radius < 2**54
    check(net, [0.0], 1.0, [1.0])


def test_behind_a_clipped_unit():
    """The slope is −5.55 between 0 and 5, and both layers together came out as 0."""
    last = lin([[3e17, -1e17], [0.0, 0.0]], [1.0, 0.0])
    net = nn.Sequential(lin([[1.0]]), ll.nets.ClippedReLU(5.0), lin([[1 / 3], [1.0]]), last).double()
    for rung in RUNGS:
        assert not ll.certify(net, point(0.0), LABEL, 2.5, bound=rung).holds.item()
    assert check(net, [0.0], 2.5, [1.0]) > 25


# 1 − .9 − .1 in the numbers that stand for them: −2^−53 exactly, a quarter of it as summed from the left.
TENTHS, OF_TENTHS = [[1 / 3], [0.1], [0.1]], [3 * 2.0**57, -9 * 2.0**57, -(2.0**57)]
FOLLOWING = {
    "residual": [ll.nets.Residual(nn.Sequential(lin([[0.0, 0.0], [0.0, 0.0]])))],
    "pairs": [ll.nets.MaxMin(), lin([[1.0, 0.0], [0.0, 1.0]])],
    "units": [nn.LeakyReLU(1.0), lin([[1.0, 0.0], [0.0, 1.0]])],
}


@pytest.mark.parametrize("bias", [1e6, 1.0, -1e6])
@pytest.mark.parametrize("after", FOLLOWING)
def test_what_rounding_took_is_carried_on(after, bias):
    before = lin(TENTHS), nn.Hardtanh(-5.0, 5.0), lin([OF_TENTHS, [0.0, 0.0, 0.0]], [bias, 0.0])
    assert check(nn.Sequential(*before, *FOLLOWING[after]), [0.0], 2.5, [1.0]) >= 16**2


@pytest.mark.parametrize("bias", [1e5, 0.0, -1e5])
@pytest.mark.parametrize("after", FOLLOWING)
def test_the_zonotope_carries_on_what_rounding_took(after, bias):
    before = lin(TENTHS), nn.LeakyReLU(1.0), lin([OF_TENTHS, [0.0, 0.0, 0.0]], [bias, 0.0])
    check_zonotope(nn.Sequential(*before, *FOLLOWING[after]), [1.0], 1e-17, [1.0])


def test_a_product_of_layers_that_keeps_a_wrong_rest():
    layers = lin(TENTHS), lin([OF_TENTHS, [0.0, 0.0, 0.0]], [1.0, 0.0])
    for first in (lin([[1.0]]), lin([[1.0, 1.0]])):
        net = nn.Sequential(first, ll.nets.ClippedReLU(5.0), *layers).double()
        features = first.in_features
        assert check(net, [0.0] * features, 0.5, [1.0] * features) >= 16**2


@pytest.mark.parametrize("activation", [nn.Hardtanh(-5.0, 5.0), nn.LeakyReLU(1.0)])
def test_units_that_are_on_merge_and_cancel(activation):
    net = nn.Sequential(lin([[1 / 3], [1.0]]), activation, lin([[3e17, -1e17], [0.0, 0.0]], [1.0, 0.0]))
    for rung in RUNGS:
        assert not ll.certify(net, point(0.0), LABEL, 2.5, bound=rung).holds.item()
    assert check(net, [0.0], 2.5, [1.0]) > 25


def slopes_along(layers, x, direction):
    """Of all units at x, as computed."""
    jacobian = torch.autograd.functional.jacobian(nn.Sequential(*layers), point(*x))[0, :, 0]
    return (jacobian @ torch.tensor(direction, dtype=torch.float64)).tolist()


def cancelling(seed, kind, features):
    """A network whose layers cancel along the rows of the first, all but a rounding: (net, x, eps, direction)."""
    random = Random(f"{seed} {kind} {features}")
    direction = [random.uniform(-1, 1) for _ in range(features)]
    x, eps = [random.uniform(-1, 1) for _ in direction], random.choice([1e-9, 0.3, 2.0])

    def against(layers, rows):
        """A matrix to whose rows the slopes of the units are nearly orthogonal."""
        slopes, size = slopes_along(layers, x, direction), 10.0 ** random.choice([-8, 0, 8, 15, 17])
        steep = max(range(len(slopes)), key=lambda unit: abs(slopes[unit]))
        matrix = []
        for _ in range(rows):
            row = [size * random.uniform(-1, 1) for _ in slopes]
            row[steep] = 0.0
            row[steep] = -sum(w * s for w, s in zip(row, slopes, strict=True)) / (slopes[steep] or 1.0)
            matrix.append(row)
        return lin(matrix, [random.choice([0.0, random.uniform(-9, 9)]) for _ in matrix])

    units = random.choice([2, 4])
    # With powers of 2 the rows are parallel, so that the line shows all of the slope.
    shares = [random.choice([1.0, -2.0, 4.0]) if features > 1 else random.uniform(-1, 1) for _ in range(units)]
    first = [[share * d for d in direction] for share in shares]
    if random.random() < 0.3:
        first = first[:1] if kind != "maxmin" else first[:2]
    layers = [lin(first, [random.choice([0.0, 20.0, -20.0, random.uniform(-1, 1)]) for _ in first])]
    for _ in range(random.choice([1, 2])):
        layers.append(
            {
                "relu": nn.ReLU(),
                "leaky": nn.LeakyReLU(0.3),
                "hard": nn.Hardtanh(-3.0, 30.0),
                "clipped": ll.nets.ClippedReLU(25.0).double(),
                "maxmin": ll.nets.MaxMin(),
                "residual": nn.ReLU(),
                "straight": nn.LeakyReLU(1.0),
            }[kind]
        )
        width = random.choice([2, 4])
        layers.append(against(layers, width))
        if random.random() < 0.4:
            layers.append(against(layers, width))
        if kind == "residual":
            inner = [lin([[random.uniform(-1, 1) for _ in range(width)] for _ in range(width)]), nn.LeakyReLU(0.5)]
            layers.append(ll.nets.Residual(nn.Sequential(*inner, against([*layers, *inner], width))))
    layers.append(against(layers, 3))
    return nn.Sequential(*layers), x, eps, direction


@pytest.mark.slow
@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("kind", ["relu", "leaky", "hard", "clipped", "maxmin", "residual", "straight"])
def test_networks_that_cancel(kind, features):
    for seed in range(4):
        check(*cancelling(seed, kind, features))


def test_rows_that_are_equal_but_for_the_last_digit():
    for digits in range(1, 4):
        rows = [[1 / 3, -0.7], [1 / 3 * (1 + digits * 2**-52), -0.7]]
        last = lin([[3e16, -3e16], [1e16, -1e16 * (1 + 2**-52)], [0.0, 0.0]])
        net = nn.Sequential(lin(rows, [20.0, 20.0]), nn.ReLU(), last)
        assert check(net, [0.1, 0.2], 0.5, [1.0, -1.0]) > 0


# What underflow takes.


def test_several_units_of_size_1e_170():
    """Squares of slopes of 1e-170 are 0: two such units were worth one, and a box was no wider than a point."""
    net = nn.Sequential(
        lin([[1.0], [1e-170], [1e-170]], [10.0, 0.0, 0.0]), nn.ReLU(), lin([[0.0, 1e170, 1e170], [0.0] * 3])
    )
    assert check(net, [0.0], 1.0, [1.0]) >= 4 * (1 - Fraction(1, 10**9))
    for bias in (0.0, -1e-200):
        net = nn.Sequential(lin([[1e-170, 1e-170]], [bias]), nn.ReLU(), lin([[1e170], [0.0]]))
        assert check(net, [0.0, 0.0], 1.0, [1.0, 1.0]) >= 2 * (1 - Fraction(1, 10**9))


def test_a_weight_far_below_the_largest_of_its_layer():
    """1e-30 beside 1e300 underflows where both are scaled alike; the slope of 1 that it makes was 0."""
    first, last = lin([[1e300], [1e-30]]), lin([[0.0, 1e30], [0.0, 0.0]])
    net = nn.Sequential(first, nn.LeakyReLU(1.0), last)
    assert check(net, [1.0], 0.5, [1.0]) >= 1 - Fraction(1, 10**9)
    second, last = lin([[1e300, 0.0], [1e300, 1e-3]]), lin([[1e-5, -1e-5], [0.0, 0.0]])
    net = nn.Sequential(lin([[1.0], [1e5]]), nn.LeakyReLU(1.0), second, nn.LeakyReLU(1.0), last)
    assert check(net, [1.0], 0.5, [1.0]) > 0
    for rung in RUNGS:  # outside as well: nothing is known of a number that is lost
        assert rung(nn.Sequential(first, nn.LeakyReLU(1.0), lin([[0.0, 1e30]])), point(1.0), 0.5).value > 0.99


# Every part by itself.


class Blurred(ll.nets.Activation):
    """tanh, computed in float32."""

    def forward(self, z):
        return z.float().tanh().double()

    def image(self, lower, upper):
        return self(lower) - 1e-6, self(upper) + 1e-6

    def slopes(self, lower, upper):
        return torch.zeros_like(lower), torch.ones_like(upper)


@pytest.mark.parametrize("activation", [read_activation(nn.Tanh()), read_activation(nn.Sigmoid()), Blurred()])
def test_the_zonotope_holds_images_of_points_and_of_tiny_balls(activation):
    is_sigmoid = activation(point(0.0)).item() == 0.5

    def exactly(z):
        grown = (Decimal(z) * (1 if is_sigmoid else 2)).exp()
        return grown / (grown + 1) if is_sigmoid else (grown - 1) / (grown + 1)

    center = torch.randn(300, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for eps in (0.0, 1e-17, 1e-15, 1e-3):
        with ll.bounds.outward_rounding(), localcontext(prec=60):
            start = Zonotope.start(center, torch.full((300,), eps, dtype=torch.float64))
            box = start.after(SimpleNamespace(activation=activation, box=start.box()), None).box()
            for z, lower, upper in zip(*(t.flatten().tolist() for t in (center, box.lower, box.upper)), strict=True):
                for end in (Decimal(z) - Decimal(eps), Decimal(z), Decimal(z) + Decimal(eps)):
                    assert Decimal(lower) <= exactly(end) <= Decimal(upper)


@pytest.mark.parametrize("kind", ["relu", "leaky", "hard", "clipped", "maxmin", "residual", "straight"])
def test_the_zonotope_by_itself(kind):
    """In balls so small that its rounding shows."""
    for seed in range(12):
        net, x, _, direction = cancelling(seed, kind, 1 + seed % 2)
        for eps in (1e-17, 1e-9, 0.3):
            check_zonotope(net, x, eps, direction)


def test_kernels_that_meet_themselves():
    """A kernel on a circular signal of one value adds up in one entry of the matrix: 1, and 0 in this order."""
    convolution = nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular").double()
    convolution.weight.data = torch.tensor([[[1e16, 1.0, -1e16]], [[0.0] * 3]], dtype=torch.float64)
    convolution.bias.data = torch.tensor([1.0, 0.0], dtype=torch.float64)
    net, x = nn.Sequential(convolution, nn.Flatten()), torch.zeros(1, 1, 1).double()
    for rung in [ll.global_bound, *RUNGS]:  # 1 + x is negative at −5
        assert not ll.certify(net, x, LABEL, 5.0, bound=rung).holds.item()
        with ll.bounds.outward_rounding():
            assert rung(net, x, 5.0).value.item() >= 1


def test_a_lost_value_in_front_of_a_lost_product():
    """1 comes out as 0 in some order of summation, and so does the product of two layers that makes −5.55 of it."""
    last = lin([[1 / 3], [1.0]]), lin([[3e17, -1e17], [0.0, 0.0]], [1.0, 0.0])
    for row in permutations([1e16, 1.0, -1e16]):
        net = nn.Sequential(lin([list(row)]), nn.Hardtanh(-5.0, 5.0), *last)
        for rung in RUNGS:
            assert not ll.certify(net, point(1.0, 1.0, 1.0), LABEL, 0.0, bound=rung).holds.item()


def test_the_rotation_of_the_first_matrix_is_enclosed():
    """Gram matrices of the rotated rows and of the rows: their difference in units of the errors."""
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight[1] = weight[0] * (1 + 2.0**-50)
    with ll.bounds.outward_rounding():
        merged = merge([Linear(weight)], 1, 40)
    assert merged.features == 5
    assert (merged.error > 0).all()
    rows = [[Fraction(w) for w in row] for row in (weight * 2.0**-merged.exponent).tolist()]
    rotated = [[Fraction(w) for w in row] for row in merged.state[0].T.tolist()]
    for one, row, error in zip(rotated, rows, merged.error[0].tolist(), strict=True):
        square, length = (sum(v * v for v in side) for side in (one, row))
        # Whatever rotation was meant: |‖R_j‖ − ‖w_j‖| is at most the error.
        assert length <= square + 2 * Fraction(error) * Fraction(math.sqrt(square) * (1 + 1e-12)) + Fraction(error) ** 2


def test_a_factor_that_is_not_one_proves_nothing(monkeypatch):
    """Whatever factorised the matrices, their product is looked at."""
    units = Units(torch.zeros(1, 3).double(), torch.ones(1, 3).double())
    weights = [torch.randn(3, 3, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in range(3)]
    merged = merge([Linear(weights[0]), units, Linear(weights[1]), units, Linear(weights[2])], 1, 3)
    problem, multipliers = Problem.of(merged), torch.full((1, 6), 0.01, dtype=torch.float64)
    assert problem.certify(multipliers).isfinite().all()
    assert problem.certify_each(multipliers).isfinite().all()
    true, wrong = torch.linalg.cholesky_ex, set()

    def nearly(matrix):
        factor, info = true(matrix)
        return factor * (1 + 1e-9 * (len(factor[0]) in wrong)), info

    monkeypatch.setattr(torch.linalg, "cholesky_ex", nearly)
    assert problem.certify(multipliers).isfinite().all()
    wrong.add(3)  # of the outputs
    assert problem.certify(multipliers).isinf().all()
    assert problem.certify_each(multipliers).isfinite().all()
    wrong.add(6)  # of the unstable units
    assert problem.certify(multipliers).isinf().all()
    assert problem.certify_each(multipliers).isinf().all()
    wrong.clear()
    solve = torch.linalg.solve_triangular
    monkeypatch.setattr(torch.linalg, "solve_triangular", lambda *args, upper: (1 - 1e-9) * solve(*args, upper=upper))
    assert problem.certify(multipliers).isinf().all()
    assert problem.certify_each(multipliers).isinf().all()


# The switch.


@pytest.mark.parametrize("name", MERGED)
def test_the_record_says_what_holds_wherever_it_is_asked(name):
    net = NETWORKS["relu"]()
    x, y = points(net, 3), torch.tensor([0, 1, 2])
    plain = ll.BOUNDS[name](net, x, 0.3)
    with ll.bounds.outward_rounding():
        wider = ll.BOUNDS[name](net, x, 0.3)
        inside = wider.pairwise(y)
    assert plain.arithmetic == "float64, rounding not enclosed"
    assert wider.arithmetic == "float64, rounding enclosed"
    assert torch.equal(wider.pairwise(y), inside)
    assert (plain.value < wider.value).all()
    assert (wider.value < plain.value * (1 + 1e-10)).all()
    own = torch.nn.functional.one_hot(y, inside.shape[1]) > 0
    assert (inside[own] == 0).all()
    assert (plain.pairwise(y)[~own] < inside[~own]).all()


def test_known_constants_are_exact_outside():
    for depth in (1, 3):
        net, x = ll.nets.fold(2, depth), point(1.0, -2.0)
        for rung in RUNGS:
            assert rung(net, x, 0.4).value.item() == 1.0
            with ll.bounds.outward_rounding():
                assert 1.0 < rung(net, x, 0.4).value.item() < 1 + 1e-12


def test_what_is_constant_stays_exactly_constant():
    net = nn.Sequential(lin([[1.0]], [-9.0]), nn.ReLU(), lin([[1 / 3], [1.0]]), lin([[2.0, 1.0], [3.0, -1.0]]))
    with ll.bounds.outward_rounding():
        for name in MERGED:
            bound = ll.BOUNDS[name](net, point(0.0), 1.0)
            assert bound.value.item() == 0
            assert bound.pairwise(LABEL).tolist() == [[0.0, 0.0]]
