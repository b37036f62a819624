"""Convex potential layers: x − 2/‖W‖² · W σ(Wᵀx + b), a step of a gradient flow."""

import torch
from torch import Tensor

from lliptools.layers.bases import ConvResidual, DenseResidual, guaranteed
from lliptools.layers.condition import smallest
from lliptools.layers.norm import kernel_norm, matrix_norm
from lliptools.nets import Guarantee

__all__ = ["CPLConv2d", "CPLLinear"]


class CPLLinear(DenseResidual):
    """x ↦ x − 2/s² · W σ(Wᵀx + b) on (batch, features), with s an upper bound of ‖W‖ found anew at every call.

    Parameters: weight Wᵀ (inner, features), bias (inner,). activation: elementwise with slopes in [0, 1]; ReLU unless
    another is given. Raises InvalidInput and UnsupportedLayer.
    Source: Meunier, Delattre, Araujo, Allauzen, "A dynamical system perspective for Lipschitz neural networks"
    (ICML 2022), there with power iteration, which falls below ‖W‖; here with a bound from above.
    """

    def back(self) -> Tensor:
        """2 Wᵀ/s²."""
        return _over_square(self.weight, matrix_norm(self.weight))

    def lipschitz_bound(self) -> Guarantee:
        """1, whatever finite numbers the parameters are."""
        self.check_activation()
        return guaranteed(self, 1.0, "on features")


class CPLConv2d(ConvResidual):
    """The convolutional CPL layer on (batch, channels, height, width), divided by the norm on images of every size.

    Parameters: weight (inner, channels, k, k), bias (inner,). padding_mode, activation and errors: as of SLLConv2d.
    Source: Meunier et al. (ICML 2022).
    """

    def back(self) -> Tensor:
        """The kernel times 2/s²."""
        stride = (1, 1) if self.padding_mode == "circular" else (self.stride, self.stride)
        return _over_square(self.weight, kernel_norm(self.weight, stride))

    def lipschitz_bound(self) -> Guarantee:
        """1, whatever finite numbers the parameters are. Raises UnsupportedLayer for what was set since."""
        self.check_padding()
        self.check_activation()
        return guaranteed(self, 1.0, self.where())


def _over_square(weight: Tensor, norm: Tensor) -> Tensor:
    """2 · weight/norm², divided twice, so that no square overflows; next to 0, where norm² < 1, by 1."""
    norm = torch.where(norm > smallest(weight), norm, 1.0)
    return 2 * (weight.double() / norm) / norm
