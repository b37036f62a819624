"""The exact distance to the nearest point at which a network with two inputs decides otherwise."""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.bounds.exact_cells import Cell, Point, cells, clip, clip_error, nearest
from lliptools.bounds.exact_search import Search
from lliptools.bounds.pieces import SPACING
from lliptools.errors import InvalidInput
from lliptools.nets import Block, forward
from lliptools.nets.checks import check_labels

REAL = 1e-9  # what a margin at the nearest point may be, in relation to the numbers that it is computed from


def adversarial_distance(
    net: nn.Module, x: Tensor, y: Tensor, within: float | Tensor, *, max_cells: int = 20_000
) -> tuple[Tensor, Tensor]:
    """Exact distance to the nearest point at which class y does not strictly win, of a network with two inputs.

    - x: (batch, 2), y: (batch,) integers, within: radius of the disc that is searched, a number or (batch,).
    - Returns the distances (batch,), 0 where y does not win at x and inf where there is no such point in the disc, and
      the nearest points (batch, 2), where class y ties with another to within rounding; NaN where there is none. The
      distances err downward only: regions are moved outward by what rounding may have moved them.
    - Raises UnsupportedLayer and InvalidInput, also where rounding is too large for an answer.
    """
    search = Search.of(net, x, within)
    center, radius = search.center, search.radius
    if center.shape[1] != 2:
        why = "an input outside the plane", "attack with attacks.pgd"
        raise InvalidInput("points with two features", f"{center.shape[1]}", *why)
    y = check_labels(y, len(center), len(search.layers[-1].bias), center.device)
    steps: list[Point] = []
    shares: list[float] = []  # distances in units of the radius
    for found, label, reach in zip(search.each(cells, max_cells, "cells"), y.tolist(), radius.tolist(), strict=True):
        share, step = min(map(partial(_nearest_loss, label=label, radius=reach), found), key=lambda loss: loss[0])
        steps.append(step if share <= 1 else (np.nan, np.nan))
        shares.append(share if share <= 1 else np.inf)
    nearest_ones = center + torch.as_tensor(steps, dtype=torch.float64, device=center.device) * radius[:, None]
    _check_ties(search.blocks, nearest_ones, y, search.masks.value * (radius + center.abs().amax(dim=1)))
    share_of = torch.as_tensor(shares, dtype=torch.float64, device=center.device)
    distance = torch.where(share_of.isfinite(), share_of * radius * (1 - 2 * SPACING), torch.inf)
    return distance, nearest_ones


def _nearest_loss(cell: Cell, label: int, radius: float) -> tuple[float, Point]:
    """The point of a cell nearest to the centre where a class does not win, and at most how far, in radii, or inf."""
    margins = cell.affine.against(label)  # f_j − f_y, whose unit breaks where the classes tie
    planes = margins.planes(np.zeros((1, len(margins.map))), radius)
    extra = clip_error(len(cell.sides))
    around = bool((cell.sides.rows[:, -2:].sum(axis=1) + extra >= 0).all())  # whether the cell may contain the centre
    best, shortest = (np.inf, np.inf), np.inf
    offsets, slacks = planes.offset[0].tolist(), planes.slack[0].tolist()
    for normal, offset, slack in zip(planes.normal.tolist(), offsets, slacks, strict=True):
        moved = offset + slack + extra
        lost = clip(cell.polygon, normal[0], normal[1], moved)
        step = (0.0, 0.0) if around and moved >= 0 else nearest(lost) if lost else (np.inf, np.inf)
        if (far := float(np.hypot(*step))) < shortest:
            best, shortest = step, far
    return max(shortest - clip_error(len(cell.sides) + 1), 0.0), best


def _check_ties(blocks: tuple[Block, ...], points: Tensor, y: Tensor, change: Tensor) -> None:
    """Raises InvalidInput where class y wins at a point by more than rounding; change: of the outputs, (batch,)."""
    with torch.no_grad():
        logits = forward(blocks, points)
    won = logits.gather(1, y[:, None])
    margin = (won - logits).scatter(1, y[:, None], torch.inf).amin(dim=1)
    real = margin <= REAL * (logits.abs().amax(dim=1) + change)
    if not (real | points.isnan().any(dim=1)).all():
        sample = int((~real & ~points.isnan().any(dim=1)).nonzero()[0])
        got = f"a margin of {margin[sample]:.3g} where rounding leaves a tie open, near point {sample}"
        cause = "weights that cancel, or a radius near the spacing of the numbers around the point"
        step = "take a larger radius, or attack with lliptools.attacks.pgd"
        raise InvalidInput("a network whose rounding is small beside its margins", got, cause, step)
