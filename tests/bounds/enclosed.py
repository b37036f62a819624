"""The bounds that enclose the rounding of merged layers, held against what happens on a line."""

import math
from fractions import Fraction

import torch
from along_lines import along, line, point

import lliptools as ll
from lliptools.bounds.merged import FULL

MERGED = ("path", "merged", "tightest")
RUNGS = [ll.local_bound, *(ll.BOUNDS[name] for name in MERGED)]
RUNGS += [lambda *a: ll.merged_bound(*a, steps=8), lambda *a: ll.local_bound(*a, domain=FULL)]
LABEL = torch.tensor([0])


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
