"""SDP-based Lipschitz layers: x − 2 W T⁻¹ σ(Wᵀx + b) with T_i = Σ_j |WᵀW|_ij q_j/q_i."""

import torch
from torch import Tensor, nn

from lliptools.layers.bases import DenseResidual, Layer, one_lipschitz
from lliptools.layers.condition import balanced_scale
from lliptools.layers.images import ConvResidual


class _SLL(Layer):
    """The scale that both layers share, with the logarithm of q as a parameter."""

    def set_activation(self, activation: nn.Module | None) -> None:
        """Keep the activation, and begin with q = 1."""
        super().set_activation(activation)
        self.log_q = nn.Parameter(torch.zeros(len(self.weight)))

    def back(self) -> Tensor:
        """2 T⁻¹ Wᵀ, or the kernel times 2/T."""
        unit, size, scale = balanced_scale(self.weight, self.log_q)
        return 2 * unit / (scale * size).view(-1, *[1] * (unit.dim() - 1))


@one_lipschitz
class SLLLinear(_SLL, DenseResidual):
    """x ↦ x − 2 W T⁻¹ σ(Wᵀx + b) on (batch, features), 1-Lipschitz for every weight and q.

    Parameters: weight Wᵀ (inner, features), bias (inner,), log_q (inner,), the logarithm of q.
    activation: elementwise with slopes in [0, 1]; ReLU unless another is given.
    Raises InvalidInput and UnsupportedLayer. Source: Araujo et al. (ICLR 2023), theorem 3.

        >>> import torch, lliptools as ll
        >>> layer = ll.layers.SLLLinear(2, inner=3).double()
        >>> print(layer.lipschitz_bound())
        1 on features
    """


@one_lipschitz
class SLLConv2d(_SLL, ConvResidual):
    """The convolutional SLL layer on (batch, channels, height, width): the way back is the adjoint convolution.

    Parameters: weight (inner, channels, k, k), bias (inner,), log_q (inner,). T holds one number per inner channel.
    padding_mode: "zeros" with any padding, or "circular" with 2·padding <= kernel_size − 1. activation: as of
    SLLLinear. The output has the input's shape, whatever kernel, stride and padding are.
    Raises InvalidInput and UnsupportedLayer. Source: Araujo et al. (ICLR 2023), theorem 3 and appendix on convolutions.
    """
