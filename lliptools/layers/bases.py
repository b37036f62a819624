"""What the layers share: shapes, paddings and activations for which the theorems hold, and the chains they spell."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets import Activation, Chain, Designed, Guarantee
from lliptools.nets.checked import Checked
from lliptools.nets.layers import check_layer
from lliptools.nets.operators import Affine, Convolution, Dense, Operator, Shape, Transposed
from lliptools.nets.registry import read_activation

__all__ = [
    "ConvMap",
    "ConvResidual",
    "DenseMap",
    "DenseResidual",
    "check_slopes",
    "check_widths",
    "guaranteed",
    "rounding_of",
]

UNIT = torch.finfo(torch.float64).eps / 2


def check_widths(layer: nn.Module, **widths: int) -> None:
    """Raise InvalidInput for a width that is not a whole number of at least 1."""
    for name, width in widths.items():
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise InvalidInput(
                expected=f"{name} of {type(layer).__name__} as a whole number of 1 or more",
                got=repr(width),
                cause="a size that was computed by a division, or arguments in another order",
                next_step=f"look at help(lliptools.layers.{type(layer).__name__})",
            )


def check_slopes(activation: nn.Module, layer: str, shape: Shape) -> None:
    """Raise UnsupportedLayer unless an activation is elementwise with slopes in [0, 1]: the theorem needs both.

    shape: of the units that it is applied to; an activation of one's own is looked at for so many.
    """
    found = read_activation(activation)
    if found is not None:
        check_layer(activation, f"{type(activation).__name__} in {layer}")
    reason = "no rule is known for its slopes; those of GELU, SiLU, Mish, SELU leave [0, 1]"
    step = "use torch.nn.ReLU()"
    if found is not None and not found.elementwise:
        found, reason = None, "it compares units with each other, so that it has no diagonal of slopes"
    if found is not None:
        least, greatest = found.slopes(*_parts_of_the_line(activation, found, shape))
        if not ((least >= 0).all() and (greatest <= 1).all()):
            found, reason = None, f"its slopes reach from {least.min():g} to {greatest.max():g}"
            if isinstance(activation, nn.Softplus):
                reason = f"beyond its threshold, {activation.threshold:g}, torch turns to z itself, which is a jump"
                step = "use torch.nn.Softplus(threshold=40), which has no jump in float64, or torch.nn.ReLU()"
    if found is None:
        raise UnsupportedLayer(
            expected=f"inside {layer} an elementwise activation with slopes in [0, 1]: ReLU, LeakyReLU, ReLU6, "
            "Hardtanh, Tanh, Sigmoid, Softplus with threshold=40, ELU with alpha <= 1, or ClippedReLU",
            got=str(activation),
            cause=reason,
            next_step=step,
        )


def guaranteed(layer: Designed, value: float, holds: str) -> Guarantee:
    """What a layer guarantees. Raises InvalidInput where its own parameters are no finite numbers, or not real."""
    for name, parameter in layer.named_parameters(recurse=False):
        if not parameter.is_floating_point() or not parameter.isfinite().all():
            raise InvalidInput(
                expected=f"finite real parameters in {type(layer).__name__}",
                got=f"`{name}` of {parameter.dtype} with NaN or infinite values, or none that are real",
                cause="training that diverged",
                next_step="load an earlier checkpoint",
            )
    return Guarantee(value, holds)


def _parts_of_the_line(activation: nn.Module, found: Activation, shape: Shape) -> tuple[Tensor, Tensor]:
    """The whole line, and parts of it: slopes that an own rule says of them are held against the function in each."""
    device = next((t.device for t in (*activation.parameters(), *activation.buffers())), torch.device("cpu"))
    if device.type == "meta":
        raise InvalidInput(
            expected=f"{type(activation).__name__} with values",
            got="parameters on the device meta",
            cause="an activation that was built without memory",
            next_step='build it under torch.device("cpu")',
        )
    ends = torch.arange(-8.0, 8.25, 0.25, dtype=torch.float64, device=device)
    infinite = torch.full_like(ends[:1], torch.inf)
    lower, upper = torch.cat([-infinite, -infinite, ends]), torch.cat([infinite, ends, infinite])
    units = shape if isinstance(found, Checked) else [1] * len(shape)
    wide = [1] * len(shape)
    return lower.view(-1, *wide).expand(-1, *units), upper.view(-1, *wide).expand(-1, *units)


def rounding_of(terms: int, inner: int, dtype: torch.dtype) -> float:
    """What rounding may add to the constant 1 of a scaled layer, relatively.

    Sums of so many products err by (terms)·u; a Gram matrix of so many inner units, divided by its diagonal, by inner
    times that in norm. The last part is the rounding of the weights to the precision that they are used in.
    """
    return 16 * (terms + inner + 16) * inner * UNIT + 4 * math.sqrt(inner) * torch.finfo(dtype).eps


def orthogonal(rows: int, columns: int) -> Tensor:
    """A random matrix with orthonormal rows or columns, in the default precision; none below float32 is computed in."""
    default = torch.get_default_dtype()
    found = torch.empty(rows, columns, dtype=torch.promote_types(default, torch.float32))
    return nn.init.orthogonal_(found).to(default)


class DenseMap(Designed):
    """x ↦ Q x + b on features, where the matrix Q is made from `weight` so that its norm is at most 1."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        check_widths(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(orthogonal(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))

    @abstractmethod
    def matrix(self) -> Tensor:
        """Q, (out_features, in_features), in float64, with gradients to the parameters."""

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        """One affine map."""
        check_shape(self, shape, (self.in_features,))
        operator = Dense(self.matrix().to(dtype), shape)
        return Chain((_affine(operator, self.bias, dtype),), rounding=self.rounding(dtype))

    def rounding(self, dtype: torch.dtype) -> float:
        """What rounding may add to the guarantee, relatively."""
        return rounding_of(max(self.out_features, len(self.weight)), self.in_features, dtype)

    def extra_repr(self) -> str:
        """The sizes, for print()."""
        return f"{self.in_features}, {self.out_features}"


class DenseResidual(Designed):
    """x ↦ x − backᵀ σ(weight · x + bias) on features, with `back` made from `weight`."""

    def __init__(self, features: int, inner: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        check_widths(self, features=features, inner=inner)
        self.features, self.inner = features, inner
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(inner, features)))
        self.bias = nn.Parameter(torch.zeros(inner))
        self.activation = nn.ReLU() if activation is None else activation
        self.check_activation()

    def check_activation(self) -> None:
        """Raise UnsupportedLayer for an activation that the theorem does not cover."""
        check_slopes(self.activation, type(self).__name__, (len(self.weight),))

    @abstractmethod
    def back(self) -> Tensor:
        """2 T⁻¹ Wᵀ as rows, (inner, features), in float64, with gradients to the parameters."""

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        """The matrix Wᵀ, the activation, and the way back, added to the input."""
        check_shape(self, shape, (self.features,))
        there = Dense(self.weight.to(dtype), shape)
        back = Dense(-self.back().T.to(dtype), (len(self.weight),))
        steps = (_affine(there, self.bias, dtype), self.activation, Affine(back, back.weight.new_zeros(())))
        return Chain(steps, skip=True, rounding=rounding_of(self.features, len(self.weight), dtype))

    def extra_repr(self) -> str:
        """The sizes, for print()."""
        return f"{self.features}, {self.inner}"


class Images(Designed):
    """What layers on images share: their kernel, stride and padding."""

    axes = 3

    def __init__(
        self, channels: int, filters: int, kernel_size: int, padding: int, padding_mode: str, stride: int
    ) -> None:
        super().__init__()
        check_widths(self, channels=channels, filters=filters)
        self.kernel_size, self.stride, self.padding, self.padding_mode = kernel_size, stride, padding, padding_mode
        self.check_padding()
        self.weight = nn.Parameter(torch.empty(filters, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(filters))

    def check_padding(self) -> None:
        """Raise UnsupportedLayer for a padding under which the norm may exceed that of the kernel, or InvalidInput."""
        name = type(self).__name__
        check_widths(self, kernel_size=self.kernel_size, stride=self.stride)
        if self.padding_mode not in {"zeros", "circular"}:
            raise UnsupportedLayer(
                expected=f'padding_mode "zeros" or "circular" in {name}',
                got=repr(self.padding_mode),
                cause="reflect and replicate repeat pixels at the border, which can double the norm",
                next_step='use padding_mode="zeros"',
            )
        if not isinstance(self.padding, int) or self.padding < 0:
            raise InvalidInput(
                expected=f"padding of {name} as a whole number of 0 or more",
                got=repr(self.padding),
                cause="a pair, or padding='same'",
                next_step="pass padding=kernel_size // 2",
            )
        size = (self.kernel_size,) * 2
        weight = self._parameters.get("weight")
        if weight is not None and tuple(weight.shape[2:]) != size:
            raise InvalidInput(
                expected=f"a weight of {name} of shape (filters, channels, {size[0]}, {size[1]})",
                got=f"shape {tuple(weight.shape)}",
                cause="a kernel that was replaced by one of another size, for which the padding was not checked",
                next_step=f"build a {name} with that kernel_size",
            )
        if self.padding_mode == "circular" and 2 * self.padding > self.kernel_size - 1:
            raise UnsupportedLayer(
                expected=f"circular padding of {name} by at most (kernel_size − 1)/2 = {(self.kernel_size - 1) / 2:g}",
                got=f"padding={self.padding} with kernel_size={self.kernel_size}",
                cause="an output larger than the input repeats rows of the matrix, which raises its norm",
                next_step=f"use padding={(self.kernel_size - 1) // 2}",
            )

    def convolution(self, weight: Tensor, shape: Shape) -> Convolution:
        """The convolution with a kernel (filters, channels, k, k) on images of a shape."""
        check_shape(self, shape, (weight.shape[1], *shape[1:]))
        circular = self.padding_mode == "circular" and self.padding > 0
        pads = ((self.padding, self.padding),) * 2
        found = Convolution(weight, shape, (self.stride,) * 2, (1, 1), pads, circular=circular)
        if min(found.out_shape[1:]) < 1 or (circular and self.padding > min(shape[1:])):
            raise InvalidInput(
                expected=f"images that a kernel of {self.kernel_size} with padding {self.padding} fits on",
                got=f"shape {shape}",
                cause="one layer too many that shrinks them",
                next_step="pass larger images, or leave a layer out",
            )
        return found

    def where(self) -> str:
        """For which inputs the guarantee holds, in words."""
        if self.padding_mode == "circular":
            return f"on images of every size, circular padding {self.padding}, stride {self.stride}"
        return f"on images of every size, zero padding {self.padding}, stride {self.stride}"

    def extra_repr(self) -> str:
        """The sizes, for print()."""
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
        """One convolution."""
        operator = self.convolution(self.kernel().to(dtype), shape)
        terms = len(self.weight) * self.kernel_size**2
        rounding = rounding_of(terms, self.in_channels * self.kernel_size**2, dtype)
        return Chain((_affine(operator, self.bias, dtype),), rounding=rounding)


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
        self.activation = nn.ReLU() if activation is None else activation
        self.check_activation()

    def check_activation(self) -> None:
        """Raise UnsupportedLayer for an activation that the theorem does not cover."""
        check_slopes(self.activation, type(self).__name__, (len(self.weight), 1, 1))

    @abstractmethod
    def back(self) -> Tensor:
        """The kernel times 2/T, (inner, channels, k, k), in float64, with gradients to the parameters."""

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        """The convolution, the activation, and the way back, added to the input."""
        there = self.convolution(self.weight.to(dtype), shape)
        weight = -self.back().to(dtype).transpose(0, 1)
        back = Transposed(
            weight, there.out_shape, shape, there.stride, there.dilation, there.pads, circular=there.circular
        )
        steps = (_affine(there, self.bias, dtype), self.activation, Affine(back, weight.new_zeros(())))
        terms = self.channels * self.kernel_size**2
        inner = len(self.weight) * (2 * self.kernel_size - 1) ** 2
        return Chain(steps, skip=True, rounding=rounding_of(terms, inner, dtype))


def check_shape(layer: nn.Module, shape: Shape, wanted: Shape) -> None:
    """Raise InvalidInput where samples do not have the shape that a layer works on."""
    if tuple(shape) != tuple(wanted):
        raise InvalidInput(
            expected=f"samples of shape {tuple(wanted)} before {type(layer).__name__}",
            got=f"shape {tuple(shape)}",
            cause="points of another data set, images without their channel axis, or layers that do not fit together",
            next_step="check the width of the layer before, or x.shape",
        )


def _affine(operator: Operator, bias: Tensor, dtype: torch.dtype) -> Affine:
    return Affine(operator, bias.to(dtype).view(-1, *[1] * (len(operator.out_shape) - 1)))
