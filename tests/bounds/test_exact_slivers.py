"""The exact search against rational arithmetic: slivers between planes that nearly coincide, and sums that cancel.

Along a line every network is cut exactly where a unit breaks, in fractions; the Jacobian of each part is one of the
network's regions, and the margins are least at the ends of the parts.
"""

import math
import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds import adversarial_distance, exact_bound
from lliptools.bounds.exact_cells import clip, clip_error, nearest
from lliptools.bounds.exact_patterns import point_in

WEIGHTS = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 1 / 3, 0.1]
BIASES = [0.0, 0.0, 0.5, -0.5, 1.0, -1.0, 1e-15, -1e-15, 0.25, -1 / 3]
POINTS = [0.0, 0.0, 0.5, -0.5, 1.0, -1.0, 0.3]
RADII = [0.0, 0.5, 0.5, 1.0, 2.0, 3.0, 1e-15, 2.0**-52, 1e-300, 5e-324]


def lin(weight, bias=None):
    """A float64 nn.Linear with these numbers."""
    weight = torch.tensor(weight, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
    layer.weight.data = weight
    layer.bias.data = torch.zeros(len(weight)).double() if bias is None else torch.tensor(bias, dtype=torch.float64)
    return layer


def jittered(value, draw):
    """The value, or one a few units of the last place away."""
    return value * (1 + draw.choice([0, 0, 0, 1, -1, 2]) * 2.0**-52)


def random_network(draw, features):
    """Coarse weights; units that are copies of others, or nearly; layers that cancel; odd scales."""
    layers, width = [], features
    for _ in range(draw.choice([1, 1, 2, 2, 3])):
        rows = [[jittered(draw.choice(WEIGHTS), draw) for _ in range(width)] for _ in range(draw.randint(1, 3))]
        bias = [jittered(draw.choice(BIASES), draw) for _ in rows]
        for _ in range(draw.randint(0, 2)):
            of, sign = draw.randrange(len(rows)), draw.choice([1, -1])
            rows.append([sign * (weight if draw.random() < 0.7 else jittered(weight, draw)) for weight in rows[of]])
            bias.append(sign * (bias[of] + draw.choice([0.0, 0.0, 1e-15, -1e-16, 2.0**-53])))
        scale = draw.choice([1.0] * 6 + [1e8, 1e-8, 3e15, 1e17])
        layers.append(lin([[scale * weight for weight in row] for row in rows], bias))
        width = len(rows)
        if draw.random() < 0.25:
            width = draw.randint(1, 3)
            rows = [
                [jittered(draw.choice([-3.0, -1.0, 0.0, 1.0, 3.0, 1 / 3]), draw) for _ in bias] for _ in range(width)
            ]
            layers.append(lin(rows, [draw.choice([0.0, 0.0, 0.5, 1e-16]) for _ in rows]))
        clipped = ll.nets.ClippedReLU(torch.tensor(draw.choice([1.0, 0.5, 5.0, 1e-16]), dtype=torch.float64))
        layers.append(draw.choice([nn.ReLU(), nn.ReLU(), clipped, nn.LeakyReLU(draw.choice([0.1, 0.5]))]))
    rows = [[jittered(draw.choice(WEIGHTS), draw) * draw.choice([1.0, 1e6]) for _ in range(width)] for _ in range(3)]
    return nn.Sequential(*layers, lin(rows, [draw.choice([0.0, 1e-3, 0.5, -0.5, 1e-15]) for _ in rows]))


def bends(layer):
    """Breakpoints and slopes of an activation that is 0 at 0."""
    zero, one = Fraction(0), Fraction(1)
    if isinstance(layer, nn.LeakyReLU):
        return [zero], [Fraction(layer.negative_slope), one]
    if isinstance(layer, ll.nets.ClippedReLU):
        return [zero, Fraction(layer.theta.item())], [zero, one, zero]
    return [zero], [zero, one]


def activated(z, cuts, slopes):
    """The activation's value at z: slope by slope from its first breakpoint, which is 0."""
    value = slopes[0] * min(z, cuts[0])
    for k, cut in enumerate(cuts):
        value += slopes[k + 1] * (min(max(z, cut), cuts[k + 1] if k + 1 < len(cuts) else max(z, cut)) - cut)
    return value


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def parts(net, start, direction, reach):
    """[(t, u, outputs at t, outputs at u, Jacobian)] of the network on start + [−reach, reach] · direction, exactly.

    The Jacobian, (outputs, features), is that of the region around the inside of the part.
    """
    identity = [[Fraction(i == j) for j in range(len(start))] for i in range(len(start))]
    at = [p - reach * d for p, d in zip(start, direction, strict=True)]
    found = [(-reach, Fraction(0), at, identity), (Fraction(0), reach, start, identity)]
    for layer in net:
        after = []
        if isinstance(layer, nn.Linear):
            weight = [[Fraction(value) for value in row] for row in layer.weight.tolist()]
            bias = [Fraction(value) for value in layer.bias.tolist()]
            for t, u, z, jacobian in found:
                columns = [times(weight, column) for column in zip(*jacobian, strict=True)]
                moved = [value + b for value, b in zip(times(weight, z), bias, strict=True)]
                after.append((t, u, moved, [list(row) for row in zip(*columns, strict=True)]))
            found = after
            continue
        cuts, slopes = bends(layer)
        for t, u, z, jacobian in found:
            steep = times(jacobian, direction)
            ends = {t + (cut - value) / s for value, s in zip(z, steep, strict=True) if s for cut in cuts}
            for one, other in pairwise(sorted({t, u} | {end for end in ends if t < end < u})):
                middle = [value + s * ((one + other) / 2 - t) for value, s in zip(z, steep, strict=True)]
                slope = [slopes[sum(value > cut for cut in cuts)] for value in middle]
                begin = [activated(value + s * (one - t), cuts, slopes) for value, s in zip(z, steep, strict=True)]
                rows = [[s * entry for entry in row] for s, row in zip(slope, jacobian, strict=True)]
                after.append((one, other, begin, rows))
        found = after
    return [
        (t, u, z, [v + s * (u - t) for v, s in zip(z, times(jacobian, direction), strict=True)], jacobian)
        for t, u, z, jacobian in found
    ]


def is_steeper(jacobian, value):
    """Whether the spectral norm of a Jacobian with at most three columns is larger than value, decided exactly."""
    columns = list(zip(*jacobian, strict=True))
    gram = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in columns] for one in columns]
    left = [[(i == j) * Fraction(value) ** 2 - entry for j, entry in enumerate(row)] for i, row in enumerate(gram)]
    while left:  # value² I − JᵀJ is positive semidefinite where its Schur complements are
        pivot = left[0][0]
        if pivot < 0 or (pivot == 0 and any(left[0])):
            return True
        scale = 1 / pivot if pivot else Fraction(0)
        left = [[row[j] - row[0] * scale * left[0][j] for j in range(1, len(row))] for row in left[1:]]
    return False


def lines(draw, x, eps):
    """Lines through the centre, of simple directions, and how far along each the ball extends.

    At eps = 0 parts that touch the centre are meant, and any length will do.
    """
    found = []
    for number in range(1 if len(x) == 1 else 3):
        direction = [Fraction(1) if number == 0 else Fraction(draw.choice([-2, -1, 1, 2, 3])) for _ in x]
        # A little shorter than eps/‖d‖ where that is rounded, so that the ends are in the ball.
        length = sum(float(d) ** 2 for d in direction) ** 0.5 * (1 + 1e-12) if len(x) > 1 else 1
        found.append((direction, eps / Fraction(length) if eps else Fraction(1)))
    return found


def regions(draw, net, x, eps):
    """The parts of some lines that belong to the ball: at eps = 0, that touch the centre."""
    start, eps = [Fraction(value) for value in x], Fraction(eps)
    found = [part for line, reach in lines(draw, x, eps) for part in parts(net, start, line, reach)]
    return [part for part in found if eps or part[0] <= 0 <= part[1]]


def cases(count, features):
    """(draw, network, points, radii)."""
    for seed in range(count):
        draw = random.Random(1000 * features + seed)
        net = random_network(draw, features)
        points = [[jittered(draw.choice(POINTS), draw) for _ in range(features)] for _ in RADII]
        yield draw, net, torch.tensor(points, dtype=torch.float64), torch.tensor(RADII, dtype=torch.float64)


def margin_at(ends, label):
    return min(values[label] - value for values in ends for j, value in enumerate(values) if j != label)


@pytest.mark.slow
@pytest.mark.parametrize(("features", "count"), [(1, 150), (2, 50), (3, 25)])
def test_no_region_is_steeper_and_no_certificate_is_false(features, count):
    """Values, differences of classes and certificates on networks whose planes and sums nearly coincide or cancel."""
    certified = compared = 0
    for draw, net, x, eps in cases(count, features):
        y = net(x).argmax(dim=1)
        with ll.bounds.outward_rounding():
            bound = exact_bound(net, x, eps)
        pairs, proved = bound.pairwise(y), ll.certify(net, x, y, eps, bound=lambda *_, found=bound: found).holds
        for index, (point, radius, label) in enumerate(zip(x.tolist(), eps.tolist(), y.tolist(), strict=True)):
            found = regions(draw, net, point, radius)
            compared += len(found)
            value, between = bound.value[index].item(), pairs[index].tolist()
            for _, _, _, _, jacobian in found:
                assert not is_steeper(jacobian, value)
                own = jacobian[label]
                for j, row in enumerate(jacobian):
                    assert not is_steeper([[a - b for a, b in zip(own, row, strict=True)]], between[j])
            if proved[index]:
                certified += 1
                ends = [z for t, u, one, other, _ in found for at, z in ((t, one), (u, other)) if radius or at == 0]
                assert margin_at(ends, label) > 0
    assert compared >= 5 * count
    assert certified >= count


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
    assert len(bound.jacobians[0]) == 4


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


@pytest.mark.slow
def test_distances_against_rational_arithmetic():
    answered = 0
    for draw, net, x, _ in cases(20, 2):
        x = x[:4]
        y = net(x).argmax(dim=1)
        try:
            distance, point = adversarial_distance(net, x, y, 2.0)
        except ll.InvalidInput:  # a point that would be no tie
            continue
        answered += 1
        for index, (center, label) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            start, shortest = [Fraction(value) for value in center], Fraction(distance[index].clamp_max(1e9).item())
            for line, reach in lines(draw, center, Fraction(2)):
                squared = sum(d * d for d in line)
                for t, u, one, other, _ in parts(net, start, line, reach):
                    for begin, end in zip(one, other, strict=True):
                        lost, left = begin - one[label], end - other[label]
                        if begin is one[label] or (lost < 0 and left < 0):
                            continue
                        ties = [at for at, value in ((t, lost), (u, left)) if value >= 0]
                        if lost != left and min(lost, left) < 0:
                            ties.append(t + (u - t) * lost / (lost - left))
                        assert shortest**2 <= min(at * at for at in ties) * squared
            if distance[index].isfinite():
                assert (point[index] - x[index]).norm() == pytest.approx(distance[index].item(), rel=1e-9, abs=1e-11)
    assert answered >= 15


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


def test_a_point_on_all_sides_is_never_clipped_away():
    """Lines that pass a point by rounding only, many times over: it stays in the polygon that is kept."""
    draw = random.Random(0)
    for _ in range(60):
        inside = [draw.uniform(-0.6, 0.6) for _ in range(2)]
        polygon = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
        for clips in range(150):
            angle = draw.uniform(0, 2 * math.pi) if draw.random() < 0.5 else 0.7 + draw.uniform(-1e-15, 1e-15)
            normal = [math.cos(angle), math.sin(angle)]
            exact = sum(Fraction(a) * Fraction(u) for a, u in zip(normal, inside, strict=True))
            offset = float(-exact) + draw.choice([0.0, 1e-16, 1e-12, 1e-3])
            while Fraction(offset) < -exact:
                offset = math.nextafter(offset, math.inf)
            assert max(normal[0] * u + normal[1] * v + offset for u, v in polygon) >= -clip_error(clips)
            polygon = clip(polygon, *normal, offset + clip_error(clips))
            assert polygon
            away = [(u - inside[0], v - inside[1]) for u, v in polygon]
            assert math.hypot(*nearest(away)) <= 2


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


def test_no_proof_against_a_point_that_is_there():
    """Half-spaces whose boundaries pass through one point of the unit sphere, to within rounding."""
    draw = random.Random(0)
    for _ in range(400):
        features = draw.choice([2, 3, 5])
        point = [draw.gauss(0, 1) for _ in range(features)]
        point = [value / math.hypot(*point) for value in point]
        while sum(Fraction(value) ** 2 for value in point) > 1:
            point = [value * (1 - 2.0**-53) for value in point]
        normals, offsets = [], []
        for _ in range(draw.randint(1, 40)):
            normal = [value + draw.choice([0.0, 1e-9, 1e-3, 1.0]) * draw.gauss(0, 1) for value in point]
            normal = [value / math.hypot(*normal) for value in normal]
            exact = sum(Fraction(a) * Fraction(u) for a, u in zip(normal, point, strict=True))
            offset = float(-exact)
            while Fraction(offset) < -exact:
                offset = math.nextafter(offset, math.inf)
            normals.append(normal)
            offsets.append(offset)
        origin = np.zeros(features)
        assert point_in(np.array(normals), np.array(offsets), origin) is not None
        assert point_in(np.array([point]), np.array([-1 - 1e-12]), origin) is None
