"""The linear parts of layers as operators: apply, adjoint, and the same with weights transformed entry by entry."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, conv_transpose1d, conv_transpose2d, pad
from torch.nn.grad import conv1d_input, conv2d_input

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """A linear map of samples of in_shape, given by the entries of `weight`; axis 0: output rows, or channels."""

    weight: Tensor
    in_shape: Shape

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """Shape of one output sample."""

    @property
    def terms(self) -> int:
        """How many products are summed for one output at most: as many as entries of weight belong to it."""
        return prod(self.weight.shape[1:])

    @property
    def copies(self) -> int:
        """How many entries of weight at most add up in one entry of the matrix: more than 1 on a small torus."""
        return 1

    @property
    def spread(self) -> int:
        """How many products with one input there are at most."""
        pattern = self.with_entries(lambda w: (w != 0).to(torch.float64))
        return round(float(pattern.adjoint(pattern.weight.new_ones(1, *self.out_shape)).amax()))

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
        """diag(factor) W for one factor per output row or channel."""
        return replace(self, weight=self.weight * over_rows(factor, self.weight.dim()))


def over_rows(factor: Tensor, dim: int) -> Tensor:
    """One factor per row, made to broadcast over tensors of that many axes: (rows,) -> (rows, 1, …)."""
    return factor.reshape(-1, *[1] * (dim - 1))


@dataclass(frozen=True, eq=False)
class Dense(Operator):
    """A matrix, (rows, columns)."""

    @property
    def out_shape(self) -> Shape:
        return (self.weight.shape[0],)

    def __call__(self, h: Tensor) -> Tensor:
        return h.flatten(1) @ self.weight.T

    def adjoint(self, z: Tensor) -> Tensor:
        return (z @ self.weight).reshape(len(z), *self.in_shape)


@dataclass(frozen=True, eq=False)
class Scale(Operator):
    """One factor per channel, (channels,): what batch normalisation does in evaluation mode."""

    @property
    def out_shape(self) -> Shape:
        return self.in_shape

    def __call__(self, h: Tensor) -> Tensor:
        return h * over_rows(self.weight, len(self.in_shape))

    def adjoint(self, z: Tensor) -> Tensor:
        return self(z)


@dataclass(frozen=True, eq=False)
class Convolution(Operator):
    """A convolution over one or two axes: weight (out, in/groups, *kernel), samples (channels, *size).

    pads: (before, after) for every axis; one below 0 cuts pixels off. circular: they repeat the other end, or are 0.
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
        extent = (d * (k - 1) for d, k in zip(self.dilation, self.weight.shape[2:], strict=True))
        sizes = zip(self.padded, extent, self.stride, strict=True)
        return self.weight.shape[0], *((n - r - 1) // s + 1 for n, r, s in sizes)

    @property
    def copies(self) -> int:
        """How often a kernel that is larger than a circular image meets itself."""
        extent = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.weight.shape[2:], strict=True))
        return prod(-(-r // n) for r, n in zip(extent, self.in_shape[1:], strict=True)) if self.circular else 1

    @property
    def _own_padding(self) -> Shape | None:
        """The padding as torch's own convolutions take it; None where they do not."""
        own = not self.circular and all(before == after >= 0 for before, after in self.pads)
        return tuple(before for before, _ in self.pads) if own else None

    @property
    def _widths(self) -> list[int]:
        """The padding as torch's pad takes it: the last axis first."""
        return [width for pads in reversed(self.pads) for width in pads]

    def __call__(self, h: Tensor) -> Tensor:
        convolve = conv1d if len(self.stride) == 1 else conv2d
        padding = self._own_padding
        if padding is None:
            h = pad(h, self._widths, mode="circular" if self.circular else "constant")
            padding = (0,) * len(self.pads)
        return convolve(h, self.weight, None, self.stride, padding, self.dilation, self.groups)

    def adjoint(self, z: Tensor) -> Tensor:
        """Its transpose: what is padded is cut off, or folded back where it had been repeated."""
        back = conv1d_input if len(self.stride) == 1 else conv2d_input
        padding = self._own_padding
        if padding is not None:
            if z.dtype == torch.float32:
                return self._transposed(z, padding)
            return back((len(z), *self.in_shape), self.weight, z, self.stride, padding, self.dilation, self.groups)
        shape, nothing = (len(z), self.in_shape[0], *self.padded), (0,) * len(self.pads)
        h = back(shape, self.weight, z, self.stride, nothing, self.dilation, self.groups)
        if not self.circular:
            return pad(h, [-width for width in self._widths])
        for axis, ((before, after), size) in enumerate(zip(self.pads, self.in_shape[1:], strict=True), start=2):
            inner = h.narrow(axis, before, size).clone()
            inner.narrow(axis, size - before, before).add_(h.narrow(axis, 0, before))
            inner.narrow(axis, 0, after).add_(h.narrow(axis, before + size, after))
            h = inner
        return h

    def _transposed(self, z: Tensor, padding: Shape) -> Tensor:
        """The same in another way, on the CPU a third faster in float32, and in float64 three times slower."""
        sizes = (z.shape[2:], self.in_shape[1:], self.stride, self.dilation, self.weight.shape[2:], padding)
        left_over = tuple(n - (m - 1) * s - d * (k - 1) - 1 + 2 * p for m, n, s, d, k, p in zip(*sizes, strict=True))
        back = conv_transpose1d if len(self.stride) == 1 else conv_transpose2d
        return back(z, self.weight, None, self.stride, padding, left_over, self.groups, self.dilation)


@dataclass(frozen=True, eq=False)
class Transposed(Operator):
    """The adjoint of a convolution: weight (out, in, *kernel), of which every input spreads one copy.

    result: shape of one output sample, which the others leave open: those of the convolution whose adjoint it is.
    """

    result: Shape
    stride: Shape
    dilation: Shape
    pads: tuple[tuple[int, int], ...]
    circular: bool = False

    @property
    def convolution(self) -> Convolution:
        """The convolution from outputs to inputs whose adjoint it is."""
        back = self.weight.transpose(0, 1)
        return Convolution(back, self.result, self.stride, self.dilation, self.pads, 1, self.circular)

    @property
    def out_shape(self) -> Shape:
        return self.result

    @property
    def copies(self) -> int:
        return self.convolution.copies

    def __call__(self, h: Tensor) -> Tensor:
        return self.convolution.adjoint(h)

    def adjoint(self, z: Tensor) -> Tensor:
        return self.convolution(z)


@dataclass(frozen=True, eq=False)
class Gather(Operator):
    """Sums of a few inputs, different ones but for weights of 0: weight (*out_shape, terms), index (outputs, terms)."""

    index: Tensor

    @property
    def out_shape(self) -> Shape:
        return tuple(self.weight.shape[:-1])

    @property
    def terms(self) -> int:
        return self.weight.shape[-1]

    def __call__(self, h: Tensor) -> Tensor:
        picked = h.flatten(1)[:, self.index.to(h.device)].reshape(len(h), *self.weight.shape)
        return torch.where(self.weight == 0, 0.0, picked * self.weight).sum(dim=-1)

    def adjoint(self, z: Tensor) -> Tensor:
        spread = (z.reshape(len(z), *self.out_shape, 1) * self.weight).flatten(1)
        found = z.new_zeros(len(z), prod(self.in_shape))
        return found.index_add(1, self.index.to(z.device).flatten(), spread).reshape(len(z), *self.in_shape)


def selection(move: Callable[[Tensor], Tensor], shape: Shape, dtype: torch.dtype) -> Gather:
    """What moves, repeats or drops inputs and fills with 0, by what it does to numbers. Raises if it cannot."""
    numbers = torch.arange(1.0, prod(shape) + 1, dtype=torch.float64, device="cpu").reshape(1, *shape)
    moved, again = move(numbers)[0], move(-numbers)[0]
    if not ((moved == -again) & (moved == moved.round()) & (moved >= 0) & (moved <= prod(shape))).all():
        raise ValueError("something that is neither an input nor 0")  # torch leaves memory as it is
    index, weight = moved.long().flatten()[:, None] - 1, (moved > 0).to(dtype)[..., None]
    return Gather(weight, shape, index.clamp_min(0))
