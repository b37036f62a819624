"""Activations that compare: of two halves a, b of the channels, each pair returns its larger and its smaller."""

from typing import Any

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput
from lliptools.nets.activations import Activation, Limits, Shape, stepped, traced
from lliptools.nets.clips import Absolute, Clipped, Hardtanh


class MaxMin(Activation):
    """GroupSort of pairs: z = [a, b] in two halves of the channels -> [max(a, b), min(a, b)].

    Source: Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation" (ICML 2019).
    """

    @property
    def elementwise(self) -> bool:
        return False

    def forward(self, z: Tensor) -> Tensor:
        return _compared(z)

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends: both outputs grow with both inputs."""
        return self(lower), self(upper)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """1 and 1 for the outputs of a pair that is resolved, a permutation; else 0 and 1."""
        resolved = (self.order(lower, upper) != 0).to(lower.dtype)
        return torch.cat([resolved] * 2, dim=1), torch.ones_like(lower)

    def slope(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> Tensor:
        """1 for every output: between any two points the pair moves by an average of the two permutations."""
        return torch.ones_like(lower)

    def row_slope(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> Tensor:
        """The larger slope of a pair's two outputs for both its inputs, each of which feeds both."""
        larger, smaller = self.slope(lower, upper, center).chunk(2, dim=1)
        return torch.cat([torch.maximum(larger, smaller)] * 2, dim=1)

    def order(self, lower: Tensor, upper: Tensor) -> Tensor:
        """1 where a >= b all over the box, −1 where b >= a, fixed permutations; else 0: (batch, pairs, *rest)."""
        (lower_a, lower_b), (upper_a, upper_b) = lower.chunk(2, dim=1), upper.chunk(2, dim=1)
        return (lower_a >= upper_b).to(lower.dtype) - ((lower_b >= upper_a) & (lower_a < upper_b)).to(lower.dtype)

    def piece(self, z: Tensor) -> Tensor:
        """1 for both units of a pair with a > b, else 0."""
        first, second = z.chunk(2, dim=1)
        return torch.cat([(first > second).byte()] * 2, dim=1)

    def clipped_from(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The box of the larger and the smaller of every pair."""
        return _compared(lower), _compared(upper)

    def apart(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> tuple[Tensor, Tensor]:
        """Least and greatest slope of |a − b| in a − b, or secant from the centre, (batch, pairs, *rest).

        Both 1 where a >= b all over the box, both −1 where b >= a.
        """
        order = self.order(lower, upper)
        unknown = (order == 0).to(order.dtype)
        if center is None:
            return order - unknown, order + unknown
        (lower_a, lower_b), (upper_a, upper_b) = lower.chunk(2, dim=1), upper.chunk(2, dim=1)
        (low_a, low_b), (high_a, high_b) = (side.chunk(2, dim=1) for side in center)
        box = stepped(lower_a - upper_b, -torch.inf), stepped(upper_a - lower_b, torch.inf)
        between = stepped(low_a - high_b, -torch.inf), stepped(high_a - low_b, torch.inf)
        least, greatest = Absolute().ranges(*box, between)
        return torch.where(order == 0, least, order), torch.where(order == 0, greatest, order)

    def relax(self, form: Any, lower: Tensor, upper: Tensor) -> Any:
        return form.compared(lower, upper)

    def check_shape(self, name: str, shape: Shape) -> None:
        """Pairs need halves, over which thresholds broadcast."""
        if shape[0] % 2:
            why = "an activation that splits the channels in two halves", "give the layer before it one channel more"
            raise InvalidInput(f"an even number of channels before {name}", f"samples of shape {shape}", *why)
        super().check_shape(name, (shape[0] // 2, *shape[1:]))


def _compared(z: Tensor) -> Tensor:
    a, b = z.chunk(2, dim=1)
    return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


class ClippedMaxMin(Clipped, MaxMin):
    """MaxMin with flat zones: [min(max(a, b), theta_max), max(min(a, b), theta_min)].

    theta_max, theta_min: floats or tensors that broadcast over the pairs of one sample, learnable parameters of these
    names, or buffers with learnable=False; as a rule theta_max > 0 > theta_min. A constant output masks a column of the
    next matrix; a pair of them also masks the two rows before it, which feed both. Source: Huang et al. (NeurIPS 2021).
    """

    theta_max: Tensor
    theta_min: Tensor

    def __init__(
        self, theta_max: float | Tensor = 1.0, theta_min: float | Tensor = -1.0, *, learnable: bool = True
    ) -> None:
        super().__init__(learnable, theta_max=theta_max, theta_min=theta_min)

    def thresholds(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """−inf and theta_max for the larger outputs, theta_min and inf for the smaller ones; (1, *units) each."""
        half = torch.empty_like(z[:1, : z.shape[1] // 2])
        infinite = torch.full_like(half, torch.inf)
        low = torch.cat([-infinite, self.theta_min.to(z).expand_as(half)], dim=1)
        high = torch.cat([self.theta_max.to(z).expand_as(half), infinite], dim=1)
        return low, high

    def _clip(self, z: Tensor) -> Hardtanh:
        """What follows the comparison, unit by unit."""
        return Hardtanh(*self.thresholds(z))

    def forward(self, z: Tensor) -> Tensor:
        return self._clip(z)(_compared(z))

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """0 and 0 for an output that is constant, 1 and 1 for one that passes its input on, else 0 and 1."""
        least, greatest = self._clip(lower).slopes(*self.clipped_from(lower, upper))
        return least * super().slopes(lower, upper)[0], greatest

    def slope(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> Tensor:
        """0 for an output that is constant, else 1, or the secant of the clip."""
        at = None if center is None else MaxMin().values(center)
        return self._clip(lower).slope(*self.clipped_from(lower, upper), at)

    def piece(self, z: Tensor) -> Tensor:
        """The order of the pair, and between which thresholds its output lies."""
        return super().piece(z) + 2 * self._clip(z).piece(_compared(z))

    def relax(self, form: Any, lower: Tensor, upper: Tensor) -> Any:
        after = super().relax(form, lower, upper)
        known, (low, high) = after.box(), self.clipped_from(lower, upper)
        return self._clip(lower).relax(after, torch.maximum(low, known.lower), torch.minimum(high, known.upper))

    def excess(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Per pair: of its smaller output out of the lower zone, of its larger output out of the upper zone."""
        low, high = self.clipped_from(lower, upper)
        larger, smaller = low.chunk(2, dim=1)[0], high.chunk(2, dim=1)[1]
        return (smaller - self.theta_min).relu(), (self.theta_max - larger).relu()

    def plain(self) -> nn.Module:
        """The same in torch's own operations, for lliptools.export."""
        return traced(_clamped, theta_max=self.theta_max.detach(), theta_min=self.theta_min.detach())


def _clamped(z: Tensor, theta_max: Tensor, theta_min: Tensor) -> Tensor:
    """What ClippedMaxMin computes, in torch's own functions."""
    a, b = torch.chunk(z, 2, 1)
    larger, smaller = torch.clamp(torch.maximum(a, b), max=theta_max), torch.clamp(torch.minimum(a, b), min=theta_min)
    return torch.cat([larger, smaller], dim=1)
