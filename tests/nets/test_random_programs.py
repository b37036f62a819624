"""Random programs of operations that are read: read as what they compute, and no slope is above a bound.

The tests draw a few; `python tests/nets/test_random_programs.py FIRST LAST` draws those of the seeds in between.
"""

import random
import sys
from collections import Counter
from math import prod

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.bounds.local import passed
from lliptools.domains import Ball, Interval
from lliptools.norms.auto import UpperNorm

F = nn.functional
MOST = 64  # entries of a value
STARTS = ((3,), (4,), (6,), (2, 4), (2, 4, 4), (3, 3, 3), (4, 2, 2), (1, 4, 6))


class Program(nn.Module):
    """Steps one after the other, each a function of all values so far, as an own forward method would write them."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def forward(self, x):
        values = [x]
        for step in self.steps:
            values.append(step(values))
        return values[-1]


class Draw:
    """Draws steps that fit on the shape of the last value."""

    def __init__(self, seed):
        self.random, self.numbers = random.Random(seed), torch.Generator().manual_seed(seed)
        self.shapes = [self.random.choice(STARTS)]
        self.steps, self.said = [], []

    def tensor(self, *shape, scale=1.0):
        return scale * torch.randn(*shape, generator=self.numbers, dtype=torch.float64)

    def net(self):
        count = self.random.randint(1, 7)
        while len(self.steps) < count:
            self.step()
        if self.random.random() < 0.7:
            weight = self.tensor(3, prod(self.shapes[-1])) / prod(self.shapes[-1]) ** 0.5
            self.add("head", lambda v: F.linear(v.flatten(1), weight))
        return Program([step for _, step in self.steps])

    def step(self):
        name = self.random.choice([name for name in dir(self) if name.startswith("draw_")])
        function = getattr(self, name)(self.shapes[-1])
        if function is not None:
            self.add(name.removeprefix("draw_"), function)

    def add(self, name, function, of_all=False):
        try:
            values = [torch.zeros(2, *shape, dtype=torch.float64) for shape in self.shapes]
            step = function if of_all or name.startswith("two") else (lambda values, f=function: f(values[-1]))
            shape = tuple(step(values).shape)
        except (RuntimeError, IndexError):
            return
        if shape[0] == 2 and 2 <= len(shape) <= 5 and 0 < prod(shape[1:]) <= MOST:
            self.steps.append((name, step))
            self.shapes.append(shape[1:])

    def draw_activation(self, shape):
        a, b = sorted(self.random.uniform(-1, 1) for _ in range(2))
        return self.random.choice([
            torch.relu, torch.tanh, torch.sigmoid, torch.abs, F.gelu, F.silu, F.mish, F.softsign, F.hardswish, F.selu,
            lambda v: F.relu(v.clone(), inplace=True), lambda v: F.leaky_relu(v, 0.1), lambda v: F.elu(v, 0.7),
            lambda v: F.softplus(v, threshold=40.0), lambda v: F.hardtanh(v, a, b), lambda v: v.clamp(a, b),
            lambda v: v.clamp(min=a), lambda v: v.clamp(max=b), lambda v: torch.clamp(v, max=torch.tensor(b)),
        ])  # fmt: skip

    def draw_linear(self, shape):
        weight, bias = self.tensor(self.random.randint(1, 5), shape[-1], scale=shape[-1] ** -0.5), self.tensor(1)
        matrix = weight.T
        return self.random.choice([
            lambda v: F.linear(v, weight, bias.expand(len(weight))), lambda v: v @ matrix,
            lambda v: v.matmul(matrix) + bias, lambda v: torch.einsum("...i,ji->...j", v, weight),
            lambda v: v.sum(-1, keepdim=True), lambda v: v.mean(1, keepdim=True), lambda v: v.cumsum(-1),
            lambda v: v.mean(-1), lambda v: v.mean(tuple(range(1, v.dim())), keepdim=True),
        ])  # fmt: skip

    def draw_image(self, shape):
        if len(shape) != 3:
            return None
        kernel = self.tensor(self.random.randint(1, 4), shape[0], 2, 2, scale=0.5)
        padding, stride = self.random.randint(0, 1), self.random.randint(1, 2)
        mode = self.random.choice(["reflect", "replicate", "circular", "constant"])
        widths = [self.random.randint(0, 1) for _ in range(4)]
        return self.random.choice([
            lambda v: F.conv2d(v, kernel, None, stride, padding), lambda v: F.avg_pool2d(v, 2),
            lambda v: F.max_pool2d(v, 2),
            lambda v: F.conv_transpose2d(v, kernel.transpose(0, 1), stride=stride), lambda v: F.pad(v, widths, mode),
            lambda v: F.adaptive_avg_pool2d(v, 1), lambda v: F.pixel_shuffle(v, 2), lambda v: F.pixel_unshuffle(v, 2),
            lambda v: F.interpolate(v, scale_factor=2), lambda v: F.max_pool2d(v, 2, 1),
            lambda v: F.pad(v, widths, value=0.5),
        ])  # fmt: skip

    def draw_constant(self, shape):
        sizes = [size if self.random.random() < 0.5 else 1 for size in shape]
        c = self.random.choice([self.tensor(*sizes), self.tensor(shape[-1]), self.random.uniform(-2, 2)])
        d = 0.3 + (c.abs() if isinstance(c, torch.Tensor) else abs(c))
        return self.random.choice([
            lambda v: v + c, lambda v: c - v, lambda v: v - c, lambda v: v * c, lambda v: c * v, lambda v: v / d,
            lambda v: -v, lambda v: (v - c) / d, lambda v: torch.add(v, v, alpha=0.5),
            lambda v: torch.maximum(v, torch.as_tensor(c).type_as(v)),
            lambda v: v.minimum(torch.as_tensor(d).type_as(v)),
        ])  # fmt: skip

    def draw_move(self, shape):
        axes = [1, *self.random.sample(range(2, len(shape) + 1), len(shape) - 1)]
        axis, size = (chosen := self.random.randrange(len(shape))) + 1, shape[chosen]
        index = [self.random.randrange(size) for _ in range(self.random.randint(1, 4))]
        start, step = self.random.randrange(size), self.random.randint(1, 2)
        return self.random.choice([
            lambda v: v.permute(0, *axes), lambda v: v.flip(axis), lambda v: v.roll(start, axis),
            lambda v: v.flatten(1),
            lambda v: v.transpose(1, -1), lambda v: v.index_select(axis, torch.tensor(index)),
            lambda v: v.select(axis, start),
            lambda v: v[:, start::step], lambda v: v[:, index], lambda v: v.unflatten(1, (1, v.shape[1])),
            lambda v: v.flatten(1).unflatten(1, (2, -1)), lambda v: v.unsqueeze(-1).expand(*v.shape, 2).flatten(1),
            lambda v: v.repeat(1, 2, *[1] * (v.dim() - 2)), lambda v: v.squeeze(tuple(range(1, v.dim()))),
            lambda v: v.narrow(axis, 0, size - start),
        ])  # fmt: skip

    def draw_pairs(self, shape):
        high, low = self.random.choice([None, 0.5]), self.random.choice([None, -0.2])

        def pairs(v):
            a, b = v.chunk(2, 1) if shape[0] % 2 == 0 else (v, v)
            larger, smaller = torch.maximum(a, b), torch.minimum(b, a)
            larger = larger if high is None else larger.clamp(max=high)
            return torch.cat([larger, smaller if low is None else smaller.clamp(min=low)], 1)

        return self.random.choice([pairs, lambda v: torch.cat(v.split(1, 1)[::-1], 1), lambda v: v.chunk(2, 1)[1]])

    def draw_two(self, shape):
        same = [k for k, other in enumerate(self.shapes) if other == shape]
        k, axis = self.random.choice(same), self.random.randint(1, len(shape))
        weight, c = self.tensor(shape[-1], shape[-1], scale=0.5), self.tensor(1, *shape).expand(2, *shape)[:1]
        return self.random.choice([
            lambda vs: vs[-1] + vs[k], lambda vs: vs[k] - vs[-1], lambda vs: torch.cat([vs[-1], vs[k]], axis),
            lambda vs: torch.stack([vs[k], vs[-1]], axis), lambda vs: torch.maximum(vs[-1], vs[k]),
            lambda vs: vs[-1].relu() + vs[k] @ weight, lambda vs: (vs[-1] @ weight).tanh() - vs[-1].sigmoid() + vs[k],
            lambda vs: torch.minimum(vs[k], vs[-1] + c), lambda vs: torch.cat([vs[-1], vs[k].relu(), vs[-1]], 1),
        ])  # fmt: skip


def judged(seed):
    """What is wrong with what is read of the program of a seed; "" where nothing is."""
    draw = Draw(seed)
    net = draw.net()
    x = draw.tensor(2, *draw.shapes[0])
    eps = draw.random.choice([0.01, 0.3, 3.0])
    try:
        blocks = ll.bounds.local.read(net, x)
        radius = torch.full((2,), eps, dtype=torch.float64)
        bound = passed(blocks, x.flatten(1), radius, Interval & Ball, UpperNorm())
    except (ll.UnsupportedLayer, ll.InvalidInput) as refused:
        said = str(refused)
        return "empty" if "an empty network" in said else f"refused: {said}"
    with torch.no_grad():
        offset = draw.tensor(2, 64, prod(draw.shapes[0]))
        offset = eps * offset / offset.norm(dim=2, keepdim=True) * torch.rand(2, 64, 1, generator=draw.numbers).double()
        near = torch.cat([offset[:, :32] * 1e-3, offset[:, 32:]], 1)
        points = (x.flatten(1)[:, None] + near).flatten(0, 1)
        outputs = net(points.reshape(-1, *draw.shapes[0])).flatten(1)
        if not torch.allclose(ll.nets.forward(blocks, points), outputs, rtol=1e-9, atol=1e-9):
            return "read as another function"
        one, other = (part.reshape(2, 32, 2, -1) for part in (points, outputs))
        moved, rose = ((part[:, :, 0] - part[:, :, 1]).norm(dim=2) for part in (one, other))
        slope = (rose - 1e-13 * outputs.abs().amax()) / moved
        if not (slope.amax(1) <= bound.value * (1 + 1e-9)).all():
            return f"a slope of {slope.amax(1).tolist()} above {bound.value.tolist()}"
    return ""


@pytest.mark.parametrize(
    "start", [pytest.param(start, marks=[pytest.mark.slow] if start >= 10 else []) for start in range(0, 80, 10)]
)
def test_programs(start):
    verdicts = {seed: judged(seed) for seed in range(start, start + 10)}
    assert not {seed: said for seed, said in verdicts.items() if said not in ("", "empty")}


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:])
    counts = Counter()
    for seed in range(first, last):
        said = judged(seed)
        counts[said.split(":")[0]] += 1
        if said not in ("", "empty"):
            (draw := Draw(seed)).net()
            print(seed, [name for name, _ in draw.steps], said)
        if seed % 500 == 499:
            print(seed + 1, dict(counts), flush=True)
    print(f"{last - first} programs: {dict(counts)}")
