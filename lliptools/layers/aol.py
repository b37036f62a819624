"""Almost-orthogonal layers: every input column divided by the root of its row sum of |WᵀW|."""

from torch import Tensor

from lliptools.layers.bases import DenseMap, one_lipschitz
from lliptools.layers.condition import balanced_scale
from lliptools.layers.images import ConvMap


@one_lipschitz
class AOLLinear(DenseMap):
    """x ↦ W T^(−½) x + b on (batch, in_features), T_j = Σ_i |WᵀW|_ij: 1-Lipschitz for every weight.

    Parameters: weight (out_features, in_features), bias (out_features,).
    Raises InvalidInput. Source: Prach and Lampert, "Almost-orthogonal layers for efficient general-purpose Lipschitz
    networks" (ECCV 2022), theorem 1.
    """

    def matrix(self) -> Tensor:
        return _scaled(self.weight)


@one_lipschitz
class AOLConv2d(ConvMap):
    """The convolution whose input channels are divided by the roots of their T: 1-Lipschitz for every weight.

    Parameters: weight (out_channels, in_channels, k, k), bias (out_channels,). padding_mode: "zeros" with any padding,
    or "circular" with 2·padding <= kernel_size − 1. Raises InvalidInput and UnsupportedLayer.
    Source: Prach and Lampert (ECCV 2022), theorem 2.
    """

    def kernel(self) -> Tensor:
        return _scaled(self.weight)


def _scaled(weight: Tensor) -> Tensor:
    """Every input column, or channel, over the root of its scale: (outputs, inputs, …) -> the same."""
    unit, _, scale = balanced_scale(weight.transpose(0, 1))
    return (unit / scale.sqrt().view(-1, *[1] * (unit.dim() - 1))).transpose(0, 1)
