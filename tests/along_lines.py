"""The network on a line through a point, exactly: pieces (low, high, [(value at low, value at high) of every unit])."""

import math
from fractions import Fraction
from itertools import pairwise

import torch
from torch import nn

import lliptools as ll


def lin(weight, bias=None):
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    layer.weight.data = torch.tensor(weight, dtype=torch.float64)
    layer.bias.data = torch.tensor([0.0] * len(weight) if bias is None else bias, dtype=torch.float64)
    return layer


def point(*values):
    return torch.tensor([values], dtype=torch.float64)


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
