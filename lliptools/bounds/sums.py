"""Sums of two branches in a pass: residual steps, and what an activation behind a sum masks in both branches."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lliptools.domains import BlockBound, Center, Domain
from lliptools.nets import Block
from lliptools.norms.kinds import product_above, steepest
from lliptools.norms.rounding import inflated

if TYPE_CHECKING:
    from lliptools.bounds.one_pass import Pass, Place


def sum_of(walk: Pass, block: Block, place: Place) -> tuple[BlockBound, Center, Domain]:
    """h + inner(h), shortcut(h) + inner(h), or inner(h) of a layer that guarantees a constant for the whole."""
    arm = replace(place, value=torch.ones_like(place.value))
    if block.skip:
        arm = replace(arm, known=place.known.beside(place.known))
    parts = replace(walk, norm=walk.inside) if math.isfinite(block.lipschitz) else walk
    blocks, end = parts.through(block.inner, arm)
    norm, center, known = end.value, end.center, end.known
    if block.shortcut:
        with torch.set_grad_enabled(walk.graph):
            arm = replace(arm, known=arm.known.beside(known))
    beside, other = parts.through(block.shortcut, arm)
    if block.skip:
        added = other.value if block.shortcut else steepest(place.columns.detach())
        norm, center = inflated(added + norm), other.center.plus(center)
    norm = walk.at_most(norm, block, place.columns)
    with torch.set_grad_enabled(walk.graph):
        if block.skip:
            known = other.known.add(known) if block.shortcut else known.add(other.known)
        box = known.within(walk.times(place.radius, norm)).box(center)
    one = torch.ones_like(center.value)
    inside = tuple(blocks), block.skip, tuple(beside)
    whole = BlockBound(block.linear, None, box, one, one, norm, norm, place.radius, *inside)
    return whole, center, known


def behind_sum(walk: Pass, one: BlockBound, whole: BlockBound, columns: Tensor) -> Tensor:
    """‖D^½(f + g)‖ of a sum whose units an activation masks, over the norm of f + g: (batch,).

    one: the block of the activation. columns: slopes before the sum. D masks the last rows of both branches.
    """
    branches = [masked(walk, branch, one.row_slope, columns) for branch in (whole.inner, whole.shortcut) if branch]
    if not whole.shortcut:
        branches.append(steepest(product_above(one.row_slope.flatten(1), columns.detach().flatten(1))))
    total, known = inflated(branches[0] + branches[1]), (whole.norm > 0) & whole.norm.isfinite()
    share = inflated(total / torch.where(known, whole.norm, 1.0))
    share = torch.where(total == 0, 0.0, share.clamp_min(torch.finfo(share.dtype).tiny))
    return torch.where(known, share, one.norm)


def masked(walk: Pass, branch: tuple[BlockBound, ...], rows: Tensor, columns: Tensor) -> Tensor:
    """The norm of a branch whose last rows are scaled, columns those before it: (batch,)."""
    *first, last = branch
    value = torch.ones_like(last.norm)
    for block in first:
        value, columns = walk.times(value, block.norm), block.slope
    return walk.times(value, walk.norm(last.linear, rows.reshape(last.row_slope.shape), columns))
