"""Two input dimensions: the disc, cut along the lines on which the units break, layer by layer."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lliptools.bounds.affine import Affine
from lliptools.bounds.pieces import SPACING, Array, Integers, Layer, TooManyRegions, as_integers
from lliptools.bounds.sides import Pieces, Plane, Sides

Point = tuple[float, float]
Polygon = list[Point]
Part = tuple[Polygon, Sides, dict[int, int]]  # of a cell, with the pieces of the units that cut it
RIM = 1 + 1e-12  # half the side of the square that is cut, around the disc


@dataclass(frozen=True, eq=False)
class Cell:
    """A region: its polygon in units of eps, counter-clockwise, beyond the disc too; sides; pieces by layer; map."""

    polygon: Polygon
    sides: Sides
    pieces: Pieces
    affine: Affine


def cells(layers: list[Layer], x: Array, eps: float, limit: int) -> list[Cell]:
    """The regions that meet, as far as rounding tells, the ball of radius eps around x, (2,). Raises TooManyRegions."""
    square = [(-RIM, -RIM), (RIM, -RIM), (RIM, RIM), (-RIM, RIM)]
    center = as_integers(np.append(x, 1.0))[0]
    found = [Cell(square, Sides.none(2), (), Affine.start(x))]
    for layer in layers:
        passed: list[Cell] = []
        for cell in found:
            before = cell.affine.linear(layer)
            for polygon, sides, piece in _cut(cell, before, layers, center, eps, limit - len(passed)):
                passed.append(Cell(polygon, sides, (*cell.pieces, piece), before.activate(layer, piece)))
        found = passed
    return found


def clip_error(clips: int) -> float:
    """By how much more than its slack a line is moved outward where it meets a polygon that was clipped so many times.

    By induction the computed vertices lie within 12 u k of those of an exactly convex polygon around the region: a clip
    evaluates a·u₁ + b·u₂ + c to within ρ = 10 u, puts a new vertex within 12 u of a point of its edge, and so cuts away
    only what lies below ρ + 12 u k + 14 u on the new line. (For slack s, ρ has 8 s u more, which s contains.)
    """
    return 16 * SPACING * (clips + 2)


def _cut(
    cell: Cell, before: Affine, layers: list[Layer], center: Integers, eps: float, limit: int
) -> list[tuple[Polygon, Sides, NDArray[np.int64]]]:
    """A cell, cut along the lines of the next layer: polygons, their sides, and the piece (rows,) of every unit."""
    planes = before.planes(layers[len(cell.pieces)].breakpoints, eps)
    values = np.einsum("pf,rf->pr", np.array(cell.polygon), planes.normal)[:, None] + planes.offset
    sure = planes.slack + clip_error(len(cell.sides))
    above, below = (values > sure).all(axis=0), (values < -sure).all(axis=0)
    piece = above.sum(axis=0)
    parts: list[Part] = [(cell.polygon, cell.sides, {})]
    open_ = ~(above | below)
    for unit in np.flatnonzero(open_.any(axis=0)).tolist():
        numbers = np.flatnonzero(open_[:, unit]).tolist()
        crossing = [Plane(layers, center, cell.pieces, unit, k, *planes.at(k, unit)) for k in numbers]
        parts = [part for whole in parts for part in _cut_by_unit(whole, crossing)]
        if len(parts) > limit:
            raise TooManyRegions
    result = []
    for polygon, sides, own in parts:
        chosen = piece.copy()
        chosen[[*own]] = [*own.values()]
        result.append((polygon, sides, chosen))
    if len(result) > limit:
        raise TooManyRegions
    return result


def _cut_by_unit(whole: Part, crossing: list[Plane]) -> list[Part]:
    """The parts of a region on the pieces of one unit. crossing: its breakpoints there, ascending."""
    polygon, sides, own = whole
    known, parts = sides, []
    for plane in crossing:
        side, moved, (a, b, t) = known.prove(plane), plane.slack + clip_error(len(sides)), plane.row.tolist()
        left = [] if side > 0 else clip(polygon, -a, -b, moved - t)
        if left and _meets_the_disc(left, len(sides) + 1):
            parts.append((left, sides.plus(plane, -1), own | {plane.unit: plane.number}))
        polygon = [] if side < 0 else clip(polygon, a, b, moved + t)
        if not polygon:
            return parts
        sides = sides.plus(plane, 1)
    if _meets_the_disc(polygon, len(sides)):
        parts.append((polygon, sides, own | {crossing[-1].unit: crossing[-1].number + 1}))
    return parts


def _meets_the_disc(polygon: Polygon, clips: int) -> bool:
    """Whether a polygon, clipped so many times, has points in the disc; one around it has edges in RIM as well."""
    return math.hypot(*nearest(polygon)) <= RIM + clip_error(clips)


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
    """The point on the edges of a convex polygon that is nearest to the origin."""
    best, shortest, (u, v) = (math.inf, math.inf), math.inf, polygon[-1]
    for other in polygon:
        along, across = other[0] - u, other[1] - v
        squared = along**2 + across**2
        t = min(max(-(u * along + v * across) / squared, 0.0), 1.0) if squared > 0 else 0.0
        point, (u, v) = (u + t * along, v + t * across), other
        if (length := math.hypot(*point)) < shortest:
            best, shortest = point, length
    return best
