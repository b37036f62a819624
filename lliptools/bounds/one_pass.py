"""The pass through the blocks: boxes, slopes, norms, product, and the radius of the next ball."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.bounds.merged import Merged
from lliptools.bounds.record import BlockBound, slopes_everywhere
from lliptools.bounds.steps import Linear, activation_steps
from lliptools.domains.box import Box
from lliptools.domains.center import Center
from lliptools.domains.zonotope import Zonotope
from lliptools.nets import Activation, Block, LinearMap
from lliptools.norms.auto import UpperNorm
from lliptools.norms.kinds import Norm, norm_by, product_above
from lliptools.norms.rounding import inflated, is_outward, unit

__all__ = ["Boxes", "Stages", "State", "norm_inside", "pass_through"]

Boxes = Callable[[LinearMap, Box, Tensor, Tensor, Tensor], Box]


@dataclass(frozen=True)
class Stages:
    """How the pass finds boxes and norms."""

    boxes: Boxes
    norm: Norm
    global_radii: bool
    eps: Tensor
    boxes_have_graph: bool


@dataclass(frozen=True)
class State:
    """What the pass knows of the units it has reached.

    Their values at the centre, their box, their slopes, the radius of their ball, the product of the norms so far, and
    where it is asked for what they are as linear functions of the input and of the undecided units before, by slopes
    (merged) and by values (zonotope), and their
    slopes (1, *units) on the whole space.
    """

    center: Center
    box: Box
    slope: Tensor
    radius: Tensor
    value: Tensor
    merged: Merged | None
    zonotope: Zonotope | None
    everywhere: Tensor


def pass_through(blocks: tuple[Block, ...], state: State, stages: Stages) -> tuple[list[BlockBound], State]:
    """What is found of every block, in order, and what is known after the last."""
    passed: list[BlockBound] = []
    for block in blocks:
        step = _nested if block.inner else _plain
        bound, state = step(block, state, stages)
        passed.append(bound)
    return passed, state


def _plain(block: Block, state: State, stages: Stages) -> tuple[BlockBound, State]:
    linear, activation = block.linear, block.activation
    before, after = state.center.through(block)
    center = before.value
    merged, zonotope = state.merged, state.zonotope
    with torch.set_grad_enabled(stages.boxes_have_graph):
        box = stages.boxes(linear, state.box, center, state.slope, state.radius)
        if merged is not None and zonotope is not None:
            zonotope = zonotope.linear(linear)
            merged = merged.linear(Linear.of(linear))
            reach = inflated(product_above(stages.eps[:, None], merged.reach())).reshape(center.shape)
            box = box.intersect(Box.outward(center - reach, center + reach)).intersect(zonotope.box())
        if is_outward():
            box = Box.outward(box.lower - before.doubt, box.upper + before.doubt)
        if merged is not None and zonotope is not None:
            zonotope = zonotope.after(activation, box)
            for step in activation_steps(activation, box):
                merged = merged.then(step)
        output, slope, row_slope = _through(activation, box)
    norm = _at_most(norm_by(stages.norm, linear, row_slope, state.slope), linear, row_slope, state.slope)
    bound = BlockBound(linear, activation, box, output, slope, row_slope, norm, state.radius)
    grown, everywhere = norm, state.everywhere
    if stages.global_radii:
        rows, columns = slopes_everywhere(activation, slope)
        whole = _at_most(norm_by(stages.norm, linear, rows, state.everywhere), linear, rows, state.everywhere)
        grown, everywhere = whole.expand_as(norm), columns
    radius = inflated(product_above(state.radius, grown))
    value = inflated(product_above(state.value, norm))
    return bound, State(after, output, slope, radius, value, merged, zonotope, everywhere)


def _through(activation: Activation | None, box: Box) -> tuple[Box, Tensor, Tensor]:
    """The box of the outputs, the slopes that scale the next columns, and those that scale the rows before."""
    if activation is None:
        one = torch.ones_like(box.lower)
        return box, one, one
    output, slope = Box(*activation.image(box.lower, box.upper)), activation.slope(box.lower, box.upper)
    if type(activation).row_slope is Activation.row_slope:  # then it would be found a second time
        return output, slope, slope
    return output, slope, activation.row_slope(box.lower, box.upper)


def _nested(block: Block, state: State, stages: Stages) -> tuple[BlockBound, State]:
    """h + inner(h), or inner(h): the boxes and centres of the inside, and the constant that the layer vouches for."""
    merged = None if state.merged is None or not block.skip else replace(state.merged, fresh=False)
    start = replace(state, value=torch.ones_like(state.value), merged=merged if block.skip else state.merged)
    # Where the layer vouches for the whole, the norms of its parts serve the boxes between them only.
    rough = replace(stages, norm=norm_inside(block, stages.norm))
    inner, end = pass_through(block.inner, start, rough)
    norm, grown, after, box = end.value, end.radius, end.center, end.box
    zonotope, merged_after = end.zonotope, end.merged
    if block.skip:
        # At most ‖D^½‖ and the norm of the inside.
        norm = inflated(_steepest(state.slope) + norm)
        grown = inflated(product_above(state.radius, norm))
        if stages.global_radii:
            grown = inflated(product_above(state.radius, _steepest(state.everywhere)) + end.radius)
        if end.merged is not None and merged is not None and zonotope is not None and state.zonotope is not None:
            merged_after, zonotope = end.merged.plus(merged), zonotope.plus(state.zonotope)
        after = state.center.plus(end.center)
        shape = after.value.shape
        lower = state.box.lower.reshape(shape) + end.box.lower
        upper = state.box.upper.reshape(shape) + end.box.upper
        if is_outward():
            lower, upper = lower - 2 * unit(lower) * lower.abs(), upper + 2 * unit(upper) * upper.abs()
        box = Box(lower, upper)
    norm = _at_most(norm, block, state.slope)
    radius = grown
    if math.isfinite(block.lipschitz):
        everywhere = state.everywhere if stages.global_radii else state.slope
        vouched = _at_most(torch.full_like(norm, torch.inf), block, everywhere)
        radius = torch.minimum(grown, inflated(product_above(state.radius, vouched)))
    center = after.value
    with torch.set_grad_enabled(stages.boxes_have_graph):
        reach = inflated(radius.view(-1, *[1] * (center.dim() - 1)) + after.doubt)
        box = Box.outward(box.lower, box.upper).intersect(Box.outward(center - reach, center + reach))
    one = torch.ones_like(center)
    bound = BlockBound(block.linear, None, box, box, one, one, norm, state.radius, tuple(inner), block.skip)
    value = inflated(product_above(state.value, norm))
    return bound, State(after, box, one, radius, value, merged_after, zonotope, one[:1])


def _steepest(slope: Tensor) -> Tensor:
    """‖D^½‖ for D = diag(slope): (batch, *units) -> (batch,)."""
    return slope.flatten(1).amax(dim=1).sqrt()


def _at_most(norm: Tensor, step: LinearMap | Block, *slopes: Tensor) -> Tensor:
    """The norm, or less where the layer itself vouches for less, with rows and columns scaled by slopes: (batch,)."""
    if math.isinf(step.lipschitz):
        return norm
    value = step.lipschitz * (1 + step.lipschitz_error) if is_outward() else step.lipschitz
    vouched = norm.new_tensor(value)
    for slope in slopes:
        vouched = inflated(product_above(vouched, _steepest(slope.detach())))
    return torch.minimum(norm, vouched)


def norm_inside(block: Block, norm: Norm) -> Norm:
    """The norm of what is inside of a block."""
    return replace(norm, rough=True) if isinstance(norm, UpperNorm) and math.isfinite(block.lipschitz) else norm
