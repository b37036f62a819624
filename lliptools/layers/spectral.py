"""Spectral normalisation by an upper bound of the norm, and rows of length 1."""

import math

import torch
from torch import Tensor

from lliptools.layers.bases import DenseMap, one_lipschitz
from lliptools.layers.condition import smallest
from lliptools.layers.images import ConvMap
from lliptools.layers.norm import over_norm
from lliptools.nets import Guarantee


@one_lipschitz
class SpectralLinear(DenseMap):
    """x ↦ W x/s + b on (batch, in_features), with s an upper bound of ‖W‖ found anew at every call.

    Parameters: weight (out_features, in_features), bias (out_features,). Raises InvalidInput.
    Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral normalization for generative adversarial networks" (ICLR 2018),
    there with power iteration, which falls below ‖W‖; here with a bound from above.
    """

    def matrix(self) -> Tensor:
        return over_norm(self.weight)


@one_lipschitz
class SpectralConv2d(ConvMap):
    """The convolution divided by an upper bound of its norm on images of every size.

    Parameters: weight (out_channels, in_channels, k, k), bias (out_channels,). padding_mode: as of AOLConv2d.
    Raises InvalidInput and UnsupportedLayer. Source: Miyato et al. (ICLR 2018), with layers.kernel_norm for the norm.
    """

    def kernel(self) -> Tensor:
        return over_norm(self.weight, 1 if self.circular else self.stride)


class NormalizedLinear(DenseMap):
    """x ↦ W' x + b with rows of length 1: the last layer of an LLN network.

    It is not 1-Lipschitz: it guarantees √out_features, and 2 for the difference of any two outputs. What certifies is
    the distance of the rows, min_j m_j/‖w_y − w_j‖, and Bound.pairwise uses it.
    Parameters: weight (out_features, in_features), bias (out_features,). Raises InvalidInput.
    Source: Singla, Singla, Feizi, "Improved deterministic l2 robustness on CIFAR-10 and CIFAR-100" (ICLR 2022).
    """

    def matrix(self) -> Tensor:
        """Every row over its length; a row of zeros stays 0."""
        weight = self.weight.double()
        largest = weight.detach().abs().amax(dim=1, keepdim=True)
        alive = largest > smallest(self.weight)
        unit = weight / torch.where(alive, largest, 1.0)
        # A row of zeros has a length of 1 put in its place: its gradient is finite, and so is that of the others.
        return unit / (unit.square().sum(dim=1, keepdim=True) + ~alive).sqrt()

    def where(self) -> str:
        return "on features; 1 for one output, 2 for the difference of two"

    def lipschitz_bound(self) -> Guarantee:
        """√out_features, the Frobenius norm of rows of length 1."""
        return self.guaranteed(math.sqrt(len(self.weight)))
