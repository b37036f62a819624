"""Margins: by how much the logit of a label beats the others, and what the last layer or a way by shells can take."""

from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound
from lliptools.bounds.record import ANY_TWO, CENTRED
from lliptools.domains import BlockBound
from lliptools.domains.center import Center
from lliptools.errors import InvalidInput, check_whole
from lliptools.nets import Block
from lliptools.nets.blocks import alike
from lliptools.nets.linear import TINY
from lliptools.nets.rows import times_root
from lliptools.norms.kinds import product_above
from lliptools.norms.rounding import enclosed, gamma, inflated, matrix_slack, times_above, unit

NEAR = 1e-9  # relatively: what rounding may take of a margin is not known before
ENTRIES = 2**22  # of (points, classes, units) that are worked on at a time
SAME = 1e-9  # relatively: how far a point's outputs may differ that are added up in another order


def check_bound(
    found: Any,
    radius: Tensor,
    blocks: tuple[Block, ...] = (),
    center: Tensor | None = None,
    outputs: Tensor | None = None,
) -> None:
    """Raises InvalidInput unless a bound is an upper one, in float64, on balls of these radii: (batch,).

    blocks, center, outputs: the network, the points, (batch, features), and what it computes there, (batch, classes):
    what a bound of another network or of other points does not have.
    """
    if not isinstance(found, Bound):
        why = "a function that returns a number, or nothing", "return what lliptools.local_bound returns"
        raise InvalidInput("a bound function that returns a Bound", type(found).__name__, *why)
    if found.kind != "upper" or not found.arithmetic.startswith("float64"):
        got = f'kind "{found.kind}", {found.arithmetic}'
        cause = "a norm that converges from below, a stage without its mark, or dtype=torch.float32"
        step = "use lliptools.local_bound with its own norm and dtype, or mark a sound stage by bounds.errs"
        raise InvalidInput('a bound of kind "upper", computed in float64', got, cause, step)
    cause = "one of other points or of another network"
    step = "let the bound function compute it of the net and the x that it is given"
    if center is not None and found.points is not None and not _same(found.points, center, 0.0):
        raise InvalidInput("a bound of net at x", "a Bound whose points are not x", cause, step)
    if outputs is not None and found.outputs is not None:
        given = outputs if found.points is not None else outputs[:1]
        if not _same(found.outputs, given, SAME):
            raise InvalidInput("a bound of net at x", "a Bound whose outputs are not net(x)", cause, step)
    if blocks and found.blocks and not _of_blocks(found.blocks, blocks):
        raise InvalidInput("a bound of net at x", "a Bound of other weights or activations", cause, step)
    if not (found.eps >= radius).all():
        got = f"one on a ball of radius {found.eps.min().item():g}"
        why = "a bound that changed eps", "return the bound for the radius that was asked for"
        raise InvalidInput(f"a bound on the ball of radius {radius.max().item():g}", got, *why)


def _of_blocks(found: tuple[BlockBound, ...], blocks: tuple[Block, ...]) -> bool:
    """Whether these are the network's own maps and activations, in its order."""
    return len(found) == len(blocks) and all(
        alike(one.linear.operators, other.linear.operators)
        and alike((one.linear.bias, one.activation, one.skip), (other.linear.bias, other.activation, other.skip))
        and _of_blocks(one.inner, other.inner)
        and _of_blocks(one.shortcut, other.shortcut)
        for one, other in zip(found, blocks, strict=True)
    )


def _same(given: Tensor, wanted: Tensor, near: float) -> bool:
    """Whether two tensors agree row by row, relatively to the largest value of the row; NaN and inf in place."""
    if given.shape != wanted.shape:
        return False
    given = given.to(wanted)
    room = near * wanted.abs().amax(dim=1, keepdim=True).nan_to_num(nan=0.0, posinf=0.0)
    equal = (given == wanted) | (given.isnan() & wanted.isnan())
    return bool((equal | ((given - wanted).abs() <= room)).all())


def own_class(logits: Tensor, y: Tensor) -> Tensor:
    """True at the label's own class, by index and never by value: (batch, classes), y (batch,) -> (batch, classes)."""
    return torch.zeros_like(logits, dtype=torch.bool).scatter(1, y[:, None], True)


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """f_y − f_j for every class j, inf for j = y: logits (batch, classes), y (batch,) -> (batch, classes)."""
    return (logits.gather(1, y[:, None]) - logits).masked_fill(own_class(logits, y), torch.inf)


def smallest_margin(logits: Tensor, y: Tensor) -> Tensor:
    """min over j ≠ y of f_y − f_j: logits (batch, classes), y (batch,) -> (batch,)."""
    return margins(logits, y).amin(dim=1)


def margin_error(logits: Center, margin: Tensor, y: Tensor) -> Tensor:
    """How far rounding may have moved margins (batch, classes) of logits, with the difference's own; 0 for j = y."""
    own = own_class(margin, y)
    error = logits.doubt + logits.doubt.gather(1, y[:, None])
    return torch.zeros_like(margin) + enclosed(error + 4 * unit(margin) * margin.masked_fill(own, 0.0).abs())


def sure_margins(logits: Center, y: Tensor) -> Tensor:
    """What is left of the margins of logits at the centre after rounding, (batch, classes); inf for j = y."""
    margin = margins(logits.value, y)
    return margin - inflated(margin_error(logits, margin, y), 8)


def largest_change(direction: Tensor, radius: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """The largest w·d over ‖d‖ <= radius and −below <= d <= above: a ball cut by a box.

    * direction: w, (batch, classes, units). radius: (batch,). below, above >= 0: (batch, units), possibly infinite.
    * Returns (batch, classes).

    At the best d every unit is min(t·|w|, its limit) with one t for all; t is found among the
    sorted breakpoints limit/|w|. What is returned is the dual value at that t, which is an upper bound for every t > 0,
    so that a rounded t costs tightness only. Source: Lee, Lee, Park, "Lipschitz-certifiable training with a tight outer
    bound" (NeurIPS 2020), where the maximum is iterated for.
    """
    # At a scale of 1 for ball and direction, so that squares neither overflow nor underflow. What is above 0
    # stays so: a limit or an entry of the direction that the scale takes below the smallest number counts as that one.
    largest, ball_size = direction.detach().abs().amax(dim=2, keepdim=True), radius.clamp_min(0.0)
    measure = torch.where((ball_size > 0) & ball_size.isfinite(), ball_size, 1.0)
    acts, positive = direction != 0, direction > 0
    direction = direction / torch.where(largest > 0, largest, 1.0)
    size = torch.where(acts, direction.abs().clamp_min(TINY), 0.0)
    at_most = torch.where(acts, torch.where(positive, above[:, None], below[:, None]), 0.0)
    at_most = torch.where(at_most <= 0, 0.0, at_most)
    radius, limit = ball_size / measure, at_most / measure[:, None, None]
    limit = torch.where(at_most > 0, limit.clamp_min(TINY), limit)
    radius = radius[:, None]
    breakpoint_ = torch.where(acts, limit / size.clamp_min(TINY), 0.0)
    order = breakpoint_.argsort(dim=2)
    sorted_size, sorted_limit = size.gather(2, order), limit.gather(2, order)
    # After the first k units have reached their limit, the others share what is left of the radius.
    limited = sorted_limit.nan_to_num(posinf=0.0).square().cumsum(dim=2)
    limited = torch.where(sorted_limit.isinf().cumsum(dim=2) > 0, torch.inf, limited)
    nothing = torch.zeros_like(limited[:, :, :1])
    spent = torch.cat([nothing, limited], dim=2)
    left = torch.cat([sorted_size.square().flip(2).cumsum(dim=2).flip(2), nothing], dim=2)
    squared = (radius[:, :, None].square() - spent) / left.clamp_min(TINY)
    start = torch.cat([nothing, breakpoint_.gather(2, order)], dim=2)
    # The right k is the last whose t still lies beyond its breakpoints; beyond the last, the box alone decides.
    fits = (squared > 0) & (squared.sqrt() >= start) & (left > 0)
    k = torch.where(fits, torch.arange(fits.shape[2], device=fits.device), -1).amax(dim=2, keepdim=True)
    # At the best t the dual value does not change with it, so that a gradient takes t as given.
    t = squared.detach().gather(2, k.clamp_min(0)).clamp_min(0).sqrt()
    found = (k >= 0) & (t > 0)
    t = torch.where(found, t, 1.0)
    reached = torch.minimum(t * size, limit)
    ball = radius * torch.linalg.vector_norm(direction, dim=2)
    dual = (radius.square() / t[:, :, 0] - (reached.square() / t).sum(dim=2)) / 2 + (size * reached).sum(dim=2)
    dual = torch.where(found[:, :, 0], dual, torch.inf)
    # What underflow may have taken of the products in a sum.
    underflow = TINY * (limit > 0).sum(dim=2)
    largest, measure = largest[:, :, 0], measure[:, None]
    box = ((torch.where(at_most > 0, size * at_most, at_most)).sum(dim=2) + underflow) * largest.clamp_min(TINY)
    ball, dual = (value * (largest * measure).clamp_min(TINY) for value in (ball, dual + underflow))
    # Each of the three is an upper bound; a NaN in one of them is no reason to trust the others less.
    others = torch.stack([dual, box]).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return torch.minimum(ball, others.amin(dim=0))


def worst_margins(
    found: Bound, values: list[Center], y: Tensor, radius: Tensor, fall: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The margins f_y − f_j at the points, and lower bounds of them over the balls: (batch, classes) each.

    values: the outputs of every block at the points. fall: (batch, classes), how far the margins can fall by what else
    is known. What the bound is worth, these margins are worth.
    """
    logits = values[-1]
    own, margin = own_class(logits.value, y), margins(logits.value, y)
    needed = (margin / radius[:, None]).masked_fill(own, torch.inf).nan_to_num(nan=torch.inf) * (1 - NEAR)
    pairwise = found.pairwise(y, needed if found.between == CENTRED else None)
    change = times_above(radius[:, None], pairwise)
    if len(found.blocks) > 1 and found.blocks[-2].output.upper.isfinite().any():
        change = torch.fmin(change, _last_layer_change(found, values[-2], y, radius))
    if fall is not None:
        change = torch.fmin(change, fall)
    return margin, margin - inflated(change.masked_fill(own, 0.0) + margin_error(logits, margin, y), 8)


def _last_layer_change(found: Bound, hidden: Center, y: Tensor, radius: Tensor) -> Tensor:
    """How far f_j − f_y can rise while the last hidden units move in their ball and in their box: (batch, classes)."""
    last, before = found.blocks[-1].linear, found.blocks[-2]
    root = before.slope.flatten(1).sqrt()
    value, error = hidden.value.flatten(1), hidden.doubt.flatten(1)
    # A unit moves by the root of its slope times its share of the ball.
    error = error + enclosed(8 * unit(value) * value.abs())
    below, above = (
        torch.where(root > 0, (limit + error) * (1 + 8 * unit(value)) / root, 0.0)
        for limit in (value - before.output.lower.flatten(1), before.output.upper.flatten(1) - value)
    )
    ball = times_above(radius, found.hidden())
    change = []
    for part in torch.arange(len(y), device=y.device).split(max(1, ENTRIES // last.weight.numel())):
        direction = times_root(last.weight - last.weight[y[part], None, :], root[part, None, :])
        change.append(largest_change(direction, ball[part], below=below[part], above=above[part]))
    rounding = product_above(ball, 2 * matrix_slack(last, torch.ones_like(root[:, :1]), root.square()))
    return torch.cat(change) * (1 + 8 * gamma(last.columns, root)) + rounding[:, None]


def shell_radii(radius: Tensor, shells: int) -> Tensor:
    """The outer radii of so many shells of equal width, (batch, shells); the last is the radius itself."""
    check_whole("shells", shells, 1, "a width in place of a count", "1 is the whole ball")
    inner = radius[:, None] * torch.arange(1, shells, dtype=radius.dtype, device=radius.device) / shells
    return torch.cat([torch.minimum(inner, radius[:, None]), radius[:, None]], dim=1)


def falls(
    bound: Any, net: nn.Module, x: Tensor, y: Tensor, radii: Tensor, blocks: tuple[Block, ...], *at_x: Tensor
) -> tuple[Tensor, Bound]:
    """How far each f_y − f_j can fall up to the outer radius of every shell, (batch, shells, classes), and the bound.

    radii: (batch, shells), ascending. The bound is of all shells of all points, (batch · shells), in one call.
    blocks, at_x: of net, and center and outputs, as of check_bound. Raises InvalidInput for a bound that is refused
    there, or that does not hold between any two points of the ball.

    Let 0 = r_0 < … < r_K = eps, and let L_j(r) bound the Lipschitz constant of f_y − f_j on the ball of radius r around
    x. The segment from x to any point of the ball crosses the shell between r_{k−1} and r_k inside the ball of radius
    r_k, so that f_y − f_j falls by at most Σ_k (r_k − r_{k−1}) L_j(r_k) on its way. With a convex input domain the
    segment stays in it. A constant on a larger ball is one on a smaller, so the least of those further out counts too.
    """
    batch, shells = radii.shape
    found = bound(net, x.repeat_interleave(shells, dim=0), radii.flatten())
    check_bound(found, radii.flatten(), blocks, *(part.repeat_interleave(shells, dim=0) for part in at_x))
    if found.between != ANY_TWO:
        why = "centred=True in the bound", "pass it without"
        raise InvalidInput("a bound between any two points", f"one of {found.between}", *why)
    pairs = found.pairwise(y.repeat_interleave(shells)).reshape(batch, shells, -1)
    pairs = pairs.nan_to_num(nan=torch.inf).flip(1).cummin(dim=1).values.flip(1)
    widths = inflated(radii.diff(dim=1, prepend=torch.zeros_like(radii[:, :1])))
    return inflated(product_above(widths[:, :, None], pairs).cumsum(dim=1), 2 * shells), found
