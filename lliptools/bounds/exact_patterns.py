"""Any input dimension: depth-first search over the pieces of the units that break inside the ball."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lliptools.bounds.affine import Affine, Planes
from lliptools.bounds.pieces import SPACING, Array, Integers, Layer, TooManyRegions, as_integers
from lliptools.bounds.sides import Pieces, Plane, Sides


@dataclass(frozen=True, eq=False)
class _Node:
    """A branch: the units' pieces chosen so far, and the half-spaces in which they are those.

    before: the layer's pre-activations. todo: its units that are still open. passed: the pieces of the layers before.
    witness: (features,) a point of all sides.
    """

    before: Affine
    planes: Planes
    todo: list[int]
    piece: NDArray[np.int64]
    passed: Pieces
    sides: Sides
    witness: Array


def patterns(layers: list[Layer], x: Array, eps: float, limit: int) -> list[Affine]:
    """The network's maps on the regions that meet the ball of radius eps around x, (features,).

    A branch is left only with a proof that its half-spaces, each moved outward by its slack, have no point in common
    with the ball, or no interior; what rounding leaves open is listed. Raises TooManyRegions after limit branches.
    """
    features = len(x)

    def enter(affine: Affine, passed: Pieces, sides: Sides, witness: Array) -> _Node:
        layer = layers[len(passed)]
        before = affine.linear(layer)
        planes = before.planes(layer.breakpoints, eps)
        return _Node(before, planes, planes.unstable(), planes.pieces(), passed, sides, witness)

    stack = [enter(Affine.start(x), (), Sides.none(features), np.zeros(features))]
    center = as_integers(np.append(x, 1.0))[0]
    found, visited = [], 0
    while stack:
        node = stack.pop()
        if node.todo:
            stack.extend(_branches(node, layers, center))
        else:
            after = node.before.activate(layers[len(node.passed)], node.piece)
            passed = (*node.passed, node.piece)
            if len(passed) == len(layers):
                found.append(after)
            else:
                stack.append(enter(after, passed, node.sides, node.witness))
        visited += 1
        if visited > limit and stack:
            raise TooManyRegions
    return found


def _branches(node: _Node, layers: list[Layer], center: Integers) -> Iterator[_Node]:
    """The node with its next open unit on each of the pieces that the unit may be on."""
    unit, todo = node.todo[0], node.todo[1:]
    offset = node.planes.offset[:, unit]
    lowest = int((offset == np.inf).sum())
    highest = lowest + int(np.isfinite(offset).sum())
    cuts = {k: Plane(layers, center, node.passed, unit, k, *node.planes.at(k, unit)) for k in range(lowest, highest)}
    proved = {k: node.sides.prove(plane) for k, plane in cuts.items()}
    for number in range(lowest, highest + 1):
        # The region lies above the breakpoint before the piece and below the one after it.
        around = [(k, sign) for k, sign in ((number - 1, 1), (number, -1)) if k in cuts]
        if any(proved[k] == -sign for k, sign in around):
            continue
        sides = node.sides
        for k, sign in around:
            if not proved[k]:
                sides = sides.plus(cuts[k], sign)
        witness: Array | None = node.witness
        normals, offsets, slack = sides.rows[:, :-2], sides.rows[:, -2], sides.rows[:, -1]
        new = slice(len(node.sides), None)
        if not (normals[new] @ node.witness + offsets[new] >= 0).all():
            witness = point_in(normals, offsets + slack, node.witness)
        if witness is not None:
            piece = node.piece.copy()
            piece[unit] = number
            yield replace(node, todo=todo, piece=piece, sides=sides, witness=witness)


def point_in(normals: Array, offsets: Array, otherwise: Array) -> Array | None:
    """The point nearest to 0 with normals @ u + offsets >= 0, or None with a proof that none is in the unit ball.

    normals: (sides, features), of length 1. offsets: (sides,). Returns (features,), or otherwise where rounding leaves
    neither a point nor a proof. The proof is a y >= 0 with −offsets·y > ‖normalsᵀ y‖: the weighted sum of the
    inequalities asks of u what no point of the ball can give, however y was found.
    Source: Lawson and Hanson, "Solving Least Squares Problems" (1974), least-distance programming.
    """
    from scipy.optimize import nnls  # half a second that only the exact constant needs

    target = np.zeros(normals.shape[1] + 1)
    target[-1] = 1.0
    try:
        y, _ = nnls(np.vstack([normals.T, -offsets]), target)
    except RuntimeError:
        return otherwise
    pull, asked = normals.T @ y, float(-offsets @ y)
    # Sums of so many products, each pull of at most ‖n‖ y; the norm of as many squares as there are features.
    rounding = (sum(normals.shape) + 8) * SPACING
    error = rounding * float((np.abs(offsets) + np.linalg.norm(normals, axis=1)) @ y)
    if asked > np.linalg.norm(pull) * (1 + rounding) + error:
        return None
    return pull / (1 - asked) if asked < 1 else otherwise
