"""On which side of a hyperplane a region lies, where the sides that made the region prove it.

Two units may break along one plane, as in x = relu(x) − relu(−x): nothing lies between them. Rounded coefficients do
not tell such planes from two with a sliver between them, so that planes which agree to within rounding are computed
again, in integers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lliptools.bounds.pieces import Array, Integers, Layer, as_integers

__all__ = ["Plane", "Sides", "exact_plane"]

Plane = tuple[int, int, int]  # where a unit breaks: layer, unit, breakpoint


@dataclass(frozen=True, eq=False)
class Sides:
    """Half-spaces n·u + t >= −slack that hold a region, in units of eps from the centre.

    planes: (sides, features + 1) of (n, t). slack: (sides,). names: the plane of each, and 1 where the region lies
    where the unit is above its breakpoint, −1 where below.
    """

    planes: Array
    slack: Array
    names: tuple[tuple[Plane, int], ...] = ()

    @classmethod
    def none(cls, features: int) -> "Sides":
        """Those of the whole ball."""
        return cls(np.empty((0, features + 1)), np.empty(0))

    def plus(self, plane: Array, slack: float, name: Plane, sign: int) -> "Sides":
        """With one side more of a plane (n, t): where sign · (n·u + t) >= −slack."""
        planes = np.concatenate([self.planes, sign * plane[None]])
        return Sides(planes, np.append(self.slack, slack), (*self.names, (name, sign)))

    def prove(self, plane: Array, slack: float, name: Plane, exact: Callable[[Plane], Integers | None]) -> int:
        """1 if no point of the region lies strictly below a plane (n, t), −1 if none lies strictly above, 0 if neither
        is proved.

        A proof is a side whose plane is exactly parallel and no further on, or a unit that is constant. Only planes
        that agree to within rounding are looked at. exact: a plane's coefficients as exact_plane finds them.
        """
        reach = self.slack + slack
        same, opposite = (np.abs(self.planes - sign * plane).max(axis=1) <= reach for sign in (1, -1))
        near = np.flatnonzero(same | opposite)
        if not len(near) and plane[:-1].any():
            return 0
        row = exact(name)
        if row is None:
            return 0
        if not row[:-1].any():
            return 1 if row[-1] >= 0 else -1
        for index in near.tolist():
            known, sign = self.names[index]
            side = exact(known)
            if side is not None and (found := _implied(row, sign * side)):
                return found
        return 0


def _implied(row: Integers, side: Integers) -> int:
    """1 if a·u + c >= 0 wherever b·u + d >= 0, −1 if a·u + c <= 0 there, 0 if neither; row: (a, c), side: (b, d)."""
    pivot = int(np.flatnonzero(row[:-1])[0])
    if not side[pivot] or (row[:-1] * side[pivot] != side[:-1] * row[pivot]).any():
        return 0
    # a = λ b, and a·u + c = λ (b·u + d) + (c − λ d).
    ahead = row[-1] * side[pivot] - side[-1] * row[pivot]  # (c − λ d) times b at the pivot
    ahead = ahead if side[pivot] > 0 else -ahead
    if row[pivot] * side[pivot] > 0:
        return 1 if ahead >= 0 else 0
    return -1 if ahead <= 0 else 0


def exact_plane(layers: list[Layer], x: Array, pieces: tuple[NDArray[np.int64], ...], name: Plane) -> Integers | None:
    """A unit's pre-activation minus its breakpoint at x + d, times a positive number: a·d + c, as integers (a, c).

    pieces: those of the layers before it, in the region. Returns (features + 1,), or None where the network's own
    numbers are not known exactly.
    """
    depth, unit, number = name
    if any(layer.factors is None for layer in layers[: depth + 1]):
        return None
    one, cut = as_integers(np.array([1.0, layers[depth].breakpoints[number, unit]]))[0]
    row = np.zeros(len(layers[depth].bias) + 1, dtype=object)
    row[unit], row[-1] = one, -cut
    for index in range(depth, -1, -1):
        for matrix in reversed(layers[index].matrices):
            row = row @ matrix
        if index:
            slopes, intercepts, unity = layers[index - 1].lines
            piece = pieces[index - 1]
            units = np.arange(len(piece))
            constant = row[-1] * unity[0] + row[:-1] @ intercepts[piece, units]
            row = np.append(row[:-1] * slopes[piece, units], constant)
    center, unity = as_integers(x, np.ones(1))
    return np.append(row[:-1] * unity[0], row[-1] * unity[0] + row[:-1] @ center)
