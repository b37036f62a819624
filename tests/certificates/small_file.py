"""A certificate file of a small network of the plane, and copies in which one value is another."""

from decimal import Decimal

import torch
from file_checks import numbers
from networks import random_mlp

from lliptools.certificates.files import certificate


def small():
    """A network of the plane and a point at which units vary and are constant for each of the three reasons."""
    net = random_mlp(2, 5, 4, 3, activation="clipped_relu", seed=250)
    with torch.no_grad():
        net[0].bias.normal_()
        net[2].bias.normal_()
        net[1].theta[0] = -0.2
        net[3].theta[:] = torch.tensor([0.5, 0.3, 1.0, torch.inf])
    x = torch.tensor([[0.6, -0.4]], dtype=torch.float64)
    return net, x, net(x).argmax(dim=1)


EPS = 0.15
NET, X, Y = small()
TEXT = certificate(NET, X, Y, EPS, "small")[0]
FILE = numbers(TEXT)  # to be read only


def places(value, at=()):
    """Where the numbers, booleans and nulls of a file are."""
    if isinstance(value, dict):
        return [found for key in value for found in places(value[key], (*at, key))]
    if isinstance(value, list):
        return [found for k, each in enumerate(value) for found in places(each, (*at, k))]
    return [] if isinstance(value, str) else [at]


def changed(place, change):
    """A copy of the file with one value replaced by what change makes of it."""
    file = numbers(TEXT)
    holder = file
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = change(holder[place[-1]])
    return file


def at(place):
    """What stands there in the file."""
    value = FILE
    for key in place:
        value = value[key]
    return value


VALUES = places(FILE)
NUMBERS = [place for place in VALUES if isinstance(at(place), Decimal)]
STEP = ("points", 0, "hidden")


# Each kind of number and the way that makes the claim stronger or a step wrong.
WRONG = {
    "eps": (("points", 0, "eps"), lambda v: v * Decimal("1.001")),
    "eps below 0": (("points", 0, "eps"), lambda v: -v),
    "a margin": (("points", 0, "margins", 0), lambda v: v * Decimal("1.0001")),
    "another margin": (("points", 0, "margins", 1), lambda v: v * Decimal("1.0001")),
    "a margin of 0": (("points", 0, "margins", 0), lambda v: 0 * v),
    "a margin below 0": (("points", 0, "margins", 0), lambda v: -v),
    "a multiplier of 0": (("points", 0, "multipliers", 0), lambda v: 0 * v),
    "a multiplier below 0": (("points", 0, "multipliers", 0), lambda v: -v),
    "a label": (("points", 0, "label"), lambda v: (v + 1) % 3),
    "a label out of range": (("points", 0, "label"), lambda v: Decimal(3)),
    "a label from behind": (("points", 0, "label"), lambda v: v - 3),
    "half a label": (("points", 0, "label"), lambda v: v + Decimal("0.5")),
    "the point": (("points", 0, "x", 0), lambda v: v + Decimal("0.01")),
    "a bias": (("network", 0, "bias", 1), lambda v: v + Decimal("0.01")),
    "a weight": (("network", 0, "weight", 1, 1), lambda v: v + Decimal("0.01")),
}
for layer in (0, 1):
    WRONG |= {
        f"norm {layer}": ((*STEP, layer, "norm"), lambda v: v * Decimal("0.99999")),
        f"norm {layer} below 0": ((*STEP, layer, "norm"), lambda v: -v),
        f"radius {layer}": ((*STEP, layer, "radius"), lambda v: v * (1 - Decimal("1e-12"))),
        f"radius {layer} below 0": ((*STEP, layer, "radius"), lambda v: -v),
    }
