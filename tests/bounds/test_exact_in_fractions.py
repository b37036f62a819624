"""The exact search on random networks, against rational arithmetic along lines."""

from fractions import Fraction

import pytest
from slivers import cases, is_steeper, lines, margin_at, parts, regions

import lliptools as ll
from lliptools.bounds import adversarial_distance, exact_bound


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
