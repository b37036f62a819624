"""A network as plain piecewise-linear layers, and the affine map that it is on one region, with its rounding error."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets import Block
from lliptools.nets.linear import LARGEST_MATRIX, LinearMap
from lliptools.nets.operators import Operator
from lliptools.norms.rounding import gamma, outward_rounding

__all__ = ["SPACING", "Affine", "Array", "Integers", "Layer", "Planes", "TooManyRegions", "as_integers", "read_layers"]

Array = NDArray[np.float64]
Integers = NDArray[np.object_]
SPACING = float(np.finfo(np.float64).eps)  # twice the unit roundoff u


class TooManyRegions(Exception):
    """A search has met more regions than it was allowed."""


@dataclass(frozen=True, eq=False)
class Layer:
    """h -> activation(W h + b), the activation continuous and piecewise linear, unit by unit.

    weight: (rows, columns). bias: (rows,). breakpoints: (k, rows) ascending, padded with inf where a unit has fewer.
    slopes and intercepts: (k + 1, rows), of the pieces between the breakpoints.
    weight_error, bias_error: how far rounding may have moved weight and bias from the network's own, entry by entry;
    None where the weight is the network's own. factors: where the weight is a rounded product of the network's own
    matrices, these operators, first to last; () where it is the network's own; None where those numbers are not known,
    or too many.
    """

    weight: Array
    bias: Array
    breakpoints: Array
    slopes: Array
    intercepts: Array
    weight_error: Array | None = None
    bias_error: Array | float = 0.0
    factors: tuple[Operator, ...] | None = ()

    @classmethod
    def of(
        cls,
        weight: Array,
        bias: Array,
        breakpoints: Array | None = None,
        slopes: Array | None = None,
        at_zero: Array | None = None,
    ) -> "Layer":
        """The layer from breakpoints (k, rows), which may be infinite or equal, and slopes (k + 1, rows).

        at_zero: (rows,) the activation's value at 0, from which the intercepts follow; 0 unless given.
        Without breakpoints the activation is the identity.
        """
        rows = len(bias)
        if breakpoints is None or slopes is None:
            return cls(weight, bias, np.empty((0, rows)), np.ones((1, rows)), np.zeros((1, rows)))
        units = [_reachable(breakpoints[:, row].tolist(), slopes[:, row].tolist()) for row in range(rows)]
        most = max((len(cuts) for cuts, _ in units), default=0)
        cut, slope, intercept = np.full((most, rows), np.inf), np.zeros((most + 1, rows)), np.zeros((most + 1, rows))
        exact = True
        for row, (cuts, kept) in enumerate(units):
            values = _intercepts(cuts, kept, 0.0 if at_zero is None else float(at_zero[row]))
            cut[: len(cuts), row], slope[: len(kept), row] = cuts, kept
            intercept[: len(kept), row] = [float(value) for value in values]  # to the nearest number
            exact = exact and all(float(value) == value for value in values)
        return cls(weight, bias, cut, slope, intercept, factors=() if exact else None)

    @cached_property
    def matrices(self) -> tuple[Integers, ...]:
        """The network's own h -> W h + b as integer matrices [[W, b], [0, 1]], each times a power of two, in order."""
        weights = [_matrix(factor) for factor in self.factors or ()] or [self.weight]
        found = []
        for weight in weights:
            last = np.zeros(len(weight)) if weight is not weights[-1] else self.bias
            whole = np.concatenate([weight, last[:, None]], axis=1)
            bottom = np.append(np.zeros(weight.shape[1]), 1.0)
            found.append(as_integers(np.vstack([whole, bottom]))[0])
        return tuple(found)

    @cached_property
    def lines(self) -> tuple[Integers, ...]:
        """slopes, intercepts and 1 (1,) as integers, all times one power of two."""
        return as_integers(self.slopes, self.intercepts, np.ones(1))


def as_integers(*parts: Array) -> tuple[Integers, ...]:
    """The numbers as Python integers, all multiplied by one power of two, exactly."""
    split = [np.frexp(part) for part in parts]
    lowest = min(int(exponent[mantissa != 0].min(initial=2000)) for mantissa, exponent in split)
    return tuple(
        (mantissa * 2.0**53).astype(np.int64).astype(object) << np.maximum(exponent - lowest, 0).astype(object)
        for mantissa, exponent in split
    )


def _matrix(factor: Operator) -> Array:
    """An operator of which every entry of the matrix is one weight, as that matrix."""
    columns = prod(factor.in_shape)
    unit_vectors = torch.eye(columns, dtype=factor.weight.dtype, device=factor.weight.device)
    moved: Array = factor(unit_vectors.reshape(columns, *factor.in_shape)).detach().flatten(1).T.double().cpu().numpy()
    return moved


def _intercepts(cuts: list[float], slopes: list[float], at_zero: float) -> list[Fraction]:
    """The intercepts of a unit's pieces, exactly: of a continuous function with this value at 0."""
    steep = [Fraction(slope) for slope in slopes]
    home = sum(cut < 0 for cut in cuts)
    values = [Fraction(at_zero)] * len(slopes)
    for piece in range(home, len(cuts)):
        values[piece + 1] = values[piece] + (steep[piece] - steep[piece + 1]) * Fraction(cuts[piece])
    for piece in range(home - 1, -1, -1):
        values[piece] = values[piece + 1] + (steep[piece + 1] - steep[piece]) * Fraction(cuts[piece])
    return values


def _reachable(breakpoints: list[float], slopes: list[float]) -> tuple[list[float], list[float]]:
    """A unit's breakpoints and slopes without the pieces of no width and the breakpoints where nothing breaks."""
    cuts: list[float] = []
    kept = [slopes[0]]
    for breakpoint, slope in zip(breakpoints, slopes[1:], strict=True):
        if breakpoint == np.inf:
            break
        if breakpoint == -np.inf or (cuts and breakpoint == cuts[-1]):
            kept[-1] = slope
        else:
            cuts.append(breakpoint)
            kept.append(slope)
    for index in range(len(cuts) - 1, -1, -1):
        if kept[index] == kept[index + 1]:
            del cuts[index], kept[index + 1]
    return cuts, kept


@outward_rounding()
def read_layers(blocks: tuple[Block, ...]) -> list[Layer]:
    """The blocks as plain layers.

    Raises UnsupportedLayer for an activation that is not piecewise linear, unit by unit.
    """
    layers = []
    for block in blocks:
        if getattr(block, "inner", ()):
            raise UnsupportedLayer(
                expected="a plain chain of layers",
                got="a residual step",
                cause="a network for which the search of regions is not written",
                next_step="use local_bound from above and sampled_bound from below",
            )
        linear = block.linear
        shape = torch.Size(linear.out_shape)
        weight, bias = _plain(linear.weight), _plain(linear.bias.expand(shape).flatten())
        if block.activation is None:
            layers.append(_with_rounding(Layer.of(weight, bias), linear, shape))
            continue
        pieces = block.activation.pieces(shape)
        if pieces is None:
            raise UnsupportedLayer(
                expected="activations that are piecewise linear, unit by unit, such as ReLU or ClippedReLU",
                got=type(block.activation).__name__,
                cause="a smooth activation, or one that mixes units, whose regions cannot be listed",
                next_step="use local_bound from above and sampled_bound from below",
            )
        with torch.no_grad():
            at_zero = block.activation(torch.zeros(1, *shape, dtype=torch.float64, device=linear.bias.device))
        breakpoints, slopes, values = (_plain(part).reshape(-1, len(bias)) for part in (*pieces, at_zero))
        _check_pieces(type(block.activation).__name__, breakpoints, slopes, values)
        layers.append(_with_rounding(Layer.of(weight, bias, breakpoints, slopes, values[0]), linear, shape))
    return layers


def _plain(values: torch.Tensor) -> Array:
    plain: Array = values.detach().double().cpu().numpy()
    return plain


def _check_pieces(name: str, breakpoints: Array, slopes: Array, at_zero: Array) -> None:
    """Raises InvalidInput for pieces that describe no continuous piecewise linear function."""
    ascending = bool((breakpoints[1:] >= breakpoints[:-1]).all()) and not np.isnan(breakpoints).any()
    finite = bool(np.isfinite(slopes).all() and np.isfinite(at_zero).all())
    if not (ascending and finite and len(slopes) == len(breakpoints) + 1):
        raise InvalidInput(
            expected="pieces of an activation as ascending breakpoints, and one finite slope more than breakpoints",
            got=f"{len(breakpoints)} breakpoints and {len(slopes)} slopes of {name}, "
            f"{'not ' if not ascending else ''}ascending, {'' if finite else 'not '}finite",
            cause="an own activation whose method pieces lists them in another order, or thresholds that are NaN",
            next_step=f"sort the breakpoints that {name}.pieces returns",
        )


def _with_rounding(layer: Layer, linear: LinearMap, shape: torch.Size) -> Layer:
    """The layer, with how far its weight and its bias may be from the network's own."""
    several = len(linear.operators) > 1 or any(operator.copies > 1 for operator in linear.operators)
    if linear.matrix_error is not None:
        error: Array | None = _plain(linear.matrix_error)
    elif several:
        columns = linear.columns
        unit_vectors = torch.eye(columns, dtype=torch.float64, device=linear.bias.device)
        size = _plain(linear.apply_absolute(unit_vectors.reshape(columns, *linear.in_shape)).flatten(1).T)
        error = (linear.relative_error + gamma(linear.terms, linear.bias)) * size
    else:
        error = linear.relative_error * np.abs(layer.weight) if linear.relative_error else None
    off = linear.bias_error
    bias_error = _plain(off.expand(shape).flatten()) if isinstance(off, torch.Tensor) else off
    factors = linear.layers or linear.operators if error is not None else ()
    known = layer.factors is not None and not linear.relative_error and not np.any(bias_error)
    entries = sum(prod(factor.in_shape) * prod(factor.out_shape) for factor in factors) or layer.weight.size
    known = known and entries <= LARGEST_MATRIX and all(factor.copies == 1 for factor in factors)
    return replace(layer, weight_error=error, bias_error=bias_error, factors=factors if known else None)


@dataclass(frozen=True, eq=False)
class Planes:
    """Where the units of a layer break, in units of eps from the centre: z = breakpoint is normal · u + offset = 0.

    normal: (rows, features) of length 1. offset and slack: (k, rows). A number that is further than slack from 0 has
    the right sign. offset is ±inf where the unit does not come near the breakpoint in the ball.
    """

    normal: Array
    offset: Array
    slack: Array

    def undecided(self) -> list[int]:
        """Units of which a hyperplane comes to the ball."""
        return np.flatnonzero(np.isfinite(self.offset).any(axis=0)).tolist()

    def at(self, number: int, unit: int) -> tuple[Array, float]:
        """(n, t) of one breakpoint of a unit, (features + 1,), and its slack."""
        return np.append(self.normal[unit], self.offset[number, unit]), float(self.slack[number, unit])

    def pieces(self) -> NDArray[np.int64]:
        """(rows,) the piece of every unit that is decided."""
        return (self.offset > 0).sum(axis=0)


@dataclass(frozen=True, eq=False)
class Affine:
    """The network so far on one region: h(x + d) = map [d, 1], to within error, entry by entry.

    map, error: (units, features + 1). The error is a running one, for |computed − exact| (Higham 2002, section 3.3):
    with γ = (columns + 4) SPACING, twice what a sum of so many products may be off in any order of summation and with
    or without fused steps, so that the rounding of the error itself is counted in. Products of weights that underflow
    are refused before (exact.py).
    """

    map: Array
    error: Array

    @classmethod
    def start(cls, x: Array) -> "Affine":
        """The identity at the centre x, (features,)."""
        whole = np.concatenate([np.eye(len(x)), x[:, None]], axis=1)
        return cls(whole, np.zeros_like(whole))

    def linear(self, layer: Layer) -> "Affine":
        """Through the layer's linear map."""
        share, size = (layer.weight.shape[1] + 4) * SPACING, np.abs(self.map)
        whole = layer.weight @ self.map
        # |Ŵ M̂ − W M| <= |Ŵ| |M̂ − M| + |Ŵ − W| |M|, and the rounding of the product is at most γ |Ŵ| |M̂|.
        error = np.abs(layer.weight) @ (self.error * (1 + 2 * share) + share * size)
        if layer.weight_error is not None:
            error += layer.weight_error @ ((size + self.error) * (1 + 2 * share))
        whole[:, -1] += layer.bias
        error[:, -1] += (SPACING * np.abs(layer.bias) + layer.bias_error) * (1 + share)
        return Affine(whole, error)

    def activate(self, layer: Layer, piece: NDArray[np.int64]) -> "Affine":
        """Through the layer's activation, every unit on the given piece: (rows,)."""
        units = np.arange(len(piece))
        slope, intercept = layer.slopes[piece, units], layer.intercepts[piece, units]
        whole = slope[:, None] * self.map
        error = np.abs(slope)[:, None] * (self.error * (1 + 4 * SPACING) + SPACING * np.abs(self.map))
        whole[:, -1] += intercept
        error[:, -1] += SPACING * np.abs(intercept)
        return Affine(whole, error)

    def against(self, output: int) -> "Affine":
        """The differences of all other outputs and one output."""
        whole = np.delete(self.map - self.map[output], output, axis=0)
        error = np.delete(self.error + self.error[output], output, axis=0) * (1 + 4 * SPACING)
        return Affine(whole, error + SPACING * np.abs(whole))

    def planes(self, breakpoints: Array, eps: float) -> Planes:
        """Where these units, as pre-activations, meet breakpoints (k, units), in the ball of radius eps.

        At eps = 0 those that pass through the centre, to within rounding, in an infinitely small ball.
        With m, g and L the row, the gap and the length as computed, a unit is beyond its breakpoint at x + eps u where
        (m/L)·u + g/(L eps) > 0; at |u| <= 1 this number is off by at most |error of m|/L + (error of g)/(L eps), and by
        a few roundings of m/L and of the quotient: fewer than (features + 64) spacings, where the quotient is near the
        ball. Any L > 0 is right, so that its own rounding does not matter.
        """
        steep = self.map[:, :-1]
        scale = np.abs(steep).max(axis=1)
        flat = scale == 0
        scale[flat] = 1.0
        length = scale * np.sqrt(np.square(steep / scale[:, None]).sum(axis=1))
        length[flat] = 1.0
        constant = flat & ~self.error[:, :-1].any(axis=1)  # provably
        gap, floor = self.map[:, -1] - breakpoints, (steep.shape[1] + 64) * SPACING
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            tilt = np.sqrt(np.square(self.error[:, :-1] / length[:, None]).sum(axis=1))
            shift = np.where(np.isfinite(gap), self.error[:, -1] + SPACING * np.abs(gap), 0.0) * (1 + 1e-9)
            if eps > 0:
                lift = 2.0**200 if eps < 1e-200 else 1.0  # so that nothing near the ball underflows
                offset = gap * lift / length / (eps * lift)
                slack = 2 * tilt + floor + shift * lift / length / (eps * lift)
                far = np.abs(offset) > 1 + slack
            else:
                offset, slack = np.zeros_like(gap), np.zeros_like(gap) + 2 * tilt + floor
                far = np.abs(gap) > shift
            # Where rounding is larger than the ball, nothing is known: a plane through the centre, all in its slack.
            blind = ~(slack < 10)
            offset, slack = np.where(blind, 0.0, offset), np.where(blind, 10.0, slack)
            away = (far & ~blind) | (blind & (np.abs(gap) > 2 * shift + 2 * eps * length * (1 + tilt)))
        away |= constant & (np.abs(gap) > shift)
        return Planes(steep / length[:, None], np.where(away, np.where(gap >= 0, np.inf, -np.inf), offset), slack)
