"""The exact search where planes nearly coincide and sums cancel: slivers between planes, made by hand."""

import math
from fractions import Fraction

import pytest
import torch
from slivers import is_steeper, lin, margin_at, parts
from torch import nn

import lliptools as ll
from lliptools.bounds import adversarial_distance, exact_bound


def test_a_sliver_between_two_units_is_a_region():
    net = nn.Sequential(lin([[1], [1]], [0, -1e-15]), nn.ReLU(), lin([[-1e6, 1e6], [0, 0]], [5e-10, 0]))
    x, eps = torch.tensor([[-0.5]]).double(), 1.0
    assert exact_bound(net, x, eps).value.item() == pytest.approx(1e6, rel=1e-12)
    assert not ll.certify(net, x, torch.tensor([0]), eps, bound=exact_bound).holds
    assert net(torch.tensor([[0.4]]).double())[0].argmax() == 1


@pytest.mark.parametrize("features", [1, 2, 3])
@pytest.mark.parametrize("gap", [2.0**-52, 2.0**-60, 1e-200])
def test_two_planes_are_one_only_where_they_are_equal(features, gap):
    """(relu(z) − relu(z − gap)) / gap is steep between the two planes, however thin the sliver; without it, flat."""
    row, x = [1.0, *[2.0] * (features - 1)], torch.zeros(1, features).double()
    x[0, 0] = -0.5
    first = lin([row, row], [0.0, -gap])
    net = nn.Sequential(first, nn.ReLU(), lin([[1 / gap, -1 / gap]]))
    steep = math.hypot(*row) / gap
    assert exact_bound(net, x, 2.0).value.item() == pytest.approx(steep, rel=1e-12)
    with torch.no_grad():
        first.bias.zero_()
    assert exact_bound(net, x, 2.0).value.item() == 0


@pytest.mark.parametrize("features", [2, 3])
def test_planes_that_agree_in_all_but_a_weights_last_digit(features):
    """Two planes through the centre that differ by a rotation of 1e-16, and one that deeper layers compute again."""
    row = [1.0, *[1.0] * (features - 1)]
    other = [1.0 + 2.0**-52, *row[1:]]
    net = nn.Sequential(lin([row, other]), nn.ReLU(), lin([[1e16, -1e16]]))
    x = torch.zeros(1, features).double()
    for eps in (0.0, 1e-300, 1.0):
        assert exact_bound(net, x, eps).value.item() >= 1e16 * features**0.5
    net = nn.Sequential(lin([row, row]), nn.ReLU(), lin([[1e16, -1e16]]))
    for eps in (0.0, 1e-300, 1.0):
        assert exact_bound(net, x, eps).value.item() == 0


@pytest.mark.parametrize("depth", [2, 3])
def test_what_folds_exactly_stays_exact(depth):
    """Weights whose products are rounded, by layers of another kind: coinciding planes are proved from the factors."""
    net = nn.Sequential(nn.Unflatten(1, (1, 2)))
    for _ in range(depth):
        into, back = nn.Conv1d(1, 2, 1).double(), nn.Conv1d(2, 1, 1).double()
        with torch.no_grad():
            into.weight.copy_(torch.tensor([1 / 3, -1 / 3], dtype=torch.float64).view(2, 1, 1))
            back.weight.copy_(torch.tensor([3.0, -3.0]).view(1, 2, 1))
            into.bias.zero_()
            back.bias.zero_()
        net += nn.Sequential(into, nn.ReLU(), back)
    net.append(nn.Flatten())
    bound = exact_bound(net, torch.zeros(1, 2).double(), 1.0)
    assert bound.value.item() == pytest.approx(1.0, rel=1e-12)
    assert bound.regions == (4,)


def test_a_product_that_cancels_is_not_zero():
    """3 · (1/3) − 1 is −2^−54 and comes out as 0."""
    net = nn.Sequential(lin([[1 / 3], [1]]), lin([[3, -1], [0, 0]], [1, 0]))
    x, label = torch.zeros(1, 1).double(), torch.tensor([0])
    with ll.bounds.outward_rounding():
        bound = exact_bound(net, x, 1.0)
    assert 2.0**-54 <= bound.value.item() <= 1e-14
    assert bound.pairwise(label)[0, 1] >= 2.0**-54
    assert bound.arithmetic == "float64, rounding enclosed"
    assert exact_bound(net, x, 1.0).arithmetic == "float64, rounding not enclosed"
    assert not ll.certify(net, x, label, 2e17, bound=exact_bound).holds  # beyond 2^54 class 1 wins


@pytest.mark.parametrize("features", [1, 2])
def test_no_certificate_from_a_plane_that_cancellation_hides(features):
    """A clipped unit of −5.55 x, which comes out as constant: class 0 loses within 2.5."""
    theta = torch.tensor(5.0, dtype=torch.float64)
    rest = [0.0] * (features - 1)
    net = nn.Sequential(
        *(lin([[1 / 3, *rest], [1, *rest]]), lin([[3e17, -1e17]]), ll.nets.ClippedReLU(theta)),
        *(lin([[-1], [0]], [2.5, 0]),),
    )
    x, label = torch.zeros(1, features).double(), torch.tensor([0])
    ends = [z for *_, z, _ in parts(net, [Fraction(0)] * features, [Fraction(1), *map(Fraction, rest)], Fraction(5, 2))]
    ends += [
        z for _, _, z, *_ in parts(net, [Fraction(0)] * features, [Fraction(1), *map(Fraction, rest)], Fraction(5, 2))
    ]
    assert margin_at(ends, 0) < 0
    assert not ll.certify(net, x, label, 2.5, bound=exact_bound).holds
    with ll.bounds.outward_rounding():
        assert exact_bound(net, x, 2.5).value.item() >= 5


def test_a_constant_that_rounding_puts_on_the_wrong_side():
    """2^53 + 1 + 1 + 1 − (2^53 + 2) is 1, and −2 in some order of summation; what reads it breaks inside the ball."""
    large, x = 2.0**53, torch.zeros(1, 1).double()
    wrong = 0
    for weight in ([large, 1, 1, 1], [1, large, 1, 1], [1, 1, large, 1], [1, 1, 1, large]):
        net = nn.Sequential(
            *(lin([[1], [0], [0], [0], [0]], [2, 5, 5, 5, 5]), ll.nets.ClippedReLU(torch.tensor([9.0, 1, 1, 1, 1]))),
            *(lin([[1, 0, 0, 0, 0], [0, *weight]], [0, -large - 2]), nn.ReLU(), lin([[1, 3]], [-5]), nn.ReLU()),
        )
        wrong += net[:3](x)[0, 1].item() < 0
        assert exact_bound(net, x, 1.0).value.item() == pytest.approx(1.0)
    assert wrong


def test_distances_are_never_more_than_the_true_one():
    """A peak of class 1 that is narrower than the spacing of numbers around x."""
    peak = [0, -1e-15, -2e-15]
    net = nn.Sequential(lin([[1, 0]] * 3, peak), nn.ReLU(), lin([[-1e16, 2e16, -1e16], [0, 0, 0]], [5, 0]))
    x = torch.tensor([[-0.5, 0.25]]).double()
    distance, point = adversarial_distance(net, x, torch.tensor([0]), 1.0)
    assert 0.5 - 1e-12 <= distance.item() <= 0.5 + 1e-15
    assert point[0].tolist() == pytest.approx([0, 0.25], abs=1e-12)


def test_points_and_networks_beyond_the_range_of_the_search():
    net = nn.Sequential(lin([[1, 1]], [0]), nn.ReLU(), lin([[1], [2]]))
    with pytest.raises(ll.InvalidInput, match="products of weights"):
        exact_bound(net, torch.tensor([[1e-260, 1.0]], dtype=torch.float64), 0.1)
    with pytest.raises(ll.InvalidInput, match="products of weights"):
        exact_bound(net, torch.tensor([[1e260, 1.0]], dtype=torch.float64), 0.1)


class Unsorted(ll.nets.Activation):
    """Clipped, with pieces in another order."""

    def forward(self, z):
        return z.clamp(-1, 1)

    def image(self, lower, upper):
        return self(lower), self(upper)

    def slopes(self, lower, upper):
        return torch.zeros_like(lower), torch.ones_like(lower)

    def pieces(self, shape):
        one = torch.ones(shape, dtype=torch.float64)
        return torch.stack([one, -one]), torch.stack([0 * one, one, 0 * one])


def test_pieces_that_describe_no_function():
    net = nn.Sequential(lin([[1, 1]], [0]), Unsorted(), lin([[1], [2]]))
    with pytest.raises(ll.InvalidInput, match="ascending"):
        exact_bound(net, torch.zeros(1, 2).double(), 0.1)


def test_biases_whose_sum_cancels():
    """The unit is 5.55 − x, and comes out as −x: it breaks inside the ball around 5, and is on where x < 5.55."""
    net = nn.Sequential(lin([[1], [0]], [0, 1 / 3]), lin([[-1, -3e17]], [1e17]), nn.ReLU(), lin([[1], [0]]))
    assert exact_bound(net, torch.full((1, 1), 5.0).double(), 1.0).value.item() == pytest.approx(1.0)


def test_a_ball_as_small_as_numbers_are():
    """Three lines around a triangle in a ball whose radius is the smallest number of all."""
    tiny = 5e-324
    unit = 1e100 * tiny
    net = nn.Sequential(
        *(lin([[1e100, 0], [0, 1e100], [1e100, 1e100]], [-0.55 * unit, -0.55 * unit, -0.79 * math.sqrt(2) * unit]),),
        *(nn.ReLU(), lin([[2, 2, -1]])),
    )
    bound = exact_bound(net, torch.zeros(1, 2).double(), tiny)
    assert bound.value.item() == pytest.approx(math.sqrt(8) * 1e100)


def test_a_unit_that_comes_out_constant_and_is_not():
    """The unit is 5.55 x − 2, and comes out as −2: off at the centre, on beyond .36."""
    net = nn.Sequential(lin([[1 / 3], [1]]), lin([[-3e17, 1e17]], [-2]), nn.ReLU(), lin([[-1], [0]], [1, 0]))
    x, label = torch.zeros(1, 1).double(), torch.tensor([0])
    [*_, (*_, end, jacobian)] = parts(net, [Fraction(0)], [Fraction(1)], Fraction(1))
    assert end[0] < end[1]
    with ll.bounds.outward_rounding():
        bound = exact_bound(net, x, 1.0)
    assert not any(is_steeper(rows, bound.value.item()) for rows in (jacobian, [[Fraction(5)]]))
    assert not ll.certify(net, x, label, 1.0, bound=exact_bound).holds


def test_scales_that_are_equal_only_when_rounded():
    """Batch normalisation by 1/√2, and by the number it is rounded to: the units break at points 3e-17 apart."""
    net = nn.Sequential(
        lin([[1], [1]]), nn.BatchNorm1d(2, eps=2.0**-20).double(), nn.ReLU(), lin([[1e20, -1e20]])
    ).eval()
    norm = net[1]
    with torch.no_grad():
        norm.running_var.copy_(torch.tensor([2.0, 1.0]) - 2.0**-20)
        norm.weight.copy_(torch.tensor([1.0, 1 / math.sqrt(2)], dtype=torch.float64))
        norm.bias.fill_(-0.25)
    assert exact_bound(net, torch.zeros(1, 1).double(), 1.0).value.item() >= 0.7e20


def test_rounding_that_is_larger_than_the_margins_is_refused():
    """The margin is 3 − 5.55 x, and comes out as 3 to within some 40 x: whether class 0 loses within .1 is open."""
    net = nn.Sequential(lin([[1 / 3, 0], [1, 0]]), lin([[3e17, -1e17], [0, 0]], [3, 0]))
    with pytest.raises(ll.InvalidInput, match="rounding leaves a tie open"):
        adversarial_distance(net, torch.zeros(1, 2).double(), torch.tensor([0]), 0.1)
