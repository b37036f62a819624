"""A network as plain piecewise-linear layers, with the numbers of the network itself as integers."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from lliptools.errors import UnsupportedLayer
from lliptools.nets import Block
from lliptools.nets.composition import LARGEST_MATRIX
from lliptools.nets.linear import UNIT, LinearMap
from lliptools.nets.operators import Operator
from lliptools.norms.rounding import entry_error, outward_rounding

Array = NDArray[np.float64]
Integers = NDArray[np.object_]
SPACING = 2 * UNIT


class TooManyRegions(Exception):
    """A search has met more regions than it was allowed."""


@dataclass(frozen=True, eq=False)
class Layer:
    """h -> activation(W h + b), the activation continuous and piecewise linear, unit by unit.

    - weight: (rows, columns). bias: (rows,).
    - breakpoints: (k, rows) ascending, padded with inf. slopes, intercepts: (k + 1, rows), of the pieces between.
    - weight_error, bias_error: how far rounding may have moved weight and bias from the network's own, entry by entry.
    - factors: where the weight is a rounded product of the network's own matrices, these operators, first to last; ()
      where it is the network's own; None where those numbers are not known, or too many.
    """

    weight: Array
    bias: Array
    breakpoints: Array
    slopes: Array
    intercepts: Array
    weight_error: Array | float = 0.0
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

        at_zero: (rows,) the activation's values at 0, 0 unless given. Without breakpoints it is the identity.
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
    return _plain(factor(unit_vectors.reshape(columns, *factor.in_shape)).flatten(1).T)


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


@outward_rounding()  # whether regions meet is proved, whatever the rounding of their Jacobians
def read_layers(blocks: tuple[Block, ...]) -> list[Layer]:
    """The blocks as plain layers. Raises UnsupportedLayer unless activations are piecewise linear, unit by unit."""
    return [_read(block) for block in blocks]


def _read(block: Block) -> Layer:
    linear, activation, shape = block.linear, block.activation, torch.Size(block.linear.out_shape)
    pieces = None if activation is None or block.inner else activation.pieces(shape)
    if block.inner or (activation is not None and pieces is None):
        expected = "a chain of layers with activations that are piecewise linear, unit by unit, as ReLU is"
        cause = "a smooth activation, or one that mixes units: regions that the search cannot list"
        step = "use local_bound from above and sampled_bound from below"
        raise UnsupportedLayer(expected, "a residual step" if block.inner else type(activation).__name__, cause, step)
    weight, bias = _plain(linear.weight), _plain(linear.bias.expand(shape).flatten())
    layer = Layer.of(weight, bias)
    if activation is not None and pieces is not None:
        with torch.no_grad():
            at_zero = activation(torch.zeros(1, *shape, dtype=torch.float64, device=linear.bias.device))
        breakpoints, slopes, values = (_plain(part).reshape(-1, len(bias)) for part in (*pieces, at_zero))
        layer = Layer.of(weight, bias, breakpoints, slopes, values[0])
    return _with_rounding(layer, linear, shape)


def _plain(values: torch.Tensor) -> Array:
    return values.detach().double().cpu().numpy()


def _with_rounding(layer: Layer, linear: LinearMap, shape: torch.Size) -> Layer:
    """The layer, with how far its weight and its bias may be from the network's own."""
    moved, off = entry_error(linear), linear.bias_error
    weight_error = 0.0 if moved is None else _plain(moved)
    bias_error = _plain(off.expand(shape).flatten()) if isinstance(off, torch.Tensor) else off
    factors = () if moved is None else linear.layers or linear.operators
    entries = sum(prod(factor.in_shape) * prod(factor.out_shape) for factor in factors) or layer.weight.size
    known = layer.factors is not None and not linear.relative_error and not np.any(bias_error)
    known = known and entries <= LARGEST_MATRIX and all(factor.copies == 1 for factor in factors)
    return replace(layer, weight_error=weight_error, bias_error=bias_error, factors=factors if known else None)
