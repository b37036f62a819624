"""Two input dimensions: the disc, cut along the lines on which the units break, layer by layer."""

import math

import numpy as np
from numpy.typing import NDArray

from lliptools.bounds.pieces import Affine, Array, Layer, TooManyRegions, coincident

__all__ = ["cells", "clip", "nearest"]

Point = tuple[float, float]
Polygon = list[Point]
# A region: its polygon, the lines (n, t) that made it, each with the polygon where n·u + t >= 0, and its units' pieces.
Part = tuple[Polygon, Array, dict[int, int]]
RIM = 1 + 1e-12


def cells(layers: list[Layer], x: Array, eps: float, limit: int) -> list[tuple[Polygon, Array]]:
    """The regions that meet the ball of radius eps around x, (2,): polygons and the network's maps (outputs, 3).

    A polygon is in units of eps from x, counter-clockwise, and may reach out of the disc. Where rounding leaves it open
    whether a region meets the ball, it is listed. Raises TooManyRegions.
    """
    square = [(-RIM, -RIM), (RIM, -RIM), (RIM, RIM), (-RIM, RIM)]
    found: list[tuple[Polygon, Array, Affine]] = [(square, np.empty((0, 3)), Affine.start(x))]
    for layer in layers:
        passed: list[tuple[Polygon, Array, Affine]] = []
        for polygon, lines, affine in found:
            before = affine.linear(layer)
            for cell, cut, piece in _cut(polygon, lines, before, layer, eps, limit - len(passed)):
                passed.append((cell, cut, before.activate(layer, piece)))
        found = passed
    return [(polygon, affine.map) for polygon, _, affine in found]


def _cut(
    polygon: Polygon, lines: Array, before: Affine, layer: Layer, eps: float, limit: int
) -> list[tuple[Polygon, Array, NDArray[np.int64]]]:
    """A cell, cut along the lines of one layer: polygons, their lines, and the piece (rows,) of every unit."""
    planes = before.planes(layer, eps)
    values = np.einsum("pf,rf->pr", np.array(polygon), planes.normal)[:, None] + planes.offset
    above, below = (values > planes.slack).all(axis=0), (values < -planes.slack).all(axis=0)
    piece = above.sum(axis=0)
    parts: list[Part] = [(polygon, lines, {})]
    for unit in np.flatnonzero(~(above | below).all(axis=0)).tolist():
        normal = planes.normal[unit]
        crossing = [
            (int(k), np.append(normal, planes.offset[k, unit]), float(planes.slack[k, unit]))
            for k in np.flatnonzero(~(above | below)[:, unit])
        ]
        parts = [part for whole in parts for part in _cut_by_unit(whole, unit, crossing)]
        if len(parts) > limit:
            raise TooManyRegions
    result = []
    for cell, cut, own in parts:
        chosen = piece.copy()
        for unit, number in own.items():
            chosen[unit] = number
        result.append((cell, cut, chosen))
    if len(result) > limit:
        raise TooManyRegions
    return result


def _cut_by_unit(whole: Part, unit: int, crossing: list[tuple[int, Array, float]]) -> list[Part]:
    """The parts of a region on the pieces of one unit. crossing: its breakpoints there, ascending."""
    polygon, lines, own = whole
    known, parts = lines, []
    for k, line, slack in crossing:
        # Two units may break along one line, as in x = relu(x) − relu(−x): nothing lies between them.
        side = coincident(line, known)
        left = [] if side > 0 else clip(polygon, -line[0], -line[1], slack - line[2])
        if left and math.hypot(*nearest(left)) <= RIM:
            parts.append((left, np.vstack([lines, -line]), own | {unit: k}))
        polygon = [] if side < 0 else clip(polygon, line[0], line[1], slack + line[2])
        if not polygon:
            return parts
        lines = np.vstack([lines, line])
    if math.hypot(*nearest(polygon)) <= RIM:
        parts.append((polygon, lines, own | {unit: crossing[-1][0] + 1}))
    return parts


def clip(polygon: Polygon, a: float, b: float, c: float) -> Polygon:
    """The part of a convex polygon where a·u₁ + b·u₂ + c >= 0; empty if there is none."""
    kept: Polygon = []
    one = polygon[-1]
    value = a * one[0] + b * one[1] + c
    for other in polygon:
        following = a * other[0] + b * other[1] + c
        if (value >= 0) != (following >= 0):
            t = value / (value - following)
            kept.append((one[0] + t * (other[0] - one[0]), one[1] + t * (other[1] - one[1])))
        if following >= 0:
            kept.append(other)
        one, value = other, following
    return kept


def nearest(polygon: Polygon) -> Point:
    """The point of a convex polygon, counter-clockwise, that is nearest to the origin."""
    best, shortest, inside = (math.inf, math.inf), math.inf, True
    one = polygon[-1]
    for other in polygon:
        along = (other[0] - one[0], other[1] - one[1])
        inside = inside and one[0] * along[1] - one[1] * along[0] > 0
        squared = along[0] ** 2 + along[1] ** 2
        t = -(one[0] * along[0] + one[1] * along[1]) / squared if squared > 0 else 0.0
        t = min(max(t, 0.0), 1.0)
        point = (one[0] + t * along[0], one[1] + t * along[1])
        length = math.hypot(*point)
        if length < shortest:
            best, shortest = point, length
        one = other
    return (0.0, 0.0) if inside else best
