"""Activations and their rules: value, image of a box, slope bound over a box."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

__all__ = ["Activation", "ClippedReLU", "rule"]


class Activation(nn.Module):
    """An elementwise, nondecreasing, 1-Lipschitz activation that the bounds can read: a module with three methods."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Value at the pre-activations z, shape (batch, *units)."""

    @abstractmethod
    def slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Upper bound in [0, 1] of the slope between any two points of [lower, upper], shape (batch, *units).

        0 says that the output is provably constant there.
        """

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest box that holds the outputs over [lower, upper]; the activation is nondecreasing."""
        return self(lower), self(upper)


class ClippedReLU(Activation):
    """ReLU clipped from above, `min(max(z, 0), max(theta, 0))`: flat below 0 and above the threshold.

    theta: float or tensor that broadcasts over the units of one sample: one threshold for all units, or one each.
    It is a learnable parameter named `theta`, or a buffer of that name with learnable=False.
    A unit with theta <= 0 is constant at 0 everywhere; theta = inf is the plain ReLU.

    Source: Huang et al., "Training Certifiably Robust Neural Networks with Efficient Local Lipschitz Bounds"
    (NeurIPS 2021), where it is called ReLU-theta.
    """

    theta: Tensor

    def __init__(self, theta: float | Tensor = 1.0, *, learnable: bool = True) -> None:
        super().__init__()
        threshold = torch.as_tensor(theta)
        if not threshold.is_floating_point():
            threshold = threshold.to(torch.get_default_dtype())
        threshold = threshold.detach().clone()
        if learnable:
            self.theta = nn.Parameter(threshold)
        else:
            self.register_buffer("theta", threshold)

    def forward(self, z: Tensor) -> Tensor:
        """min(max(z, 0), max(theta, 0)), same shape as z."""
        return torch.minimum(z.relu(), self.theta.relu())

    def slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """0 where upper <= 0 (constant at 0) or lower >= theta (constant at theta), else 1."""
        constant = (upper <= 0) | (lower >= self.theta) | (self.theta <= 0)
        return (~constant).to(lower.dtype)

    def extra_repr(self) -> str:
        """The threshold, or how many there are."""
        return f"theta={self.theta.item():.4g}" if self.theta.numel() == 1 else f"theta of {self.theta.numel()} units"


def rule(layer: nn.Module) -> Activation | None:
    """The rule by which the bounds read a layer, or None where there is none.

    torch's own ReLU is the clipped one with its threshold at infinity.
    """
    if type(layer) is nn.ReLU:
        return ClippedReLU(math.inf, learnable=False)
    return layer if type(layer) is ClippedReLU else None
