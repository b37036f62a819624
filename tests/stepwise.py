"""Small networks as steps, with the slopes that interval boxes give, for the tests of merging."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lliptools.bounds.merged import by_groups, by_multipliers, pairs_by_multipliers
from lliptools.domains import Slopes


@dataclass
class Linear:
    weight: torch.Tensor


@dataclass
class Units:
    least: torch.Tensor
    greatest: torch.Tensor


@dataclass
class Pairs:
    resolved: torch.Tensor


@dataclass
class Residual:
    steps: Sequence


def tie(step):
    return (step.resolved == 0).double()


def after(slopes, steps):
    for step in steps:
        if isinstance(step, Linear):
            slopes = slopes.times(step.weight)
        elif isinstance(step, Units):
            slopes = slopes.units(step.least, step.greatest)
        elif isinstance(step, Pairs):
            slopes = slopes.pairs(step.resolved - tie(step), step.resolved + tie(step))
        else:
            start = slopes.beside(slopes)
            slopes = after(start, step.steps).add(start)
    return slopes


def inputs(batch, features):
    return Slopes.start(torch.zeros(batch, features, dtype=torch.float64), torch.ones(batch, dtype=torch.float64))


def merge(steps, batch, features):
    return after(inputs(batch, features), steps)


def center_and_radius(steps, batch, features):
    return by_groups(merge(steps, batch, features), lambda index, group: group.path())


def multipliers_bound(steps, batch, features, optimization_steps=8):
    return by_multipliers(merge(steps, batch, features), optimization_steps)


def multipliers_pairwise(steps, batch, features, y, optimization_steps=8):
    return pairs_by_multipliers(merge(steps, batch, features), y, optimization_steps)


SLACK = 1 + 1e-9
FEATURES, BATCH = 3, 4


def matrix(rows, columns, size=2.0):
    return size * torch.randn(rows, columns, dtype=torch.float64) / columns**0.5, torch.randn(rows).double() / 2


def linear(rows, columns, size=2.0):
    return ("linear", *matrix(rows, columns, size))


def run(layers, h):
    for kind, *what in layers:
        if kind == "linear":
            h = h @ what[0].T + what[1]
        elif kind == "leaky":
            h = torch.where(h > 0, h, what[0] * h)
        elif kind == "clipped":
            h = h.clamp(0.0, what[0])
        elif kind == "tanh":
            h = h.tanh()
        elif kind == "maxmin":
            a, b = h.chunk(2, dim=-1)
            h = torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=-1)
        else:
            h = h + run(what[0], h)
    return h


def around(layers, lower, upper):
    """The steps that interval arithmetic gives, and the box of the outputs."""
    steps = []
    for kind, *what in layers:
        if kind == "linear":
            middle, half = run([("linear", *what)], (lower + upper) / 2), (upper - lower) / 2 @ what[0].abs().T
            lower, upper = middle - half - 1e-9 * half, middle + half + 1e-9 * half
            steps.append(Linear(what[0]))
        elif kind == "maxmin":
            (a, b), (c, d) = lower.chunk(2, dim=1), upper.chunk(2, dim=1)
            steps.append(Pairs((a >= d).to(torch.int8) - (b >= c).to(torch.int8)))
            lower, upper = run([(kind,)], lower), run([(kind,)], upper)
        elif kind == "residual":
            inner, below, above = around(what[0], lower, upper)
            steps.append(Residual(inner))
            lower, upper = lower + below, upper + above
        else:
            if kind == "leaky":
                one, other = torch.ones_like(lower), torch.full_like(lower, what[0])
                least, greatest = torch.where(lower >= 0, one, other), torch.where(upper > 0, one, other)
            elif kind == "clipped":
                least = ((lower >= 0) & (upper <= what[0])).double()
                greatest = ((upper > 0) & (lower < what[0])).double()
            else:
                ends = 1 - lower.tanh().square(), 1 - upper.tanh().square()
                least = torch.minimum(*ends)
                greatest = torch.where((lower < 0) & (upper > 0), 1.0, torch.maximum(*ends))
            steps.append(Units(least.double(), greatest.double()))
            lower, upper = run([(kind, *what)], lower), run([(kind, *what)], upper)
    return steps, lower, upper


def nets():
    torch.manual_seed(1)
    relu, tanh = ("leaky", 0.0), ("tanh",)
    return {
        "relu": [linear(12, 3), relu, linear(10, 12), relu, linear(4, 10)],
        "deep": [linear(8, 3), relu, linear(8, 8), relu, linear(8, 8), relu, linear(8, 8), relu, linear(5, 8)],
        "leaky": [linear(12, 3), ("leaky", 0.3), linear(10, 12), ("leaky", -0.5), linear(4, 10)],
        "clipped": [linear(12, 3), ("clipped", 0.6), linear(10, 12), ("clipped", 0.6), linear(4, 10)],
        "tanh": [linear(12, 3), tanh, linear(10, 12), tanh, linear(4, 10)],
        "maxmin": [linear(12, 3), ("maxmin",), linear(10, 12), ("maxmin",), linear(4, 10)],
        "residual": [
            linear(8, 3),
            relu,
            ("residual", [linear(6, 8, 1.0), tanh, linear(8, 6, 1.0), ("residual", [linear(8, 8, 0.5), relu])]),
            ("maxmin",),
            linear(4, 8),
        ],
        "residual first": [("residual", [linear(2, 3), relu, linear(3, 2)]), relu, linear(2, 3)],
        "two matrices": [linear(2, 3), linear(6, 2), relu, linear(5, 6), linear(3, 5)],
        "one output": [linear(8, 3), relu, linear(6, 8), relu, linear(1, 6)],
        "ends in units": [linear(8, 3), relu, linear(6, 8), relu],
        "starts with units": [relu, linear(4, 3), tanh, linear(3, 4)],
    }


NETS = nets()
RADII = (0.0, 1e-9, 0.05, 0.4, 3.0, 1e3)


def centers(count=BATCH):
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def sampled(layers, x, eps, count=60):
    """Largest Jacobian norm, and of each output, at points of the balls."""
    generator = torch.Generator().manual_seed(7)
    direction = torch.randn(count, *x.shape, generator=generator, dtype=torch.float64)
    direction = direction / direction.norm(dim=2, keepdim=True)
    length = torch.rand(count, len(x), 1, generator=generator, dtype=torch.float64)
    slopes = torch.func.vmap(torch.func.jacrev(lambda row: run(layers, row)))
    jacobians = slopes((x + (1 - 1e-12) * eps * length * direction).flatten(0, 1))
    return jacobians.reshape(count, len(x), -1, x.shape[1])


def steps_of(layers, x, eps):
    return around(layers, x - eps, x + eps)[0]
