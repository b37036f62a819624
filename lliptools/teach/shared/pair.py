"""Two points and what is made of them: what refutes a claim, or shows how steep a network is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SAMPLES = 2000
STEPS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001)  # from one point of a pair to the other, in units of the radius


@dataclass(frozen=True, eq=False)
class Pair:
    """Two inputs and their outputs.

    claim: what the pair says of them, in a line. x, other: inputs of one shape: (2,) a point of the plane,
    (rows, columns) a picture, else a vector. f_x, f_other: outputs of one shape. names: of the outputs, where these are
    to be drawn as bars. center, radius: the ball that a claim is about; NaN without one. border: (2, 2), two points of
    a straight line at which the answer changes, or None.
    """

    claim: str
    x: Tensor
    other: Tensor
    f_x: Tensor
    f_other: Tensor
    names: tuple[str, ...] = ()
    center: Tensor | None = None
    radius: float = float("nan")
    border: Tensor | None = None

    @property
    def distance(self) -> float:
        """‖x − x′‖."""
        return torch.linalg.vector_norm(self.x - self.other).item()

    @property
    def change(self) -> float:
        """‖f(x) − f(x′)‖."""
        return torch.linalg.vector_norm(self.f_x - self.f_other).item()

    @property
    def slope(self) -> float:
        """‖f(x) − f(x′)‖ / ‖x − x′‖; NaN for one point twice."""
        return self.change / self.distance if self.distance else float("nan")


def pair_of(f: Callable[[Tensor], Tensor], claim: str, x: Tensor, other: Tensor, **more: Any) -> Pair:
    """The pair with its outputs; more: the other fields of Pair."""
    with torch.no_grad():
        return Pair(claim, x, other, f(x), f(other), **more)


def steepest_pair(f: Callable[[Tensor], Tensor], x: Tensor, eps: float, claim: str = "") -> Pair:
    """Two points of the ball of radius eps around x, (features,), between which f rises steeply, found by search.

    f: (batch, features) -> (batch, outputs).
    The largest Jacobian norm at random points, and from there a step along its singular vector: the longest one that
    loses less than a hundredth.
    """
    generator = torch.Generator().manual_seed(0)
    offset = torch.randn(SAMPLES, len(x), generator=generator, dtype=torch.float64)
    length = torch.rand(SAMPLES, 1, generator=generator, dtype=torch.float64) ** (1 / len(x))
    points = x + 0.999 * eps * offset / offset.norm(dim=1, keepdim=True) * length
    _, norms, vectors = torch.linalg.svd(_jacobians(f, points), full_matrices=False)
    best = norms[:, 0].argmax()
    start, norm, direction = points[best], norms[best, 0].item(), vectors[best, 0]
    found = []
    for step in STEPS:
        for sign in (1.0, -1.0):
            other = start + sign * step * eps * direction
            if (other - x).norm() > eps:
                continue
            found.append(pair_of(f, claim, start, other, center=x, radius=eps))
            if found[-1].slope >= 0.99 * norm:
                return found[-1]
    return max(found, key=lambda pair: pair.slope)


def _jacobians(f: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """(batch, features) -> (batch, outputs, features)."""
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        outputs = f(points).sum(dim=0)
        return torch.stack([torch.autograd.grad(output, points, retain_graph=True)[0] for output in outputs], dim=1)
