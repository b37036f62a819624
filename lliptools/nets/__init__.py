"""What is bounded: networks, read as blocks of one linear map and one activation."""

from lliptools.nets.activations import Activation, ClippedReLU
from lliptools.nets.architectures import fold, mlp
from lliptools.nets.blocks import SUPPORTED, Block, check_input, forward, read_blocks
from lliptools.nets.linear import LinearMap
from lliptools.nets.zoo import available, load, provenance

__all__ = [
    "SUPPORTED",
    "Activation",
    "Block",
    "ClippedReLU",
    "LinearMap",
    "available",
    "check_input",
    "fold",
    "forward",
    "load",
    "mlp",
    "provenance",
    "read_blocks",
]
