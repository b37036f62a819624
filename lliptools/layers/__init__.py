"""1-Lipschitz by design: one condition T ⪰ WᵀW, one idea per file.

A guarantee, and every certificate that rests on it, is about the weights that the layer derives in float64.
"""

from lliptools.layers import condition
from lliptools.layers.aol import AOLConv2d, AOLLinear
from lliptools.layers.cpl import CPLConv2d, CPLLinear
from lliptools.layers.export import export
from lliptools.layers.isometries import PadChannels, ScaledAvgPool2d
from lliptools.layers.networks import lipschitz_cnn, lipschitz_mlp, sll_network
from lliptools.layers.norm import kernel_norm, matrix_norm
from lliptools.layers.orthogonal import BROLinear, CayleyConv2d, CayleyLinear, cayley
from lliptools.layers.sandwich import SandwichLinear
from lliptools.layers.sll import SLLConv2d, SLLLinear
from lliptools.layers.spectral import NormalizedLinear, SpectralConv2d, SpectralLinear

__all__ = [
    "AOLConv2d",
    "AOLLinear",
    "BROLinear",
    "CPLConv2d",
    "CPLLinear",
    "CayleyConv2d",
    "CayleyLinear",
    "NormalizedLinear",
    "PadChannels",
    "SLLConv2d",
    "SLLLinear",
    "SandwichLinear",
    "ScaledAvgPool2d",
    "SpectralConv2d",
    "SpectralLinear",
    "cayley",
    "condition",
    "export",
    "kernel_norm",
    "lipschitz_cnn",
    "lipschitz_mlp",
    "matrix_norm",
    "sll_network",
]
