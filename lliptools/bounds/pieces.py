"""A network as plain piecewise-linear layers, and the affine map that it is on one region, with its rounding."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lliptools.errors import UnsupportedLayer
from lliptools.nets import Block

__all__ = ["Affine", "Array", "Layer", "Planes", "TooManyRegions", "coincident", "read_layers"]

Array = NDArray[np.float64]
SPACING = float(np.finfo(np.float64).eps)
# Rounding of points of the unit ball. Hyperplanes are moved outward by at least this, in units of eps.
FLOOR = 1e-14
# Hyperplanes whose coefficients differ by a few roundings are one and the same.
SAME = 4e-15


class TooManyRegions(Exception):
    """A search has met more regions than it was allowed."""


@dataclass(frozen=True, eq=False)
class Layer:
    """h -> activation(W h + b), the activation continuous and piecewise linear, unit by unit.

    weight: (rows, columns). bias: (rows,). breakpoints: (k, rows) ascending, padded with inf where a unit has fewer.
    slopes and intercepts: (k + 1, rows), of the pieces between the breakpoints.
    """

    weight: Array
    bias: Array
    breakpoints: Array
    slopes: Array
    intercepts: Array

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
        for row, (cuts, kept) in enumerate(units):
            home = sum(breakpoint < 0 for breakpoint in cuts)
            values = [0.0] * len(kept)
            values[home] = 0.0 if at_zero is None else float(at_zero[row])
            for piece in range(home, len(cuts)):
                values[piece + 1] = values[piece] + (kept[piece] - kept[piece + 1]) * cuts[piece]
            for piece in range(home - 1, -1, -1):
                values[piece] = values[piece + 1] + (kept[piece + 1] - kept[piece]) * cuts[piece]
            cut[: len(cuts), row], slope[: len(kept), row], intercept[: len(kept), row] = cuts, kept, values
        return cls(weight, bias, cut, slope, intercept)


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
        weight = block.linear.weight.detach().double().cpu()
        shape = torch.Size(getattr(block.linear, "out_shape", block.linear.bias.shape))
        bias = block.linear.bias.detach().double().cpu().expand(shape).flatten()
        if block.activation is None:
            layers.append(Layer.of(weight.numpy(), bias.numpy()))
            continue
        pieces = getattr(block.activation, "pieces", lambda _: None)(shape)
        if pieces is None:
            raise UnsupportedLayer(
                expected="activations that are piecewise linear, unit by unit, such as ReLU or ClippedReLU",
                got=type(block.activation).__name__,
                cause="a smooth activation, or one that mixes units, whose regions cannot be listed",
                next_step="use local_bound from above and sampled_bound from below",
            )
        with torch.no_grad():
            at_zero = block.activation(torch.zeros(1, *shape, dtype=weight.dtype, device=block.linear.bias.device))
        parts = [part.detach().double().cpu().reshape(-1, len(bias)).numpy() for part in (*pieces, at_zero)]
        layers.append(Layer.of(weight.numpy(), bias.numpy(), parts[0], parts[1], parts[2][0]))
    return layers


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

    def pieces(self) -> NDArray[np.int64]:
        """(rows,) the piece of every unit that is decided."""
        return (self.offset > 0).sum(axis=0)


@dataclass(frozen=True, eq=False)
class Affine:
    """The network so far on one region: h(x + d) = map [d, 1].

    map: (units, features + 1). size: the same sum with every term made positive, of which rounding can be at most
    spacings times 2^-52.
    """

    map: Array
    size: Array
    spacings: int

    @classmethod
    def start(cls, x: Array) -> "Affine":
        """The identity at the centre x, (features,)."""
        whole = np.concatenate([np.eye(len(x)), x[:, None]], axis=1)
        return cls(whole, np.abs(whole), 1)

    def linear(self, layer: Layer) -> "Affine":
        """Through the layer's linear map."""
        whole, size = layer.weight @ self.map, np.abs(layer.weight) @ self.size
        whole[:, -1] += layer.bias
        size[:, -1] += np.abs(layer.bias)
        return Affine(whole, size, self.spacings + layer.weight.shape[1] + 4)

    def activate(self, layer: Layer, piece: NDArray[np.int64]) -> "Affine":
        """Through the layer's activation, every unit on the given piece: (rows,)."""
        units = np.arange(len(piece))
        slope, intercept = layer.slopes[piece, units], layer.intercepts[piece, units]
        whole, size = slope[:, None] * self.map, np.abs(slope)[:, None] * self.size
        whole[:, -1] += intercept
        size[:, -1] += np.abs(intercept)
        return Affine(whole, size, self.spacings)

    def planes(self, layer: Layer, eps: float) -> Planes:
        """The layer's hyperplanes, of its pre-activations self, in the ball of radius eps around the centre.

        At eps = 0 those that pass through the centre, to within rounding, in an infinitely small ball.
        """
        steep, size, rounding = self.map[:, :-1], self.size, self.spacings * SPACING
        scale = np.abs(steep).max(axis=1)
        constant = scale == 0  # in the region, so that its piece makes no difference
        scale[constant] = 1.0
        length = scale * np.sqrt(np.square(steep / scale[:, None]).sum(axis=1))
        length[constant] = 1.0
        gap = self.map[:, -1] - layer.breakpoints
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            tilt = rounding * np.sqrt(np.square(size[:, :-1] / length[:, None]).sum(axis=1))
            shift = np.where(np.isfinite(gap), rounding * size[:, -1], 0.0)
            if eps > 0:
                offset, slack = gap / length / eps, 2 * tilt + FLOOR + shift / length / eps
                far = np.abs(offset) > 1 + slack
            else:
                offset, slack = np.zeros_like(gap), np.zeros_like(gap) + 2 * tilt + FLOOR
                far = np.abs(gap) > shift
        # Where rounding is larger than the ball, nothing is known: a plane through the centre, with all in its reach.
        blind = ~(slack < 10)
        offset, slack = np.where(blind, 0.0, offset), np.where(blind, 10.0, slack)
        away = (far & ~blind | (blind & (np.abs(gap) > 2 * shift + 2 * eps * length * (1 + tilt)))) | constant
        return Planes(steep / length[:, None], np.where(away, np.where(gap >= 0, np.inf, -np.inf), offset), slack)


def coincident(plane: Array, known: Array) -> int:
    """1 if all points that lie on the known sides lie where n·u + t >= 0, as this plane is one of them, −1 if they lie
    where n·u + t <= 0, and 0 if it is none of them. plane: (n, t). known: (sides, features + 1), of the same form.
    """
    if not len(known):
        return 0
    if (np.abs(known - plane).max(axis=1) <= SAME).any():
        return 1
    return -1 if (np.abs(known + plane).max(axis=1) <= SAME).any() else 0
