"""Networks whose planes and sums nearly coincide or cancel, in rational arithmetic.

Along a line every network is cut exactly where a unit breaks, in fractions; the Jacobian of each part is one of the
network's regions, and the margins are least at the ends of the parts.
"""

import random
from fractions import Fraction
from itertools import pairwise

import torch
from torch import nn

import lliptools as ll

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
