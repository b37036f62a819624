"""The zonotope by itself encloses its rounding: held against rational and decimal arithmetic."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from along_lines import along, lin, line, point
from cancelling import FOLLOWING, OF_TENTHS, TENTHS, cancelling
from torch import nn

import lliptools as ll
from lliptools.domains.zonotope import Zonotope
from lliptools.nets.registry import read_activation


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


@pytest.mark.parametrize("bias", [1e5, 0.0, -1e5])
@pytest.mark.parametrize("after", FOLLOWING)
def test_the_zonotope_carries_on_what_rounding_took(after, bias):
    before = lin(TENTHS), nn.LeakyReLU(1.0), lin([OF_TENTHS, [0.0, 0.0, 0.0]], [bias, 0.0])
    check_zonotope(nn.Sequential(*before, *FOLLOWING[after]), [1.0], 1e-17, [1.0])


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
