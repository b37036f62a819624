"""SDP-based Lipschitz layers: x − 2 W T⁻¹ σ(Wᵀx + b) with T_i = Σ_j |WᵀW|_ij q_j/q_i."""

import torch
from torch import Tensor, nn

from lliptools.layers.bases import ConvResidual, DenseResidual, guaranteed
from lliptools.layers.condition import balanced_scale
from lliptools.nets import Guarantee

__all__ = ["SLLConv2d", "SLLLinear"]


class SLLLinear(DenseResidual):
    """x ↦ x − 2 W T⁻¹ σ(Wᵀx + b) on (batch, features), 1-Lipschitz for every weight and q.

    Parameters: weight Wᵀ (inner, features), bias (inner,), log_q (inner,), the logarithm of q.
    activation: elementwise with slopes in [0, 1]; ReLU unless another is given.
    Raises InvalidInput and UnsupportedLayer. Source: Araujo et al. (ICLR 2023), theorem 3.

        >>> import torch, lliptools as ll
        >>> layer = ll.layers.SLLLinear(2, inner=3).double()
        >>> print(layer.lipschitz_bound())
        1 on features
    """

    def __init__(self, features: int, inner: int, activation: nn.Module | None = None) -> None:
        super().__init__(features, inner, activation)
        self.log_q = nn.Parameter(torch.zeros(inner))

    def back(self) -> Tensor:
        """2 T⁻¹ Wᵀ."""
        unit, size, scale = balanced_scale(self.weight, self.log_q)
        return 2 * unit / (scale * size)[:, None]

    def lipschitz_bound(self) -> Guarantee:
        """1, whatever finite numbers the parameters are."""
        self.check_activation()
        return guaranteed(self, 1.0, "on features")


class SLLConv2d(ConvResidual):
    """The convolutional SLL layer on (batch, channels, height, width): the way back is the adjoint convolution.

    Parameters: weight (inner, channels, k, k), bias (inner,), log_q (inner,). T holds one number an inner channel.
    padding_mode: "zeros" with any padding, or "circular" with 2·padding <= kernel_size − 1. activation: as of
    SLLLinear. The output has the input's shape, whatever kernel, stride and padding are.
    Raises InvalidInput and UnsupportedLayer. Source: Araujo et al. (ICLR 2023), theorem 3 and appendix on convolutions.
    """

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
        super().__init__(channels, inner, kernel_size, padding, padding_mode, stride=stride, activation=activation)
        self.log_q = nn.Parameter(torch.zeros(inner))

    def back(self) -> Tensor:
        """The kernel times 2/T."""
        unit, size, scale = balanced_scale(self.weight, self.log_q)
        return 2 * unit / (scale * size)[:, None, None, None]

    def lipschitz_bound(self) -> Guarantee:
        """1, whatever finite numbers the parameters are. Raises UnsupportedLayer for what was set since."""
        self.check_padding()
        self.check_activation()
        return guaranteed(self, 1.0, self.where())
