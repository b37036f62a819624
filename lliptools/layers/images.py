"""What layers on images share: convolutions, and residual steps by a convolution and its adjoint."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer, check_whole
from lliptools.layers.bases import Layer, orthogonal, rounding_of
from lliptools.layers.checks import check_shape, check_widths
from lliptools.nets import Chain
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Convolution, Shape, Transposed


class Images(Layer):
    """A layer on images: kernel, stride and padding."""

    axes = 3

    def __init__(
        self, channels: int, filters: int, kernel_size: int, padding: int, padding_mode: str, stride: int
    ) -> None:
        super().__init__()
        check_widths(self, channels=channels, filters=filters)
        self.kernel_size, self.stride, self.padding, self.padding_mode = kernel_size, stride, padding, padding_mode
        self.check()
        self.weight = nn.Parameter(torch.empty(filters, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(filters))

    @property
    def circular(self) -> bool:
        """Whether images are continued on a torus."""
        return self.padding_mode == "circular"

    def check(self) -> None:
        """Raise UnsupportedLayer for a padding under which the norm may exceed that of the kernel, or InvalidInput."""
        name = type(self).__name__
        check_widths(self, kernel_size=self.kernel_size, stride=self.stride)
        if self.padding_mode not in {"zeros", "circular"}:
            got = repr(self.padding_mode)
            cause = "reflect and replicate repeat pixels at the border, which can double the norm"
            step = 'use padding_mode="zeros"'
            raise UnsupportedLayer(f'padding_mode "zeros" or "circular" in {name}', got, cause, step)
        why = "a pair, or padding='same'", "pass padding=kernel_size // 2"
        check_whole(f"padding of {name}", self.padding, 0, *why)
        if "weight" in self._parameters and self.weight.shape[2:] != (self.kernel_size,) * 2:
            expected = f"a weight of {name} of shape (filters, channels, {self.kernel_size}, {self.kernel_size})"
            cause = "a kernel that was replaced by one of another size, for which the padding was not checked"
            step = f"build a {name} with that kernel_size"
            raise InvalidInput(expected, f"shape {tuple(self.weight.shape)}", cause, step)
        if self.circular and 2 * self.padding > self.kernel_size - 1:
            expected = f"circular padding of {name} by at most (kernel_size − 1)/2 = {(self.kernel_size - 1) / 2:g}"
            cause = "an output larger than the input repeats rows of the matrix, which raises its norm"
            step = f"use padding={(self.kernel_size - 1) // 2}"
            raise UnsupportedLayer(expected, f"padding={self.padding} with kernel_size={self.kernel_size}", cause, step)
        super().check()

    def convolution(self, weight: Tensor, shape: Shape) -> Convolution:
        """The convolution with a kernel (filters, channels, k, k) on images of a shape."""
        check_shape(self, shape, (weight.shape[1], *shape[1:]))
        circular, pads = self.circular and self.padding > 0, ((self.padding, self.padding),) * 2
        found = Convolution(weight, shape, (self.stride,) * 2, (1, 1), pads, circular=circular)
        if min(found.out_shape[1:]) < 1 or (circular and self.padding > min(shape[1:])):
            expected = f"images that a kernel of {self.kernel_size} with padding {self.padding} fits on"
            why = "one layer too many that shrinks them", "pass larger images, or leave a layer out"
            raise InvalidInput(expected, f"shape {shape}", *why)
        return found

    def where(self) -> str:
        kind = "circular" if self.circular else "zero"
        return f"on images of every size, {kind} padding {self.padding}, stride {self.stride}"

    def extra_repr(self) -> str:
        filters, channels = self.weight.shape[:2]
        padding = f"padding={self.padding}, padding_mode={self.padding_mode!r}, stride={self.stride}"
        return f"{channels}, {filters}, kernel_size={self.kernel_size}, {padding}"


class ConvMap(Images):
    """The convolution x ↦ Q x + b, where its kernel is made from `weight` so that its norm is at most 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        padding: int = 1,
        padding_mode: str = "zeros",
        *,
        stride: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding, padding_mode, stride)
        self.in_channels, self.out_channels = in_channels, out_channels
        with torch.no_grad():  # an orthogonal matrix in the middle: a norm of 1 to begin with
            self.weight.zero_()
            middle = (kernel_size - 1) // 2
            self.weight[:, :, middle, middle] = orthogonal(out_channels, in_channels)

    @abstractmethod
    def kernel(self) -> Tensor:
        """The kernel, (out_channels, in_channels, k, k), in float64, with gradients to the parameters."""

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        operator = self.convolution(self.kernel().to(dtype), shape)
        area = self.kernel_size**2
        rounding = rounding_of(len(self.weight) * area, self.in_channels * area, dtype)
        return Chain((LinearMap.of(operator, self.bias),), rounding=rounding)


class ConvResidual(Images):
    """x ↦ x − back(σ(conv(x) + bias)), where `back` is the adjoint of the convolution, with channels scaled."""

    def __init__(
        self,
        channels: int,
        inner: int,
        kernel_size: int = 3,
        padding: int = 1,
        padding_mode: str = "zeros",
        *,
        stride: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__(channels, inner, kernel_size, padding, padding_mode, stride)
        self.channels, self.inner = channels, inner
        nn.init.xavier_normal_(self.weight)
        self.set_activation(activation)

    @abstractmethod
    def back(self) -> Tensor:
        """The kernel times 2/T, (inner, channels, k, k), in float64, with gradients to the parameters."""

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        there = self.convolution(self.weight.to(dtype), shape)
        turned = -self.back().to(dtype).transpose(0, 1)
        settings = (there.stride, there.dilation, there.pads)
        back = Transposed(turned, there.out_shape, shape, *settings, circular=there.circular)
        terms = self.channels * self.kernel_size**2
        rounding = rounding_of(terms, len(self.weight) * (2 * self.kernel_size - 1) ** 2, dtype)
        steps = LinearMap.of(there, self.bias), self.activation, LinearMap.of(back)
        return Chain(steps, skip=True, rounding=rounding)
