"""The linear parts of layers as operators: apply, adjoint, and the same with weights transformed entry by entry."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

from torch import Tensor
from torch.nn.functional import conv1d, conv2d, pad
from torch.nn.grad import conv1d_input, conv2d_input

__all__ = ["Convolution", "Dense", "Operator", "Scale"]

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """A linear map of samples of one shape to samples of another, given by the entries of `weight`.

    Axis 0 of weight belongs to the outputs: one row, or one channel, of the matrix each.
    """

    weight: Tensor
    in_shape: Shape

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """Shape of one output sample."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """How many products are summed for one output at most."""

    @abstractmethod
    def __call__(self, h: Tensor) -> Tensor:
        """W h: (batch, *in_shape) -> (batch, *out_shape)."""

    @abstractmethod
    def adjoint(self, z: Tensor) -> Tensor:
        """Wᵀ z: (batch, *out_shape) -> (batch, *in_shape)."""

    def with_entries(self, change: Callable[[Tensor], Tensor]) -> "Operator":
        """The operator whose entries are changed one by one, as |W| or W∘W; change must leave 0 at 0."""
        return replace(self, weight=change(self.weight))

    def divided(self, by: Tensor) -> "Operator":
        """The operator with every entry divided by one number."""
        return replace(self, weight=self.weight / by)

    def scaled_rows(self, factor: Tensor) -> "Operator":
        """diag(factor) W for one factor an output row or channel."""
        return replace(self, weight=self.weight * over_rows(factor, self.weight.dim()))


def over_rows(factor: Tensor, dim: int) -> Tensor:
    """One factor a row, made to broadcast over tensors of that many axes: (rows,) -> (rows, 1, …)."""
    return factor.reshape(-1, *[1] * (dim - 1))


@dataclass(frozen=True, eq=False)
class Dense(Operator):
    """A matrix, (rows, columns)."""

    @property
    def out_shape(self) -> Shape:
        """(rows,)."""
        return (self.weight.shape[0],)

    @property
    def terms(self) -> int:
        """The columns."""
        return self.weight.shape[1]

    def __call__(self, h: Tensor) -> Tensor:
        """W h."""
        return h.flatten(1) @ self.weight.T

    def adjoint(self, z: Tensor) -> Tensor:
        """Wᵀ z."""
        return (z @ self.weight).reshape(len(z), *self.in_shape)


@dataclass(frozen=True, eq=False)
class Scale(Operator):
    """One factor a channel, (channels,): what batch normalisation does in evaluation mode."""

    @property
    def out_shape(self) -> Shape:
        """The same as in_shape."""
        return self.in_shape

    @property
    def terms(self) -> int:
        """One."""
        return 1

    def __call__(self, h: Tensor) -> Tensor:
        """Every channel times its factor."""
        return h * over_rows(self.weight, len(self.in_shape))

    def adjoint(self, z: Tensor) -> Tensor:
        """The same."""
        return self(z)


@dataclass(frozen=True, eq=False)
class Convolution(Operator):
    """A convolution over one or two axes: weight (out, in/groups, *kernel), samples (channels, *size).

    pads: (before, after) for every axis. circular: whether they repeat the other end, or are 0.
    """

    stride: Shape
    dilation: Shape
    pads: tuple[tuple[int, int], ...]
    groups: int = 1
    circular: bool = False

    @property
    def padded(self) -> Shape:
        """Size of the sample's axes with the padding."""
        return tuple(n + sum(pads) for n, pads in zip(self.in_shape[1:], self.pads, strict=True))

    @property
    def out_shape(self) -> Shape:
        """(out, *size)."""
        reach = (d * (k - 1) for d, k in zip(self.dilation, self.weight.shape[2:], strict=True))
        return self.weight.shape[0], *(
            (n - r - 1) // s + 1 for n, r, s in zip(self.padded, reach, self.stride, strict=True)
        )

    @property
    def terms(self) -> int:
        """Channels of a group times the size of the kernel."""
        return prod(self.weight.shape[1:])

    @property
    def _own_padding(self) -> bool:
        return not self.circular and all(before == after for before, after in self.pads)

    def __call__(self, h: Tensor) -> Tensor:
        """The convolution, without bias."""
        convolve = conv1d if len(self.stride) == 1 else conv2d
        padding: Shape = tuple(0 for _ in self.pads)
        if self._own_padding:
            padding = tuple(before for before, _ in self.pads)
        else:
            widths = [width for pads in reversed(self.pads) for width in pads]
            h = pad(h, widths, mode="circular" if self.circular else "constant")
        return convolve(h, self.weight, None, self.stride, padding, self.dilation, self.groups)

    def adjoint(self, z: Tensor) -> Tensor:
        """Its transpose: what is padded is cut off, or folded back where it had been repeated."""
        back = conv1d_input if len(self.stride) == 1 else conv2d_input
        shape, padding = (len(z), *self.in_shape), tuple(0 for _ in self.pads)
        if self._own_padding:
            padding = tuple(before for before, _ in self.pads)
            return back(shape, self.weight, z, self.stride, padding, self.dilation, self.groups)
        h = back(
            (len(z), self.in_shape[0], *self.padded), self.weight, z, self.stride, padding, self.dilation, self.groups
        )
        for axis, ((before, after), size) in enumerate(zip(self.pads, self.in_shape[1:], strict=True), start=2):
            inner = h.narrow(axis, before, size)
            if self.circular:
                inner = inner.clone()
                inner.narrow(axis, size - before, before).add_(h.narrow(axis, 0, before))
                inner.narrow(axis, 0, after).add_(h.narrow(axis, before + size, after))
            h = inner
        return h
