"""Convex potential layers: x − 2/‖W‖² · W σ(Wᵀx + b), a step of a gradient flow."""

from torch import Tensor

from lliptools.layers.bases import DenseResidual, one_lipschitz
from lliptools.layers.images import ConvResidual
from lliptools.layers.norm import over_norm


@one_lipschitz
class CPLLinear(DenseResidual):
    """x ↦ x − 2/s² · W σ(Wᵀx + b) on (batch, features), with s an upper bound of ‖W‖ found anew at every call.

    Parameters: weight Wᵀ (inner, features), bias (inner,). activation: elementwise with slopes in [0, 1]; ReLU unless
    another is given. Raises InvalidInput and UnsupportedLayer.
    Source: Meunier, Delattre, Araujo, Allauzen, "A dynamical system perspective for Lipschitz neural networks"
    (ICML 2022), there with power iteration, which falls below ‖W‖; here with a bound from above.
    """

    def back(self) -> Tensor:
        return 2 * over_norm(self.weight, power=2)


@one_lipschitz
class CPLConv2d(ConvResidual):
    """The convolutional CPL layer on (batch, channels, height, width), divided by the norm on images of every size.

    Parameters: weight (inner, channels, k, k), bias (inner,). padding_mode, activation and errors: as of SLLConv2d.
    Source: Meunier et al. (ICML 2022).
    """

    def back(self) -> Tensor:
        return 2 * over_norm(self.weight, 1 if self.circular else self.stride, power=2)
