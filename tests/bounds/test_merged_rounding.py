"""The merged bounds enclose their own rounding: cases made by hand, held against rational arithmetic."""

import math
from fractions import Fraction
from itertools import permutations

import pytest
import torch
from along_lines import lin, point
from cancelling import FOLLOWING, OF_TENTHS, TENTHS
from enclosed import LABEL, MERGED, RUNGS, check
from networks import NETWORKS, points
from stepwise import Linear, Units, merge
from torch import nn

import lliptools as ll
from lliptools.bounds.ellipsoid import Problem

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


@pytest.mark.parametrize("bias", [1e6, 1.0, -1e6])
@pytest.mark.parametrize("after", FOLLOWING)
def test_what_rounding_took_is_carried_on(after, bias):
    before = lin(TENTHS), nn.Hardtanh(-5.0, 5.0), lin([OF_TENTHS, [0.0, 0.0, 0.0]], [bias, 0.0])
    assert check(nn.Sequential(*before, *FOLLOWING[after]), [0.0], 2.5, [1.0]) >= 16**2


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
