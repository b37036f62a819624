"""Secants from a point: what a certificate asks of an activation, since it compares with the centre only.

Every bound is widened by the error of its own arithmetic, and lies within the slopes between any two points.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lliptools.nets.activations import Activation, tiny, ulp

HALVINGS, PARTS = 40, 8


def quotient(rise: Tensor, step: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of rise / step, rise a difference of numbers whose sizes add up to size; NaN for no finite step."""
    usable = (step != 0) & step.isfinite()
    step = torch.where(usable, step, 1.0)
    found = torch.where(usable, rise / step, torch.nan)
    slack = ulp(found) * (found.abs() + (size + tiny(found)) / step.abs()) + tiny(found)
    return found - slack, found + slack


def _between(there: Sequence[Tensor], here: Sequence[Tensor], step: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of (f(there) − f(here)) / step, by images: torch may have rounded values by more than they are."""
    ends = [quotient(one - other, step, one.abs() + other.abs()) for one, other in zip(there, here[::-1], strict=True)]
    return torch.minimum(ends[0][0], ends[1][0]), torch.maximum(ends[0][1], ends[1][1])


def by_places(
    activation: Activation, z: Tensor, lower: Tensor, upper: Tensor, bends: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Least and greatest secant from z of a piecewise linear activation: met at an end, at a bend, or at z itself.

    z, lower, upper: (batch, *units). bends: each broadcasts over them. Between two bends a secant is monotone.
    """
    here, value = activation.slopes(z, z), activation(z)
    found = [here]
    for bend in (lower, upper, *bends):
        place = torch.minimum(torch.maximum(bend.expand_as(lower), lower), upper)
        there = activation(place)
        ends = quotient(there - value, place - z, there.abs() + value.abs())
        at_z = place == z
        found.append(tuple(torch.where(at_z, slope.to(end), end) for slope, end in zip(here, ends, strict=True)))  # type: ignore[arg-type]
    return _within(activation.slopes(lower, upper), found)


def convex(activation: Activation, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest secant from z of a convex activation: a secant grows with its other end."""
    value, here, ends = activation.image(z, z), activation.slopes(z, z), []
    for place in (lower, upper):
        found = _between(activation.image(place, place), value, place - z)
        ends.append([torch.where(place == z, slope, end) for slope, end in zip(here, found, strict=True)])
    return _within(activation.slopes(lower, upper), [(ends[0][0], ends[1][1])])


def sigmoidal(
    activation: Activation, derivative: Callable[[Tensor], Tensor], z: Tensor, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor]:
    """Least and greatest secant from z of an activation that is convex below 0, concave above, and symmetric about 0.

    From z < 0 a secant grows with its other end up to a tangent, and falls beyond it: the least is met at an end. Above
    0 the function lies below each of its tangents, so that whichever is taken bounds the greatest.
    """
    hull = activation.slopes(lower, upper)
    mirrored = z > 0
    z, lower, upper = (torch.where(mirrored, -one, other) for one, other in ((z, z), (upper, lower), (lower, upper)))
    value = activation(z)

    def secant(place: Tensor) -> tuple[Tensor, Tensor]:
        there = activation(place)
        low, high = quotient(there - value, place - z, there.abs() + value.abs())
        slope = derivative(z)
        at_z = place == z
        steep = slope * (1 + ulp(slope)) + tiny(slope)
        return torch.where(at_z, slope * (1 - ulp(slope)), low), torch.where(at_z, steep, high)

    ends = [secant(lower), secant(upper)]
    least = torch.minimum(ends[0][0], ends[1][0])
    low, high = torch.zeros_like(z), -z
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        beyond = activation(middle) - value > derivative(middle) * (middle - z)
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    touch = torch.minimum(high, upper)
    at, slope, zero = activation(touch), derivative(touch), torch.zeros_like(z)

    def to_tangent(place: Tensor) -> Tensor:
        rise = slope * (place - touch)
        return quotient(at + rise - value, place - z, at.abs() + rise.abs() + value.abs())[1]

    steepest = torch.stack([secant(zero)[1], to_tangent(zero), to_tangent(upper)]).amax(dim=0)
    greatest = torch.where(upper <= 0, ends[1][1], steepest)
    greatest = torch.maximum(greatest, torch.where(lower <= z, secant(z)[1], 0.0))
    return _within(hull, [(least, greatest)])


def by_parts(activation: Activation, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest secant from z of any activation, from its slopes over parts of [lower, z] and of [z, upper].

    The secant to a point beyond p is a mean of that to p and of a slope behind p, by the share of the way behind p.
    """
    found, here = [tuple(end.to(z) for end in activation.slopes(z, z))], activation.image(z, z)
    for end in (lower, upper):
        near = z
        for part in range(1, PARTS + 1):
            far = end if part == PARTS else z + (end - z) * (part / PARTS)
            least, greatest = activation.slopes(torch.minimum(near, far), torch.maximum(near, far))
            low, high = _between(activation.image(near, near), here, near - z)
            share = ((far - near) / torch.where(far == z, torch.inf, far - z)) * (1 + ulp(z))
            low = low + share * (least - low).clamp_max(0.0) - ulp(z) * (low.abs() + least.abs())
            high = high + share * (greatest - high).clamp_min(0.0) + ulp(z) * (high.abs() + greatest.abs())
            found.append((torch.where(near == z, least, low), torch.where(near == z, greatest, high)))
            near = far
    return _within(activation.slopes(lower, upper), found)


def _within(hull: Sequence[Tensor], found: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
    """The range of all that was found, within the hull, which stands in for NaN; never 0 for a unit that varies."""
    least, greatest = (end.to(found[-1][0].dtype) for end in hull)
    low = torch.stack([each[0].to(least) for each in found]).amin(dim=0)
    high = torch.stack([each[1].to(least) for each in found]).amax(dim=0)
    low = torch.where(low > least, torch.minimum(low, greatest), least)
    high = torch.where(high < greatest, torch.maximum(high, least), greatest)
    return low, torch.where((least == 0) & (greatest > 0), high.clamp_min(tiny(high)), high)
