"""Activations and their rules: value, image of a box, slopes over a box."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput

__all__ = ["Activation", "Clip", "ClippedReLU", "Monotone"]


def ulp(like: Tensor) -> float:
    """More than the relative error of an elementary function, or of a product of two: twice 4 was never exceeded."""
    return 16 * torch.finfo(like.dtype).eps


def tiny(like: Tensor) -> float:
    """More than underflow takes from a number."""
    return torch.finfo(like.dtype).tiny


def outward(low: Tensor, high: Tensor, relative: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Computed ends of an image, moved outward by the error of a function, or by so many times that."""
    error = ulp(low) * relative
    return low - error * low.abs() - tiny(low), high + error * high.abs() + tiny(low)


class Activation(nn.Module):
    """An elementwise activation that the bounds can read: a module with three methods.

    An own activation derives from this class (or from Monotone, which knows the image) and defines forward, image and
    slopes in that one class; networks that hold it are then bounded like all others. Boxes may reach to ±inf; what
    image and slopes return is in the precision of the box, or whole numbers. What a few points of the box show to be
    false is refused (checked.Checked); for the rest the author answers.
    """

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Value at the pre-activations z, shape (batch, *units)."""

    @abstractmethod
    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """A box that holds the outputs over [lower, upper]; each (batch, *units), possibly infinite."""

    @abstractmethod
    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest slope between any two points of [lower, upper], each (batch, *units).

        (0, 0) says that the output is provably constant there, (1, 1) that the unit passes its input on.
        """

    def slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Largest |slope| between any two points of [lower, upper], (batch, *units): what scales the next columns."""
        least, greatest = self.slopes(lower, upper)
        return torch.maximum(least.abs(), greatest.abs()).to(lower.dtype)

    def row_slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """What scales the rows before the activation: the same, since every input feeds one output."""
        return self.slope(lower, upper)

    def pieces(self, shape: torch.Size) -> tuple[Tensor, Tensor] | None:
        """Where a piecewise linear activation bends, for units of this shape; None for one that is not.

        Breakpoints (k, *shape), ascending, and slopes (k + 1, *shape) before, between and after them.
        """
        return None


class Monotone(Activation):
    """A nondecreasing activation: the image of a box lies between the values at its ends."""

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the two ends."""
        return self(lower), self(upper)


class Clip(Monotone):
    """min(max(z, low), high): slope 1 between two thresholds, flat outside. The base of all that clips.

    A unit with high <= low is constant at high everywhere.
    """

    @abstractmethod
    def thresholds(self, z: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """low and high, in z's precision; each a number or a tensor that broadcasts over the units."""

    def forward(self, z: Tensor) -> Tensor:
        """min(max(z, low), high), same shape as z."""
        low, high = self._limits(z)
        return _Clipped.apply(z, low, high)

    def _limits(self, like: Tensor) -> list[Tensor]:
        """The thresholds as tensors, numbers filled in on the device: to copy them there would make a GPU wait."""
        return [
            limit.to(like) if isinstance(limit, Tensor) else like.new_full((), limit) for limit in self.thresholds(like)
        ]

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """0 and 0 where the box lies in a flat zone, 1 and 1 where it lies between the thresholds, else 0 and 1."""
        low, high = self._limits(lower)
        varies = self.slope(lower, upper)
        return ((lower >= low) & (upper <= high)) * varies, varies

    def slope(self, lower: Tensor, upper: Tensor) -> Tensor:
        """0 where the box lies in a flat zone, else 1."""
        low, high = self._limits(lower)
        constant = (upper <= low) | (lower >= high) | (high <= low)
        return (~constant).to(lower.dtype)

    def pieces(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Two bends: slopes 0, 1, 0."""
        one = torch.ones(shape, dtype=torch.float64, device="cpu")
        limits = (limit.detach().cpu() if isinstance(limit, Tensor) else limit for limit in self.thresholds(one[None]))
        low, high = ((limit * one[None])[0] for limit in limits)
        return torch.stack([torch.minimum(low, high), high]), torch.stack([0 * one, one, 0 * one])


class _Clipped(torch.autograd.Function):
    """min(max(z, low), high), with a backward pass ten times faster than that of torch's two functions one by one.

    The gradient goes to z strictly between the thresholds, and elsewhere to the threshold that is met.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(z, low), high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        z, low, high = ctx.saved_tensors
        above_low = torch.ops.aten.threshold_backward(gradient, z - low, 0)
        between = torch.ops.aten.threshold_backward(above_low, high - z, 0)
        of_low = (gradient - above_low).sum_to_size(low.shape) if ctx.needs_input_grad[1] else None
        of_high = (above_low - between).sum_to_size(high.shape) if ctx.needs_input_grad[2] else None
        return between, of_low, of_high


class ClippedReLU(Clip):
    """ReLU clipped from above, `min(max(z, 0), max(theta, 0))`: flat below 0 and above the threshold.

    theta: float or tensor that broadcasts over the units of one sample: one threshold for all units, one each, or one
    a channel as shape (channels, 1, 1). It is a learnable parameter named `theta`, or a buffer of that name with
    learnable=False. A unit with theta <= 0 is constant at 0 everywhere; theta = inf is the plain ReLU.

    Source: Huang et al., "Training Certifiably Robust Neural Networks with Efficient Local Lipschitz Bounds"
    (NeurIPS 2021), where it is called ReLU-theta.
    """

    theta: Tensor

    def __init__(self, theta: float | Tensor = 1.0, *, learnable: bool = True) -> None:
        super().__init__()
        keep_threshold(self, "theta", theta, learnable)

    def thresholds(self, z: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """0 and the positive part of theta."""
        return 0.0, self.theta.to(z.dtype).relu()

    def extra_repr(self) -> str:
        """The threshold, or how many there are."""
        return f"theta={self.theta.item():.4g}" if self.theta.numel() == 1 else f"theta of {self.theta.numel()} units"


def keep_threshold(module: nn.Module, name: str, value: float | Tensor, learnable: bool) -> None:
    """Make value a parameter of the module, or a buffer where it is not learnable. It shares no memory."""
    threshold = torch.as_tensor(value)
    if threshold.is_complex():
        raise InvalidInput(
            expected=f"{name} as a real number or tensor",
            got=str(threshold.dtype),
            cause="a complex tensor",
            next_step="pass its real part",
        )
    if not threshold.is_floating_point():
        threshold = threshold.to(torch.get_default_dtype())
    threshold = threshold.detach().clone()
    if learnable:
        module.register_parameter(name, nn.Parameter(threshold))
    else:
        module.register_buffer(name, threshold)
