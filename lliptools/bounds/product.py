"""The one pass: boxes, slopes, norms, product, block by block."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lliptools.bounds.boxes import input_box, interval_and_ball
from lliptools.bounds.checks import (
    check_differentiable,
    check_domain,
    check_eps,
    check_probability,
    check_radii,
    check_stages,
    check_tolerance,
)
from lliptools.bounds.merged import Merged
from lliptools.bounds.record import (
    BlockBound,
    Bound,
    Box,
    Norm,
    mark_of,
    product_above,
    slopes_everywhere,
)
from lliptools.bounds.rounding import Center, inflated, is_outward, unit
from lliptools.bounds.spectral import UpperNorm
from lliptools.bounds.steps import activation_steps
from lliptools.bounds.zonotope import Zonotope
from lliptools.nets import Activation, Block, LinearMap, check_input, read_blocks
from lliptools.nets.rules import Rule

__all__ = ["global_bound", "local_bound"]

Boxes = Callable[[LinearMap, Box, Tensor, Tensor, Tensor], Box]


def local_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor,
    *,
    boxes: Boxes = interval_and_ball,
    norm: Norm | None = None,
    prefix: bool = False,
    radii: str = "local",
    domain: tuple[float, float] | None = None,
    delta: float = 1e-9,
    tolerance: float = 1e-3,
    dtype: torch.dtype = torch.float64,
    differentiable: bool | str = False,
) -> Bound:
    """Bound of the Lipschitz constant of net on the closed ball of radius eps around each point of a batch.

    The rows and columns of units that are provably constant in the ball are struck from every weight matrix; the
    bound is the product of the norms of what is left. The norm of one block gives the radius of the next block's ball.

    x: (batch, *sample). eps: a number or (batch,), in the units of x; math.inf gives the global bound.
    Returns a Bound: value (batch,), kind "upper", and of every block box, slope, norm and radius. print() shows it.

        >>> import torch, lliptools as ll
        >>> x = torch.tensor([[1.0, -2.0, 0.5]])
        >>> ll.local_bound(ll.nets.fold(3, 4), x, eps=0.4).value.item()
        1.0

    Own ways to find boxes and norms may be passed: boxes(linear, inputs, center, column_slope, radius) -> Box, as
    bounds.interval_box, and norm(linear, row_slope, column_slope) -> (batch,), as bounds.exact_norm. The result is then
    of kind "estimate", which certifies nothing, unless they are marked with the way they err (bounds.errs). A norm
    that tells layers apart has a method begin(blocks), which is called with what has been read before the pass.
    prefix: also bound every unit of a small network by its own constant, with what is linear merged (merged.py), and
    by its values as a linear function of the input and of bounded noises (zonotope.py).
    radii: "local" lets the norms found so far set the radii of the balls, "global" those of the whole layers, which
    are wider and do not wait for the masks. domain: (low, high) of every input value, such as (0, 1) for pixels; the
    bound is then one on the part of the ball that lies in it. delta: the most that
    Bound.failure_probability may be with the default norm, whose starts are drawn from torch's random numbers.
    tolerance: how close, relatively, the norms of large layers come to the truth, which costs time.
    dtype: torch.float32 is for training. differentiable=True keeps the graph to the network's parameters;
    differentiable="norms" that of the norms and outputs only, where a loss asks nothing of the boxes.
    Raises UnsupportedLayer and InvalidInput.
    Source: Huang et al. (NeurIPS 2021), the local bound with one mask a layer.
    """
    check_stages(boxes, norm, dtype)
    center = check_input(net, x).to(dtype)
    eps = check_eps(eps, center).to(dtype)
    check_radii(radii)
    check_domain(domain, center)
    check_probability(delta)
    check_tolerance(tolerance)
    check_differentiable(differentiable)
    with torch.set_grad_enabled(differentiable is not False):
        blocks = read_blocks(net, x.shape[1:], dtype)
        count = _count(blocks)
        norm = norm or UpperNorm(delta / (2 * count if radii == "global" else count), tolerance)
        getattr(norm, "begin", lambda blocks: None)(blocks)
        stages = _Stages(boxes, norm, radii == "global", eps, differentiable is True)
        merged = Merged.start(len(center), center.shape[1], center.device) if prefix else None
        zonotope = Zonotope.start(center, eps) if prefix else None
        start = _State(
            Center(center, torch.zeros_like(center)),
            input_box(center, eps, domain),
            torch.ones_like(center),
            eps,
            torch.ones_like(eps),
            merged,
            zonotope,
            torch.ones_like(center[:1]),
        )
        passed, end = _pass(blocks, start, stages)
    marks = {mark_of(stage, "kind") for stage in (boxes, norm)}
    encloses = is_outward() and not prefix and all(mark_of(stage, "encloses") for stage in (boxes, norm))
    return Bound(
        value=end.value,
        kind="upper" if marks <= {"exact", "upper"} else "estimate",
        eps=eps,
        blocks=tuple(passed),
        failure_probability=_failure(norm, blocks) * (2 if radii == "global" else 1),
        arithmetic=f"{str(dtype).removeprefix('torch.')}, rounding {'' if encloses else 'not '}enclosed",
        domain=domain,
        norm=norm,
        outputs=end.center.value,
    )


@dataclass(frozen=True)
class _Stages:
    """How the pass finds boxes and norms."""

    boxes: Boxes
    norm: Norm
    global_radii: bool
    eps: Tensor
    boxes_have_graph: bool


@dataclass(frozen=True)
class _State:
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


def _pass(blocks: tuple[Block, ...], state: _State, stages: _Stages) -> tuple[list[BlockBound], _State]:
    passed: list[BlockBound] = []
    for block in blocks:
        step = _nested if block.inner else _plain
        bound, state = step(block, state, stages)
        passed.append(bound)
    return passed, state


def _plain(block: Block, state: _State, stages: _Stages) -> tuple[BlockBound, _State]:
    linear, activation = block.linear, block.activation
    before, after = state.center.through(block)
    center = before.value
    merged, zonotope = state.merged, state.zonotope
    with torch.set_grad_enabled(stages.boxes_have_graph):
        box = stages.boxes(linear, state.box, center, state.slope, state.radius)
        if merged is not None and zonotope is not None:
            zonotope = zonotope.linear(linear)
            merged = merged.linear(linear.weight.detach())
            reach = product_above(stages.eps[:, None], merged.reach()).reshape(center.shape)
            box = box.intersect(Box.outward(center - reach, center + reach)).intersect(zonotope.box())
        if is_outward():
            box = Box.outward(box.lower - before.doubt, box.upper + before.doubt)
        if merged is not None and zonotope is not None:
            zonotope = zonotope.after(activation, box)
            for step in activation_steps(activation, box):
                merged = merged.then(step)
        output, slope, row_slope = _through(activation, box)
    norm = _at_most(stages.norm(linear, row_slope, state.slope), linear, row_slope, state.slope)
    bound = BlockBound(linear, activation, box, output, slope, row_slope, norm, state.radius)
    grown, everywhere = norm, state.everywhere
    if stages.global_radii:
        rows, columns = slopes_everywhere(activation, slope)
        whole = _at_most(stages.norm(linear, rows, state.everywhere), linear, rows, state.everywhere)
        grown, everywhere = whole.expand_as(norm), columns
    radius = inflated(product_above(state.radius, grown))
    value = inflated(product_above(state.value, norm))
    return bound, _State(after, output, slope, radius, value, merged, zonotope, everywhere)


def _through(activation: Rule | None, box: Box) -> tuple[Box, Tensor, Tensor]:
    """The box of the outputs, the slopes that scale the next columns, and those that scale the rows before."""
    if activation is None:
        one = torch.ones_like(box.lower)
        return box, one, one
    output, slope = Box(*activation.image(box.lower, box.upper)), activation.slope(box.lower, box.upper)
    if type(activation).row_slope is Activation.row_slope:  # then it would be found a second time
        return output, slope, slope
    return output, slope, activation.row_slope(box.lower, box.upper)


def _nested(block: Block, state: _State, stages: _Stages) -> tuple[BlockBound, _State]:
    """h + inner(h), or inner(h): the boxes and centres of the inside, and the constant that the layer vouches for."""
    merged = None if state.merged is None or not block.skip else replace(state.merged, fresh=False)
    start = replace(state, value=torch.ones_like(state.value), merged=merged if block.skip else state.merged)
    # Where the layer vouches for the whole, the norms of its parts serve the boxes between them only.
    rough = replace(stages, norm=_inside(block, stages.norm))
    inner, end = _pass(block.inner, start, rough)
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
    return bound, _State(after, box, one, radius, value, merged_after, zonotope, one[:1])


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


def _count(blocks: tuple[Block, ...]) -> int:
    return sum(_count(block.inner) if block.inner else 1 for block in blocks)


def _failure(norm: Norm, blocks: tuple[Block, ...]) -> float:
    """The failure probabilities of all norms, summed."""
    of_one = getattr(norm, "failure_probability", lambda linear: 0.0)
    return float(
        sum(_failure(_inside(block, norm), block.inner) if block.inner else of_one(block.linear) for block in blocks)
    )


def _inside(block: Block, norm: Norm) -> Norm:
    """The norm of what is inside of a block."""
    return replace(norm, rough=True) if isinstance(norm, UpperNorm) and math.isfinite(block.lipschitz) else norm


def global_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor = math.inf,
    *,
    norm: Norm | None = None,
    delta: float = 1e-9,
    dtype: torch.dtype = torch.float64,
    differentiable: bool | str = False,
) -> Bound:
    """Product of the norms of the layers: the local bound with eps = ∞, where every unit varies.

    It holds on the whole space, so on every ball: eps is checked and kept for the record, and changes nothing.
    x: (batch, *sample) gives the input shape; dtype and differentiable are as of local_bound.
    Raises UnsupportedLayer and InvalidInput.
    """
    radius = check_eps(eps, check_input(net, x))
    one = local_bound(net, x[:1], math.inf, norm=norm, delta=delta, dtype=dtype, differentiable=differentiable)
    blocks = _repeated(one.blocks, len(x))
    return replace(one, value=one.value.expand(len(x)), eps=radius, blocks=blocks, outputs=None)


def _repeated(blocks: tuple[BlockBound, ...], batch: int) -> tuple[BlockBound, ...]:
    """What holds of one point on the whole space holds of all."""

    def box(of: Box) -> Box:
        return Box(of.lower.expand(batch, *of.lower.shape[1:]), of.upper.expand(batch, *of.upper.shape[1:]))

    return tuple(
        BlockBound(
            block.linear, block.activation, box(block.box), box(block.output),
            block.slope.expand(batch, *block.slope.shape[1:]),
            block.row_slope.expand(batch, *block.row_slope.shape[1:]),
            block.norm.expand(batch), block.radius.expand(batch), _repeated(block.inner, batch), block.skip,
        )
        for block in blocks
    )  # fmt: skip
