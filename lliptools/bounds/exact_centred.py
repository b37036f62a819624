"""The exact centred constant in the plane: the steepest secant from the centre, over the cells of a disc.

Let u be a move from the centre in units of eps, and f(x + eps u) − f(x) = eps (J u + g) on a cell. Along a ray u = r e
the secant ‖J e + g/r‖ is convex in 1/r, so that the largest in a cell is met where the ray enters or leaves it: on an
edge, or on the rim of the disc. On a piece of an edge from a to b, seen from the centre at an angle of at most STEP,
‖J u + g‖ is convex, and |u| >= u·e with e the bisector of a and b. A quotient of linear functions is largest at an end:

    ‖J u + g‖ / |u| <= max (‖J a + g‖ / |a|, ‖J b + g‖ / |b|) / cos(STEP / 2).

A piece of the rim lies between a chord and a tangent, which are such pieces. Within NEAR of the centre the secant is a
mean of Jacobians of the cells there. The polygons contain the cells but for the rounding of their vertices
(exact_cells.clip_error); a secant at distance r changes by at most (‖J‖ + itself) / r per unit of a move.
"""

import math

import numpy as np

from lliptools.bounds.affine import Affine
from lliptools.bounds.exact_cells import Cell, clip_error
from lliptools.bounds.pieces import SPACING, Array

PIECES = 12288
STEP = 2 * math.pi / PIECES
TOLERANCE = 1 / math.cos(STEP) - 1  # relatively, 1.3e-7, with room for the rounding of angles
NEAR = 1e-5  # of the radius; at bends within it of the centre the result may be larger than the constant
FAINT = 1e-150  # of the scale: squares of less may underflow
ROOM = 1e-9  # by how much more than the ring from NEAR to 1 is looked at
TURN = STEP * np.arange(PIECES + 1)
RIM = np.stack([np.cos(TURN), np.sin(TURN)], axis=1)

Secants = tuple[Array, Array]  # [J, g] of functions on a cell, (functions, outputs, 3), and how far off it may be


def secants(affine: Affine, here: Array, doubt: Array, eps: float) -> Secants:
    """Those of the outputs of an affine map; here, doubt: (outputs,), the outputs at the centre and their error."""
    map_, error = affine.map.copy(), affine.error.copy()
    error[:, 2] += doubt + SPACING * (np.abs(map_[:, 2]) + np.abs(here))
    with np.errstate(all="ignore"):
        map_[:, 2] = (map_[:, 2] - here) / eps
        error[:, 2] = error[:, 2] / eps + SPACING * np.abs(map_[:, 2])
    return map_[None], error[None] * (1 + 8 * SPACING)


def steepest(cells: list[Cell], found: list[Secants]) -> Array:
    """Upper bounds of the largest ‖J u + g‖ / |u| over the disc, within the tolerance: (functions,), or inf."""
    with np.errstate(all="ignore"):
        # At a scale of 1, so that squares neither overflow nor underflow.
        scale = np.stack([(np.abs(map_) + error).max(axis=(1, 2)) for map_, error in found]).max(axis=0)
        if not np.isfinite(scale).all():
            return np.full(len(scale), np.inf)
        one = np.where(scale > 0, scale, 1.0)[:, None, None]
        parts = [_of_cell(cell, map_ / one, error / one) for cell, (map_, error) in zip(cells, found, strict=True)]
        value = (np.stack(parts).max(axis=0) + FAINT) * scale * (1 + 64 * SPACING) + np.finfo(float).tiny
    return np.where(scale > 0, np.where(value >= 0, value, np.inf), 0.0)


def _of_cell(cell: Cell, map_: Array, error: Array) -> Array:
    polygon, off = np.array(cell.polygon), clip_error(len(cell.sides))
    following = np.roll(polygon, -1, axis=0)
    length = np.hypot(*(following - polygon).T)
    polygon, following, length = polygon[length > 0], following[length > 0], length[length > 0]
    along = (following - polygon) / length[:, None]
    outward = np.stack([along[:, 1], -along[:, 0]], axis=1)
    away = (polygon * outward).sum(axis=1)  # of the lines through the edges, from the centre
    room = off * (2 + 6 / length)
    ends = np.stack([(polygon * along).sum(axis=1), (following * along).sum(axis=1)])
    parts = [_edge(*each) for each in zip(outward * away[:, None], along, away, *ends, strict=True)]
    if np.hypot(*polygon.T).max() >= 1 - ROOM:
        beyond = RIM @ outward.T - (away + room + STEP**2 / 8 + ROOM)
        kept = ~(np.minimum(beyond[1:], beyond[:-1]) > 0).any(axis=1)
        chords = np.concatenate([RIM[:-1][kept], RIM[1:][kept]])
        parts += [chords, chords / math.cos(STEP / 2)]
    size = np.sqrt(np.square(np.abs(map_) + error).sum(axis=1))  # of the columns of J and of g
    value = _at(np.concatenate(parts), map_, error, np.hypot(size[:, 0], size[:, 1]), off)
    if (away >= -NEAR - room).all():
        slope = np.linalg.norm(map_[:, :, :2], 2, axis=(1, 2)) + np.sqrt(np.square(error).sum(axis=(1, 2)))
        value = np.maximum(value, slope + size[:, 2] / NEAR)
    return value * (1 + TOLERANCE) * (1 + 64 * SPACING)


def _at(points: Array, map_: Array, error: Array, steep: Array, off: float) -> Array:
    """The largest secant at points, (points, 2), that are off by so much: (functions,)."""
    distance, one = np.hypot(*points.T), np.ones(len(points))
    entries = np.stack([*points.T, one])
    outputs = np.abs(map_ @ entries) + (error + 8 * SPACING * np.abs(map_)) @ np.abs(entries)
    secant = np.sqrt(np.square(outputs).sum(axis=1)) / distance
    return (secant + off * (steep[:, None] + 2 * secant) / distance).max(axis=1, initial=0.0)


def _edge(foot: Array, along: Array, away: float, start: float, end: float) -> Array:
    """Points of an edge in the ring, each seen from the next at an angle of at most STEP: foot + s · along."""
    far, near = (math.sqrt(max(radius**2 - away**2, 0.0)) for radius in (1 + ROOM, NEAR * (1 - ROOM)))
    if abs(away) > 1 + ROOM:
        return np.empty((0, 2))
    found: list[float] = []
    for low, high in ((max(start, -far), min(end, -near)), (max(start, near), min(end, far))):
        if low <= high:
            first, last = (math.atan2(s, abs(away)) for s in (low, high))
            inner = np.tan(np.linspace(first, last, 2 + int((last - first) / STEP))[1:-1]) * abs(away)
            found += [low, *inner.clip(low, high), high]
    return foot + np.array(found).reshape(-1, 1) * along
