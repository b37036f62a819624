"""Any input dimension: depth-first search over the pieces of the units that break inside the ball."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from lliptools.bounds.pieces import Affine, Array, Layer, Planes, TooManyRegions, coincident

__all__ = ["patterns", "point_in"]


@dataclass(frozen=True, eq=False)
class _Node:
    """A branch: the units' pieces chosen so far, and the half-spaces n·u + t >= −slack in which they are those.

    before: the layer's pre-activations. todo: its units that are still open. sides: (sides, features + 1), of (n, t).
    slack: (sides,). witness: (features,) a point of all of them.
    """

    depth: int
    before: Affine
    planes: Planes
    todo: list[int]
    piece: NDArray[np.int64]
    sides: Array
    slack: Array
    witness: Array


def patterns(layers: list[Layer], x: Array, eps: float, limit: int) -> list[Array]:
    """The network's maps (outputs, features + 1) on the regions that meet the ball of radius eps around x, (features,).

    A branch is left only with a proof that its half-spaces, each moved outward by its slack, have no point in common
    with the ball; where rounding leaves it open, the region is listed. Raises TooManyRegions after limit branches.
    """
    features = len(x)
    root = (np.empty((0, features + 1)), np.empty(0), np.zeros(features))
    stack = [_enter(layers, 0, Affine.start(x), eps, *root)]
    found, visited = [], 0
    while stack:
        node = stack.pop()
        if node.todo:
            stack.extend(_branches(node))
        else:
            after = node.before.activate(layers[node.depth], node.piece)
            if node.depth + 1 == len(layers):
                found.append(after.map)
            else:
                stack.append(_enter(layers, node.depth + 1, after, eps, node.sides, node.slack, node.witness))
        visited += 1
        if visited > limit and stack:
            raise TooManyRegions
    return found


def _enter(
    layers: list[Layer], depth: int, affine: Affine, eps: float, sides: Array, slack: Array, witness: Array
) -> _Node:
    before = affine.linear(layers[depth])
    planes = before.planes(layers[depth], eps)
    return _Node(depth, before, planes, planes.undecided(), planes.pieces(), sides, slack, witness)


def _branches(node: _Node) -> Iterator[_Node]:
    """The node with its next open unit on each of the pieces that the unit may be on."""
    unit, todo = node.todo[0], node.todo[1:]
    offset, slack = node.planes.offset[:, unit], node.planes.slack[:, unit]
    lowest = int((offset == np.inf).sum())
    highest = lowest + int(np.isfinite(offset).sum())
    for number in range(lowest, highest + 1):
        sides, slacks, possible = node.sides, node.slack, True
        for k, sign in ((number - 1, 1.0), (number, -1.0)):
            if not lowest <= k < highest:
                continue
            side = sign * np.append(node.planes.normal[unit], offset[k])
            # Two units may break along one plane, as in x = relu(x) − relu(−x): nothing lies between them.
            known = coincident(side, node.sides)
            possible = possible and known >= 0
            if known == 0:
                sides, slacks = np.vstack([sides, side]), np.append(slacks, slack[k])
        if not possible:
            continue
        witness: Array | None = node.witness
        new = sides[len(node.sides) :]
        if (new[:, :-1] @ node.witness + new[:, -1] < 0).any():
            witness = point_in(sides[:, :-1], sides[:, -1] + slacks, node.witness)
        if witness is not None:
            piece = node.piece.copy()
            piece[unit] = number
            yield replace(node, todo=todo, piece=piece, sides=sides, slack=slacks, witness=witness)


def point_in(normals: Array, offsets: Array, otherwise: Array) -> Array | None:
    """The point nearest to 0 with normals @ u + offsets >= 0, or None with a proof that none is in the unit ball.

    normals: (sides, features), of length 1. offsets: (sides,). Returns (features,), or otherwise where rounding leaves
    neither a point nor a proof. The proof is a y >= 0 with −offsets·y > ‖normalsᵀ y‖: the weighted sum of the
    inequalities asks of u what no point of the ball can give, however y was found.
    Source: Lawson and Hanson, "Solving Least Squares Problems" (1974), least-distance programming.
    """
    target = np.zeros(normals.shape[1] + 1)
    target[-1] = 1.0
    try:
        y, _ = nnls(np.vstack([normals.T, -offsets]), target)
    except RuntimeError:
        return otherwise
    pull, asked = normals.T @ y, float(-offsets @ y)
    if asked > np.linalg.norm(pull) * (1 + 1e-12) + 1e-13 * y.sum():
        return None
    return pull / (1 - asked) if asked < 1 else otherwise
