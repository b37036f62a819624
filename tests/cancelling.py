"""Networks whose layers cancel, all but a rounding."""

from random import Random

import torch
from along_lines import lin, point
from torch import nn

import lliptools as ll

# 1 − .9 − .1 in the numbers that stand for them: −2^−53 exactly, a quarter of it as summed from the left.
TENTHS, OF_TENTHS = [[1 / 3], [0.1], [0.1]], [3 * 2.0**57, -9 * 2.0**57, -(2.0**57)]
FOLLOWING = {
    "residual": [ll.nets.Residual(nn.Sequential(lin([[0.0, 0.0], [0.0, 0.0]])))],
    "pairs": [ll.nets.MaxMin(), lin([[1.0, 0.0], [0.0, 1.0]])],
    "units": [nn.LeakyReLU(1.0), lin([[1.0, 0.0], [0.0, 1.0]])],
}


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
