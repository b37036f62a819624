"""Points of two classes in the plane, by name and seed."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Drawn = tuple[tuple[float, float, int], ...]  # x₀, x₁, class


def _moons(t: Tensor, y: Tensor) -> Tensor:
    """Two half-circles, each the other's shadow."""
    side, angle = 1 - 2 * y, math.pi * t
    return torch.stack([side * angle.cos() - 0.5 * side, side * angle.sin() - 0.25 * side], dim=1)


def _circles(t: Tensor, y: Tensor) -> Tensor:
    radius, angle = 0.5 + 0.8 * y, 2 * math.pi * t
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def _spiral(t: Tensor, y: Tensor) -> Tensor:
    radius, angle = 0.2 + 1.3 * t, math.pi * (2.5 * t + y)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def _blobs(t: Tensor, y: Tensor) -> Tensor:
    """Two heaps a class, at the corners of a square."""
    right, angle = 2.0 * (t > 0.5) - 1, 4 * math.pi * t
    centre = torch.stack([0.9 * right, 0.9 * right * (1 - 2 * y)], dim=1)
    return centre + 0.28 * torch.stack([angle.cos(), angle.sin()], dim=1)


SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "moons": _moons,
    "circles": _circles,
    "spiral": _spiral,
    "blobs": _blobs,
}
NOISE = {"moons": 0.1, "circles": 0.09, "spiral": 0.04, "blobs": 0.16}


def points(name: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """x (count, 2) float64 within about ±1.6, y (count,) of 0 and 1 in turn."""
    random = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    t = torch.rand(count, generator=random, dtype=torch.float64)
    noise = torch.randn(count, 2, generator=random, dtype=torch.float64)
    return SHAPES[name](t, y.double()) + NOISE[name] * noise, y


def drawn(given: Drawn) -> tuple[Tensor, Tensor]:
    """The points that a reader has drawn, as points."""
    x = torch.tensor([point[:2] for point in given], dtype=torch.float64).reshape(-1, 2)
    return x, torch.tensor([point[2] for point in given], dtype=torch.int64)
