"""Layers of the paper's network that change shapes at a norm of exactly 1."""

import torch

from lliptools.errors import InvalidInput
from lliptools.layers.bases import Layer, one_lipschitz
from lliptools.layers.checks import check_shape, check_widths
from lliptools.nets import Chain
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Convolution, Shape


@one_lipschitz
class PadChannels(Layer):
    """Append channels of zeros, an isometry: (batch, in, h, w) -> (batch, out, h, w). Raises InvalidInput for fewer."""

    axes, sizes = 3, ("in_channels", "out_channels")
    place: torch.Tensor  # says in which precision and where

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        check_widths(self, in_channels=in_channels, out_channels=out_channels)
        if out_channels < in_channels:
            why = "arguments in another order", "PadChannels(3, 45)"
            raise InvalidInput(f"out_channels of at least {in_channels}", f"{out_channels}", *why)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.register_buffer("place", torch.zeros(()), persistent=False)

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        check_shape(self, shape, (self.in_channels, *shape[1:]))
        weight = torch.eye(self.out_channels, self.in_channels, dtype=dtype, device=self.place.device)[:, :, None, None]
        return Chain((LinearMap.of(Convolution(weight, shape, (1, 1), (1, 1), ((0, 0), (0, 0)))),))


@one_lipschitz
class ScaledAvgPool2d(Layer):
    """Averages over windows that do not overlap, times the window's side: the norm is 1 instead of 1/kernel_size.

    (batch, channels, h, w) -> (batch, channels, h // kernel_size, w // kernel_size). Raises InvalidInput.
    """

    axes, sizes = 3, ("kernel_size",)
    place: torch.Tensor  # says in which precision and where

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        check_widths(self, kernel_size=kernel_size)
        self.kernel_size = kernel_size
        self.register_buffer("place", torch.zeros(()), persistent=False)

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        """A convolution of each channel with a window of 1/kernel_size."""
        k = self.kernel_size
        if min(shape[1:]) < k:
            why = "one layer too many that shrinks them", "use a smaller window"
            raise InvalidInput(f"images of at least {k} × {k} before ScaledAvgPool2d", f"shape {shape}", *why)
        weight = torch.full((shape[0], 1, k, k), 1 / k, dtype=dtype, device=self.place.device)
        operator = Convolution(weight, shape, (k, k), (1, 1), ((0, 0), (0, 0)), shape[0])
        eps = torch.finfo(dtype).eps
        return Chain((LinearMap.of(operator, relative_error=eps),), rounding=4 * eps)
