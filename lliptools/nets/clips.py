"""Piecewise linear activations: clipped from below and above, leaky, the absolute value."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from lliptools.errors import InvalidInput, in_words
from lliptools.nets.activations import Activation, Limits, Monotone, stepped, tiny, traced, ulp
from lliptools.nets.secants import by_places


class Clip(Monotone):
    """min(max(z, low), high): slope 1 strictly between the thresholds, flat elsewhere; high wins over low.

    A subclass says its thresholds. Where high <= low the unit is constant at high everywhere.
    """

    @abstractmethod
    def thresholds(self, z: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """low and high, in z's precision; each a number or a tensor that broadcasts over the units."""

    def forward(self, z: Tensor) -> Tensor:
        # What prepares a backward pass takes longer than the forward pass of a small layer.
        clipped = _Clipping.apply if torch.is_grad_enabled() else _Clipping.forward
        return clipped(z, *self._limits(z))

    def _limits(self, like: Tensor) -> list[Tensor]:
        """The thresholds as tensors, numbers filled in on the device: to copy them there would make a GPU wait."""
        limits = self.thresholds(like)
        return [limit.to(like) if isinstance(limit, Tensor) else like.new_full((), limit) for limit in limits]

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """0 and 0 where the box lies in a flat zone, 1 and 1 where it lies between the thresholds, else 0 and 1."""
        low, high = self._limits(lower)
        varies = self.slope(lower, upper)
        return ((lower >= low) & (upper <= high)) * varies, varies

    def secants(self, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Those to the ends and to the thresholds, with a gradient to them."""
        return by_places(self, z, lower, upper, self._limits(lower))

    def slope(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> Tensor:
        """0 where the box lies in a flat zone, else 1, or the secant from the centre.

        From a flat zone it is steepest to the other threshold, or to the end of the box before it.
        """
        low, high = self._limits(lower)
        varies = (~((upper <= low) | (lower >= high) | (high <= low))).to(lower.dtype)
        if center is None:
            return varies
        found, (first, second) = varies, self.thresholds(lower)
        if isinstance(first, Tensor) or first > -torch.inf:
            found = found * _share(torch.minimum(upper, high) - low, low - center[1])
        if isinstance(second, Tensor) or second < torch.inf:
            found = found * _share(high - torch.maximum(lower, low), center[0] - high)
        return found.clamp_max(1.0)

    def pieces(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        one = torch.ones(shape, dtype=torch.float64, device="cpu")
        limits = (limit.detach().cpu() if isinstance(limit, Tensor) else limit for limit in self.thresholds(one[None]))
        low, high = ((limit * one[None])[0] for limit in limits)
        return torch.stack([torch.minimum(low, high), high]), torch.stack([0 * one, one, 0 * one])


def _share(rise: Tensor, flat: Tensor) -> Tensor:
    """The secant over a flat piece, if above 0, and a rise of slope 1: never 0 above a rise; 1, or NaN, at infinity."""
    flat = flat.relu()
    return 1 - flat / (rise.relu() + flat).clamp_min(tiny(flat)) + ulp(flat)


class _Clipping(torch.autograd.Function):
    """min(max(z, low), high) with a ten times faster backward pass: to z strictly between, else to the threshold."""

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


class Hardtanh(Clip):
    """min(max(z, low), high), low < high; numbers, or tensors as of Activation.thresholds."""

    def __init__(self, low: Tensor | float, high: Tensor | float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def thresholds(self, z: Tensor) -> tuple[Tensor | float, Tensor | float]:
        return self.low, self.high


class Clipped(Activation):
    """An activation with thresholds of its own: its parameters, or its buffers with learnable=False."""

    def __init__(self, learnable: bool, **thresholds: float | Tensor) -> None:
        super().__init__()
        for name, value in thresholds.items():
            with in_words(f"{name} as a number, or a tensor of thresholds", "text, or nothing", "leave it out for 1.0"):
                threshold = torch.as_tensor(value)
            if threshold.is_complex():
                raise InvalidInput(f"a real {name}", str(threshold.dtype), "a complex tensor", "pass its real part")
            if not threshold.is_floating_point():
                threshold = threshold.to(torch.get_default_dtype())
            threshold = threshold.detach().clone()
            if learnable:
                self.register_parameter(name, nn.Parameter(threshold))
            else:
                self.register_buffer(name, threshold)

    @abstractmethod
    def excess(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """How far boxes reach out of the lower flat zone and of the upper one, 0 where they lie in it."""


class ClippedReLU(Clipped, Clip):
    """ReLU clipped from above, `min(max(z, 0), max(theta, 0))`: flat below 0 and above the threshold.

    theta: float or tensor that broadcasts over the units of one sample: one threshold for all units, one each, or one
    per channel as shape (channels, 1, 1). It is a learnable parameter named `theta`, or a buffer of that name with
    learnable=False. A unit with theta <= 0 is constant at 0 everywhere; theta = inf is the plain ReLU.

    Source: Huang et al., "Training Certifiably Robust Neural Networks with Efficient Local Lipschitz Bounds"
    (NeurIPS 2021), where it is called ReLU-theta.
    """

    theta: Tensor

    def __init__(self, theta: float | Tensor = 1.0, *, learnable: bool = True) -> None:
        super().__init__(learnable, theta=theta)

    def thresholds(self, z: Tensor) -> tuple[Tensor | float, Tensor | float]:
        return 0.0, self.theta.to(z.dtype).relu()

    def excess(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return upper.relu(), (self.theta - lower).relu()

    def extra_repr(self) -> str:
        return f"theta={self.theta.item():.4g}" if self.theta.numel() == 1 else f"theta of {self.theta.numel()} units"

    def plain(self) -> nn.Module:
        """ReLU, ReLU6 or Hardtanh for one threshold of float32, which is all that ONNX keeps of them; else a clamp."""
        theta = self.theta.detach().relu()
        if theta.numel() > 1 or not theta.item() > 0 or theta.float() != theta:
            return traced(torch.clamp, min=torch.zeros_like(theta), max=theta)
        if theta.item() == 6:
            return nn.ReLU6()
        return nn.Hardtanh(0.0, theta.item()) if theta.isfinite() else nn.ReLU()


class LeakyReLU(Activation):
    """max(z, 0) + leak · min(z, 0). leak: a number, or one per channel, (channels,), as torch's PReLU has it."""

    def __init__(self, leak: float | Tensor) -> None:
        super().__init__()
        self.leak = leak

    def _leak(self, like: Tensor) -> Tensor:
        """leak, made to broadcast over samples, (batch, *units)."""
        leak = self.leak
        return leak.to(like).view(-1, *[1] * (like.dim() - 2)) if isinstance(leak, Tensor) else like.new_full((), leak)

    def forward(self, z: Tensor) -> Tensor:
        if isinstance(self.leak, float):
            return leaky_relu(z, self.leak)
        leak = self._leak(z)
        return torch.where(z > 0, z, torch.where((leak == 0) & z.isneginf(), 0.0, leak * z))

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Between the values at the two ends and at 0; below 0 one number outward, since products are rounded."""
        ends, values = torch.stack([lower, upper]), torch.stack([self(lower), self(upper)])
        low = torch.where(ends < 0, stepped(values, -torch.inf), values).amin(dim=0)
        high = torch.where(ends < 0, stepped(values, torch.inf), values).amax(dim=0)
        across = (lower < 0) & (upper > 0)
        return torch.where(across, low.clamp_max(0.0), low), torch.where(across, high.clamp_min(0.0), high)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """leak where the box reaches below 0, 1 where it reaches above."""
        one, leak = torch.ones_like(lower), self._leak(lower).expand_as(lower)
        # An end that is not a number is on either side.
        below, above = torch.where(lower >= 0, one, leak), torch.where(upper <= 0, leak, one)
        return torch.minimum(below, above), torch.maximum(below, above)

    def secants(self, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return by_places(self, z, lower, upper, [torch.zeros_like(lower)])

    def pieces(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        one = torch.ones(1, *shape, dtype=torch.float64, device="cpu")
        return 0 * one, torch.cat([self._leak(one).detach() * one, one])

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """As many leaks as channels, or one for all."""
        if isinstance(self.leak, Tensor) and self.leak.numel() not in (1, shape[0]):
            why = "a PReLU made for another layer", f"torch.nn.PReLU({shape[0]})"
            raise InvalidInput(f"samples of {self.leak.numel()} channels before {name}", f"shape {shape}", *why)


class Absolute(LeakyReLU):
    """|z|."""

    def __init__(self) -> None:
        super().__init__(-1.0)

    def forward(self, z: Tensor) -> Tensor:
        return z.abs()
