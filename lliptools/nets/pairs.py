"""Activations that compare: of two halves a, b of the channels, each pair puts out its larger and its smaller."""

import torch
from torch import Tensor, nn

from lliptools.nets.activations import Clip, keep_threshold

__all__ = ["ClippedMaxMin", "MaxMin", "PairClip"]


class MaxMin(nn.Module):
    """GroupSort of pairs: z = [a, b] in two halves of the channels -> [max(a, b), min(a, b)].

    Source: Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation" (ICML 2019).
    """

    def forward(self, z: Tensor) -> Tensor:
        """[max(a, b), min(a, b)], same shape as z: (batch, 2·pairs, *rest)."""
        a, b = z.chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)

    def compare(self, z: Tensor) -> Tensor:
        """[max(a, b), min(a, b)], whatever follows."""
        return MaxMin.forward(self, z)

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends: both outputs grow with both inputs."""
        return self(lower), self(upper)

    def slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """1 for every output: between any two points the pair moves by an average of the two permutations."""
        return torch.ones_like(lower)

    def row_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """1 for every input, (batch, 2·pairs, *rest)."""
        return torch.ones_like(lower)

    def order(self, lower: Tensor, upper: Tensor) -> Tensor:
        """1 where a >= b all over the box, −1 where b >= a, 0 where the boxes overlap: (batch, pairs, *rest).

        A resolved pair is a fixed permutation, a linear map.
        """
        (lower_a, lower_b), (upper_a, upper_b) = lower.chunk(2, dim=1), upper.chunk(2, dim=1)
        return (lower_a >= upper_b).to(lower.dtype) - ((lower_b >= upper_a) & (lower_a < upper_b)).to(lower.dtype)

    def clip(self) -> "Clip | None":
        """What follows the comparison, unit by unit: nothing."""
        return None


class PairClip(Clip):
    """The clip of ClippedMaxMin: the larger outputs from above, the smaller ones from below."""

    def __init__(self, theta_max: Tensor, theta_min: Tensor) -> None:
        super().__init__()
        self.theta_max, self.theta_min = theta_max, theta_min

    def thresholds(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """−inf and theta_max for the first half of the channels, theta_min and inf for the second."""
        half = torch.empty_like(z[:, : z.shape[1] // 2], device=self.theta_max.device)
        infinite = torch.full_like(half, torch.inf)
        low = torch.cat([-infinite, self.theta_min.to(z.dtype).expand_as(half)], dim=1)
        high = torch.cat([self.theta_max.to(z.dtype).expand_as(half), infinite], dim=1)
        return low, high


class ClippedMaxMin(MaxMin):
    """MaxMin with flat zones: [min(max(a, b), theta_max), max(min(a, b), theta_min)].

    theta_max, theta_min: floats or tensors that broadcast over the pairs of one sample, learnable parameters of these
    names, or buffers with learnable=False; as a rule theta_max > 0 > theta_min. An output that is constant strikes a
    column of the next matrix; the two rows before a pair are struck where both its outputs are constant, since each
    input feeds both. Source: Huang et al. (NeurIPS 2021).
    """

    theta_max: Tensor
    theta_min: Tensor

    def __init__(
        self, theta_max: float | Tensor = 1.0, theta_min: float | Tensor = -1.0, *, learnable: bool = True
    ) -> None:
        super().__init__()
        keep_threshold(self, "theta_max", theta_max, learnable)
        keep_threshold(self, "theta_min", theta_min, learnable)

    def clip(self) -> PairClip:
        """What follows the comparison, unit by unit."""
        return PairClip(self.theta_max, self.theta_min)

    def forward(self, z: Tensor) -> Tensor:
        """Both outputs of every pair, same shape as z."""
        return self.clip()(super().forward(z))

    def slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """0 for an output that is constant, else 1."""
        return self.clip().slope(self.compare(lower), self.compare(upper))

    def row_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """0 for the two inputs of a pair whose outputs are both constant, else 1."""
        larger, smaller = self.slope(lower, upper).chunk(2, dim=1)
        return torch.cat([torch.maximum(larger, smaller)] * 2, dim=1)
