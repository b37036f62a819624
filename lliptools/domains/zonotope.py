"""Boxes from values instead of slopes: every unit as a linear function of the input and of bounded noises.

Around the centre x of the ball, z(x + δ) = offset + Aᵀδ + Bᵀξ with ‖δ‖ <= eps and |ξ| <= 1. Linear maps keep this form;
an activation over a box is λz + middle ± radius, and each unstable unit adds a noise. Unlike the prefix rows, which
know slopes only, this knows how far a bent unit can be from its chord. Inside bounds.outward_rounding() every unit also
knows how far rounding may have moved it from this form.
Source: Singh, Gehr, Mirman, Püschel, Vechev, "Fast and effective robustness certification" (NeurIPS 2018), there for
input boxes; here for the L2 ball, and for any activation whose slopes over a box are known.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lliptools.domains.block import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.domains.domain import Domain
from lliptools.nets.activations import Activation
from lliptools.nets.clips import Absolute
from lliptools.nets.linear import LinearMap
from lliptools.norms.kinds import errs
from lliptools.norms.masked import kept_first
from lliptools.norms.rounding import gamma, inflated, is_outward, running_error, unit
from lliptools.norms.scaled import length

LOST = 1e-290  # a product below this may have lost digits to underflow


@errs("upper", encloses=True)
@dataclass(frozen=True, eq=False)
class Zonotope(Domain):
    """The units of one place in the network, (batch, *units) by `shape`.

    offset: (batch, units). of_input: A, (batch, features, units). of_noise: B, (batch, noises, units). eps: (batch,).
    error: (batch, units), how far a unit may be from its form, but for underflow in the last step.
    """

    offset: Tensor
    of_input: Tensor
    of_noise: Tensor
    error: Tensor
    eps: Tensor
    shape: tuple[int, ...]

    @classmethod
    def start(cls, center: Tensor, eps: Tensor) -> "Zonotope":
        batch, features = center.shape
        identity = torch.eye(features, dtype=center.dtype, device=center.device).expand(batch, -1, -1)
        return cls(center, identity, center.new_zeros(batch, 0, features), torch.zeros_like(center), eps, (features,))

    def linear(self, linear: LinearMap) -> "Zonotope":
        W = linear.weight.detach()
        bias = linear.bias.detach().expand(linear.out_shape).flatten()
        error, size = self.error_of(linear.columns), self.offset.abs() + self._reach + self.error
        sizes = (part.reshape(-1, *linear.in_shape) for part in (error, size))
        error = running_error(linear, *sizes).flatten(1).detach()
        offset, of_input, of_noise = (part @ W.T for part in self._form)
        return Zonotope(offset + bias, of_input, of_noise, error, self.eps, linear.out_shape)

    @property
    def _form(self) -> tuple[Tensor, Tensor, Tensor]:
        """What linear maps of the units do the same with: the last axis of each are the units."""
        return self.offset, self.of_input, self.of_noise

    def error_of(self, terms: int) -> Tensor:
        """How far a sum of so many units may be from the true one, (batch, units); as Merged.error_of."""
        if not is_outward():
            return self.error
        variables = 1 + self.of_noise.shape[1] + self.of_input.shape[1] * (1 + self.eps[:, None])
        size = self.offset.abs() + self._reach
        return inflated(self.error + gamma(terms, size) * size + torch.finfo(size.dtype).tiny * variables, 8)

    @cached_property
    def _reach(self) -> Tensor:
        """How far the form reaches from the offset, (batch, units), not widened by its own rounding."""
        return self.eps[:, None] * length(self.of_input, dim=1) + self.of_noise.abs().sum(dim=1)

    def box(self, center: Center | None = None) -> Box:
        """The smallest box of the form, open where a number is not finite; (batch, *units) each."""
        reach = self._reach + self.error_of(self.of_input.shape[1] + self.of_noise.shape[1])
        box = Box.outward(self.offset - reach, self.offset + reach)
        shape = (len(self.offset), *self.shape)
        return Box(box.lower.reshape(shape), box.upper.reshape(shape))

    def after(self, block: BlockBound, radius: Tensor) -> "Zonotope":
        activation, box = block.activation, block.box
        return self if activation is None else activation.relax(self, box.lower, box.upper)

    def bent(self, activation: Activation, lower: Tensor, upper: Tensor) -> "Zonotope":
        """The units after an elementwise activation whose inputs lie in [lower, upper], (batch, *units) each."""
        return self._bent(*relaxed(activation, Box(lower, upper), self.shape))

    def compared(self, lower: Tensor, upper: Tensor) -> "Zonotope":
        """[max(a, b), min(a, b)] of the two halves a, b of the channels, in [lower, upper]."""
        (lower_a, lower_b), (upper_a, upper_b) = (side.chunk(2, dim=1) for side in (lower, upper))
        between = self._mixed(1.0, -1.0)  # a − b, whose absolute value is what the maximum adds to the mean
        own = between.box()
        half_shape = (self.shape[0] // 2, *self.shape[1:])
        # What rounds these differences, never their signs, is less than what the errors of relaxed have room for.
        apart = Box(torch.maximum(own.lower, lower_a - upper_b), torch.minimum(own.upper, upper_a - lower_b))
        size = between._bent(*relaxed(Absolute(), apart, half_shape))
        mean = self._mixed(0.5, 0.5)
        error = torch.cat([mean.error_of(0) + size.error_of(0) / 2] * 2, dim=1)
        parts = zip(mean.beside(size)._form, size._form, strict=True)
        offset, of_input, of_noise = (torch.cat([part + half / 2, part - half / 2], dim=-1) for part, half in parts)
        return Zonotope(offset, of_input, of_noise, error, self.eps, self.shape)

    def picked(self, index: Tensor, shape: tuple[int, ...]) -> "Zonotope":
        """Units of another shape, (*shape), each one of these: index (units,)."""
        offset, of_input, of_noise, error = (part[..., index] for part in (*self._form, self.error))
        return Zonotope(offset, of_input, of_noise, error, self.eps, shape)

    def add(self, earlier: "Zonotope") -> "Zonotope":
        parts = zip(self._form, earlier.beside(self)._form, strict=True)
        offset, of_input, of_noise = (part + other for part, other in parts)
        return Zonotope(offset, of_input, of_noise, self.error_of(0) + earlier.error_of(0), self.eps, self.shape)

    def beside(self, other: "Zonotope") -> "Zonotope":
        """The units, which read none of the noises that the other branch has added."""
        missing = other.of_noise.shape[1] - self.of_noise.shape[1]
        return replace(self, of_noise=torch.nn.functional.pad(self.of_noise, (0, 0, 0, missing)))

    def _mixed(self, one: float, other: float) -> "Zonotope":
        """one · a + other · b of the halves a, b of the channels."""
        halves = (part.chunk(2, dim=-1) for part in self._form)
        offset, of_input, of_noise = (one * a + other * b for a, b in halves)
        first, second = self.error_of(0).chunk(2, dim=1)
        error = abs(one) * first + abs(other) * second
        return Zonotope(offset, of_input, of_noise, error, self.eps, (self.shape[0] // 2, *self.shape[1:]))

    def _bent(self, slope: Tensor, middle: Tensor, radius: Tensor, error: Tensor) -> "Zonotope":
        """slope · z + middle ± radius ± error for every unit, (batch, units) each; a radius above 0 is a new noise."""
        which, _ = kept_first(radius > 0)
        noise = torch.zeros(*which.shape, radius.shape[1], dtype=radius.dtype, device=radius.device)
        noise.scatter_(2, which[:, :, None], radius.gather(1, which)[:, :, None])
        return replace(
            self,
            offset=slope * self.offset + middle,
            of_input=slope[:, None] * self.of_input,
            of_noise=torch.cat([slope[:, None] * self.of_noise, noise], dim=1),
            error=slope.abs() * self.error_of(0) + error,
        )


def relaxed(activation: Activation, box: Box, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """λ, middle, radius, error: |activation(z) − λz − middle| <= radius + error over the box, (batch, units) each.

    λ is the slope of the chord. What a piecewise linear activation leaves of it is largest at a bend; otherwise it is
    at most pq/(p + q) times the width, p = greatest slope − λ, q = λ − least slope.
    """
    lower, upper = box.lower, box.upper
    width = upper - lower
    low, high = activation(lower), activation(upper)
    least, greatest = (slope.to(lower.dtype) for slope in activation.slopes(lower, upper))
    chord = torch.where(width > 0, (high - low) / torch.where(width > 0, width, 1.0), greatest)
    chord = torch.where(least == greatest, greatest, torch.minimum(torch.maximum(chord, least), greatest))
    pieces = activation.pieces(torch.Size(shape))
    if pieces is None:
        p, q = greatest - chord, chord - least
        share = p * q / torch.where(p + q > 0, p + q, 1.0)
        radius = torch.where(p * q > LOST, share, torch.minimum(p, q)) * width
        places, values = torch.stack([lower, upper]), torch.stack([low, high])
        ends = values - chord * places
        top, bottom = ends.amax(dim=0) + radius, ends.amin(dim=0) - radius
    else:
        places, values = bent_places(activation, pieces[0], box)
        left = values - chord * places
        top, bottom = left.amax(dim=0), left.amin(dim=0)
    decided = least == greatest
    middle = torch.where(decided, low - chord * lower, (top + bottom) / 2)
    radius = torch.where(decided, 0.0, (top - bottom) / 2)
    steepest = torch.maximum(least.abs(), greatest.abs())
    error = relaxed_error(activation, places, values, steepest, radius)
    return tuple(part.flatten(1) for part in (chord, middle, radius, error))  # type: ignore[return-value]


def bent_places(activation: Activation, bends: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """The ends of a box, the bends (k, *units) between them, ascending, and the values there: (k + 2, batch, …)."""
    lower, upper = box.lower, box.upper
    bends = bends.to(lower)[:, None].expand(-1, len(lower), *[-1] * (lower.dim() - 1))
    places = torch.cat([lower[None], torch.minimum(torch.maximum(bends, lower), upper), upper[None]])
    return places, activation(places.flatten(0, 1)).reshape(places.shape)


def relaxed_error(activation: Activation, places: Tensor, values: Tensor, steepest: Tensor, radius: Tensor) -> Tensor:
    """What rounding can hide of a relaxation found from values at places; 0, without work, where it is not enclosed."""
    if not is_outward():
        return torch.zeros_like(radius)
    images = activation.image(places.flatten(0, 1), places.flatten(0, 1))
    below, above = (image.reshape(places.shape) for image in images)
    size = values.abs() + steepest * places.abs()
    error = torch.maximum(above - values, values - below) + 16 * unit(size) * size
    return error.amax(dim=0) + 16 * unit(size) * radius
