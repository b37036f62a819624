"""The affine map that a network is on one region, with its rounding error, and where its units break there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lliptools.bounds.pieces import SPACING, Array, Layer


@dataclass(frozen=True, eq=False)
class Planes:
    """Where the units of a layer break, in units of eps from the centre: z = breakpoint is normal · u + offset = 0.

    normal: (rows, features) of length 1. offset and slack: (k, rows). A number that is further than slack from 0 has
    the right sign. offset is ±inf where the unit does not come near the breakpoint in the ball.
    """

    normal: Array
    offset: Array
    slack: Array

    def unstable(self) -> list[int]:
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
    or without fused steps: the rounding of the error itself is counted in. exact_search refuses underflow.
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
        if np.any(layer.weight_error):
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
