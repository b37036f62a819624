"""Boxes of the pre-activations over the ball: each sound on its own, and so is what lies in all of them."""

from typing import Any

import torch
from torch import Tensor

from lliptools.domains.box import Box
from lliptools.nets.linear import SAFE, LinearMap
from lliptools.norms.kinds import errs, product_above
from lliptools.norms.rounding import absolute_with_slack, gamma, is_outward, unit

__all__ = ["ball_box", "input_box", "interval_and_ball", "interval_box", "light_boxes"]


@errs("upper", encloses=True)
def interval_box(linear: LinearMap, inputs: Box, center: Tensor, column_slope: Tensor, radius: Tensor) -> Box:
    """Interval arithmetic: middle W m + b, half-width |W| d.

    inputs: box of the block's inputs, (batch, *columns). center, column_slope and radius are not used.
    """
    tiny = torch.finfo(center.dtype).tiny
    between = inputs.lower / 2 + inputs.upper / 2
    half = inputs.upper / 2 - inputs.lower / 2
    smallest = torch.where(inputs.upper > inputs.lower, half, torch.inf).amin()
    if smallest < tiny:  # half of 5e-324 would be 0
        half = torch.where(inputs.upper > inputs.lower, half.clamp_min(tiny), half)
    if is_outward():
        half = half + 2 * unit(half) * (inputs.lower.abs() + inputs.upper.abs())
    middle = linear.apply(between)
    if is_outward():
        half_width = absolute_with_slack(linear, half, between.abs() + half)
    else:
        half_width = linear.apply_absolute(half)
    if linear.has_tiny_entries or smallest < SAFE:
        half_width = half_width + linear.reached(half > 0).to(half.dtype) * linear.underflow
    return _widened(middle, half_width)


@errs("upper", encloses=True)
def ball_box(linear: LinearMap, inputs: Box, center: Tensor, column_slope: Tensor, radius: Tensor) -> Box:
    """The ball of the block's inputs: pre-activation at the centre ± radius · ‖row of W, struck columns left out‖.

    center: (batch, *rows) pre-activations at the ball's centre. column_slope: (batch, *columns). radius: (batch,).
    """
    norms = linear.row_norms(column_slope)
    if is_outward():
        norms = norms * (1 + 2 * gamma(linear.terms, norms) + linear.relative_error)
        if linear.matrix_error is not None:
            norms = norms + torch.linalg.vector_norm(linear.matrix_error, dim=1).reshape(norms.shape[1:])
    reach = product_above(radius.view(-1, *[1] * (norms.dim() - 1)), norms)
    return _widened(center, reach + (reach > 0).to(reach.dtype) * linear.underflow)


@errs("upper", encloses=True)
def interval_and_ball(linear: LinearMap, inputs: Box, center: Tensor, column_slope: Tensor, radius: Tensor) -> Box:
    """What lies in both the interval box and the ball's box; the default."""
    interval = interval_box(linear, inputs, center, column_slope, radius)
    return interval.intersect(ball_box(linear, inputs, center, column_slope, radius))


@errs("estimate")
def light_boxes(linear: LinearMap, inputs: Box, center: Tensor, column_slope: Tensor, radius: Tensor) -> Box:
    """The interval box and the ball's box for training: finite numbers only, no care for underflow, whole rows.

    Leaving struck columns in the rows' norms spares a convolution with W∘W; column_slope is not used.
    """
    middle = linear.linear((inputs.lower + inputs.upper) / 2) + linear.bias
    half_width = linear.apply_absolute((inputs.upper - inputs.lower) / 2)
    reach = radius.view(-1, *[1] * (center.dim() - 1)) * linear.whole_row_norms()
    return Box(*_InBoth.apply(middle - half_width, middle + half_width, center - reach, center + reach))


class _InBoth(torch.autograd.Function):
    """Box.intersect of two boxes, (lower, upper, lower, upper) -> (lower, upper), with a faster backward pass.

    The gradient goes to the end that is taken, where they are equal to that of the second box.
    """

    @staticmethod
    def forward(ctx: Any, *ends: Tensor) -> tuple[Tensor, Tensor]:
        low, high, other_low, other_high = ends
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(low - other_low, other_high - high)  # half as much to keep
        return torch.maximum(low, other_low), torch.minimum(high, other_high)

    @staticmethod
    def backward(ctx: Any, of_lower: Tensor, of_upper: Tensor) -> tuple[Tensor, ...]:
        above, below = ctx.saved_tensors
        to_low = torch.ops.aten.threshold_backward(of_lower, above, 0)
        to_high = torch.ops.aten.threshold_backward(of_upper, below, 0)
        return to_low, to_high, of_lower - to_low, of_upper - to_high


def _widened(middle: Tensor, half_width: Tensor) -> Box:
    if is_outward():
        half_width = half_width * (1 + 8 * unit(middle)) + 4 * unit(middle) * middle.abs()
    return Box.outward(middle - half_width, middle + half_width)


def input_box(center: Tensor, radius: Tensor, domain: tuple[float, float] | None = None) -> Box:
    """The smallest box around the ball, inside the domain: center (batch, features), radius (batch,)."""
    reach = radius[:, None].expand_as(center)
    lower, upper = center - reach, center + reach
    # One step outward, so that a radius below the spacing of the numbers around the centre is not rounded away.
    lower = lower.nextafter(torch.full_like(lower, -torch.inf))
    upper = upper.nextafter(torch.full_like(upper, torch.inf))
    box = Box.outward(torch.where(reach == 0, center, lower), torch.where(reach == 0, center, upper))
    return box if domain is None else Box(box.lower.clamp_min(domain[0]), box.upper.clamp_max(domain[1]))
