"""Sandwich layers: √2 Aᵀ Ψ σ(√2 Ψ⁻¹ B x + b) with AAᵀ + BBᵀ = I."""

import math

import torch
from torch import nn

from lliptools.layers.bases import Layer, one_lipschitz, rounding_of
from lliptools.layers.checks import check_shape, check_widths
from lliptools.layers.condition import check_scales
from lliptools.layers.orthogonal import cayley
from lliptools.nets import Chain
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Dense, Shape

WIDEST = 40.0  # |log ψ| counts at most so much: e^40 is a number in every precision, and any Ψ > 0 is sound


@one_lipschitz
class SandwichLinear(Layer):
    """x ↦ √2 Aᵀ Ψ σ(√2 Ψ⁻¹ B x + b) on (batch, in_features): an activation between two halves of an orthogonal matrix.

    Parameters: weight (out_features, out_features + in_features), whose Cayley transform is [A, B]; bias
    (out_features,); log_psi (out_features,), the logarithm of the diagonal of Ψ.
    activation: elementwise with slopes in [0, 1]; ReLU unless another is given.
    Raises InvalidInput and UnsupportedLayer. Source: Wang and Manchester, "Direct parameterization of Lipschitz-bounded
    deep networks" (ICML 2023), equation 12.
    """

    def __init__(self, in_features: int, out_features: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        check_widths(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(out_features, out_features + in_features)))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.log_psi = nn.Parameter(torch.zeros(out_features))
        self.set_activation(activation)

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        check_shape(self, shape, (self.in_features,))
        rows = len(self.weight)
        check_scales("log_psi", self.log_psi, rows)
        A, B = cayley(self.weight.double()).split([rows, self.in_features], dim=1)
        psi = self.log_psi.double().clamp(-WIDEST, WIDEST).exp()
        into = Dense((math.sqrt(2) * B / psi[:, None]).to(dtype), shape)
        out = Dense((math.sqrt(2) * A.T * psi).to(dtype), (rows,))
        rounding = 4 * rounding_of(rows + self.in_features, rows, dtype)
        return Chain((LinearMap.of(into, self.bias), self.activation, LinearMap.of(out)), rounding=rounding)
