"""Boxes of the pre-activations over the ball: each sound on its own, and so is what lies in all of them."""

import torch
from torch import Tensor

from lliptools.bounds.record import Box, errs, product_above
from lliptools.nets.linear import LinearMap

__all__ = ["ball_box", "interval_and_ball", "interval_box"]

TINY = torch.finfo(torch.float64).tiny


@errs("upper")
def interval_box(linear: LinearMap, inputs: Box, center: Tensor, column_slope: Tensor, radius: Tensor) -> Box:
    """Interval arithmetic: middle W m + b, half-width |W| d.

    inputs: box of the block's inputs, (batch, columns). center, column_slope and radius are not used.
    """
    middle = linear.apply(inputs.lower / 2 + inputs.upper / 2)
    half = inputs.upper / 2 - inputs.lower / 2
    half = torch.where(inputs.upper > inputs.lower, half.clamp_min(TINY), half)  # half of 5e-324 would be 0
    half_width = linear.apply_absolute(half)
    moved = (half > 0).double() @ (linear.weight != 0).double().T > 0
    half_width = half_width + moved.double() * _lost(linear)
    return Box.outward(middle - half_width, middle + half_width)


@errs("upper")
def ball_box(linear: LinearMap, inputs: Box, center: Tensor, column_slope: Tensor, radius: Tensor) -> Box:
    """The ball of the block's inputs: pre-activation at the centre ± radius · ‖row of W, struck columns left out‖.

    center: (batch, rows) pre-activations at the ball's centre. column_slope: (batch, columns). radius: (batch,).
    """
    reach = product_above(radius[:, None], linear.row_norms(column_slope))
    reach = reach + (reach > 0).double() * _lost(linear)
    return Box.outward(center - reach, center + reach)


@errs("upper")
def interval_and_ball(linear: LinearMap, inputs: Box, center: Tensor, column_slope: Tensor, radius: Tensor) -> Box:
    """What lies in both the interval box and the ball's box; the default."""
    interval = interval_box(linear, inputs, center, column_slope, radius)
    return interval.intersect(ball_box(linear, inputs, center, column_slope, radius))


def _lost(linear: LinearMap) -> float:
    """More than what underflow can take from the sum that makes a unit."""
    return linear.weight.shape[1] * TINY


def input_box(center: Tensor, radius: Tensor) -> Box:
    """The smallest box around the ball: center (batch, features), radius (batch,)."""
    reach = radius[:, None].expand_as(center)
    lower, upper = center - reach, center + reach
    # One step outward, so that a radius below the spacing of the numbers around the centre is not rounded away.
    lower = lower.nextafter(torch.full_like(lower, -torch.inf))
    upper = upper.nextafter(torch.full_like(upper, torch.inf))
    return Box.outward(torch.where(reach > 0, lower, center), torch.where(reach > 0, upper, center))
