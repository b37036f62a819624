"""On which side of a hyperplane a region lies, where the sides that made the region prove it.

Two units may break along one plane, as in x = relu(x) − relu(−x): nothing lies between them. Rounded coefficients do
not tell such planes from two with a sliver between them: planes that agree to within rounding are computed in integers.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lliptools.bounds.pieces import Array, Integers, Layer

Pieces = tuple[NDArray[np.int64], ...]  # of the units, layer by layer


@dataclass(frozen=True, eq=False)
class Plane:
    """Where a unit meets one of its breakpoints, in the regions with these pieces of the layers before it.

    center: the centre and 1 times a power of two. row: n·u + t = 0 in units of eps, off by at most slack in the ball.
    """

    layers: list[Layer]
    center: Integers
    pieces: Pieces
    unit: int
    number: int
    row: Array
    slack: float

    @cached_property
    def exact(self) -> Integers | None:
        """The unit minus its breakpoint at x + d, times a positive number: integers (a, c) of a·d + c, or None."""
        depth = len(self.pieces)
        layers = self.layers[: depth + 1]
        if any(layer.factors is None for layer in layers):
            return None
        cut, one = float(layers[-1].breakpoints[self.number, self.unit]).as_integer_ratio()
        row = np.zeros(len(layers[-1].bias) + 1, dtype=object)
        row[self.unit], row[-1] = one, -cut
        for index in range(depth, -1, -1):
            for matrix in reversed(layers[index].matrices):
                row = row @ matrix
            if index:
                slopes, intercepts, unity = layers[index - 1].lines
                piece = self.pieces[index - 1]
                units = np.arange(len(piece))
                constant = row[-1] * unity[0] + row[:-1] @ intercepts[piece, units]
                row = np.append(row[:-1] * slopes[piece, units], constant)
        return np.append(row[:-1] * self.center[-1], row @ self.center)


@dataclass(frozen=True, eq=False)
class Sides:
    """Half-spaces that contain a region: sign · (n·u + t) >= −slack.

    rows: (sides, features + 2) of sign · (n, t), and slack. planes: each with its sign: 1 above the breakpoint, or −1.
    """

    rows: Array
    planes: tuple[tuple[Plane, int], ...] = ()

    @classmethod
    def none(cls, features: int) -> "Sides":
        """Those of the whole ball."""
        return cls(np.empty((0, features + 2)))

    def __len__(self) -> int:
        return len(self.planes)

    def plus(self, plane: Plane, sign: int) -> "Sides":
        """With one side more."""
        row = np.array([[*(sign * plane.row), plane.slack]])
        return Sides(np.concatenate([self.rows, row]), (*self.planes, (plane, sign)))

    def prove(self, plane: Plane) -> int:
        """1 if it is proved that no point of the region lies strictly below a plane, −1 if none above, 0 if neither.

        A proof is a side whose plane is exactly parallel and no further on, or a unit that is constant. Only planes
        that agree to within rounding are looked at: two numbers that differ by more are not equal.
        """
        apart = np.minimum(abs(self.rows[:, :-1] - plane.row), abs(self.rows[:, :-1] + plane.row)).max(axis=1)
        near = (apart <= self.rows[:, -1] + plane.slack).nonzero()[0]
        if not len(near) and plane.row[:-1].any():
            return 0
        if plane.exact is None:
            return 0
        if not plane.exact[:-1].any():
            return 1 if plane.exact[-1] >= 0 else -1
        for index in near.tolist():
            known, sign = self.planes[index]
            if known.exact is not None and (found := _implied(plane.exact, sign * known.exact)):
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
