"""What the layers share: their guarantee, and the chains that they spell; maps and residual steps on features."""

import math
from abc import abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn

from lliptools.layers.checks import check_shape, check_slopes, check_widths
from lliptools.nets import Chain, Designed, Guarantee
from lliptools.nets.layers import check_tensors
from lliptools.nets.linear import UNIT, LinearMap
from lliptools.nets.operators import Dense, Shape


class Layer(Designed):
    """A layer with a weight, a bias and, inside of it, perhaps an activation whose slopes lie in [0, 1]."""

    weight: Tensor
    bias: Tensor
    sizes: tuple[str, ...] = ("in_features", "out_features")  # that the layer is printed with

    def set_activation(self, activation: nn.Module | None) -> None:
        """Keep the activation, ReLU unless another is given. Raises UnsupportedLayer for one that is not covered."""
        self.activation = nn.ReLU() if activation is None else activation
        self.check()

    def check(self) -> None:
        """Raise UnsupportedLayer or InvalidInput for attributes that the theorem does not cover."""
        if "activation" in self._modules:
            check_slopes(self.activation, type(self).__name__, (len(self.weight), *[1] * (self.axes - 1)))

    def where(self) -> str:
        """For which inputs the guarantee holds, in words."""
        return "on features" if self.axes == 1 else "on images of every size"

    def guaranteed(self, value: float) -> Guarantee:
        """A constant for the inputs of where(), after the checks."""
        self.check()
        check_tensors(self, type(self).__name__)
        return Guarantee(value, self.where())

    def lipschitz_bound(self) -> Guarantee:
        """1, for any finite parameters. Raises UnsupportedLayer, InvalidInput for what was set and is not covered."""
        return self.guaranteed(1.0)

    def extra_repr(self) -> str:
        return ", ".join(str(getattr(self, size)) for size in self.sizes)


Kind = TypeVar("Kind", bound=type[Layer])


def one_lipschitz(kind: Kind) -> Kind:
    """The statement of a class that it is 1-Lipschitz; one that derives from it does not inherit the guarantee."""
    setattr(kind, "lipschitz_bound", Layer.lipschitz_bound)  # noqa: B010 - methods are not assigned to
    return kind


class DenseMap(Layer):
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
        check_shape(self, shape, (self.in_features,))
        operator = Dense(self.matrix().to(dtype), shape)
        return Chain((LinearMap.of(operator, self.bias),), rounding=self.rounding(dtype))

    def rounding(self, dtype: torch.dtype) -> float:
        """What rounding may add to the guarantee, relatively."""
        return rounding_of(max(self.out_features, len(self.weight)), self.in_features, dtype)


class DenseResidual(Layer):
    """x ↦ x − backᵀ σ(weight · x + bias) on features, with `back` made from `weight`."""

    sizes = "features", "inner"

    def __init__(self, features: int, inner: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        check_widths(self, features=features, inner=inner)
        self.features, self.inner = features, inner
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(inner, features)))
        self.bias = nn.Parameter(torch.zeros(inner))
        self.set_activation(activation)

    @abstractmethod
    def back(self) -> Tensor:
        """2 T⁻¹ Wᵀ as rows, (inner, features), in float64, with gradients to the parameters."""

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        check_shape(self, shape, (self.features,))
        there = Dense(self.weight.to(dtype), shape)
        back = Dense(-self.back().T.to(dtype), (len(self.weight),))
        steps = LinearMap.of(there, self.bias), self.activation, LinearMap.of(back)
        return Chain(steps, skip=True, rounding=rounding_of(self.features, len(self.weight), dtype))


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
