"""What is bounded: networks, read as blocks of one linear map and one activation."""

from lliptools.nets.activations import Activation, Monotone
from lliptools.nets.architectures import cnn, fold, mlp
from lliptools.nets.blocks import Block, forward
from lliptools.nets.checks import check_input
from lliptools.nets.clips import Absolute, ClippedReLU
from lliptools.nets.designed import Chain, Designed, Guarantee
from lliptools.nets.linear import LinearMap
from lliptools.nets.modules import without_softmax
from lliptools.nets.network import read_blocks
from lliptools.nets.pairs import ClippedMaxMin, MaxMin
from lliptools.nets.programs import read_program
from lliptools.nets.registry import SUPPORTED
from lliptools.nets.steps import Entrywise, Residual
from lliptools.nets.zoo import available, load, provenance

__all__ = [
    "SUPPORTED",
    "Absolute",
    "Activation",
    "Block",
    "Chain",
    "ClippedMaxMin",
    "ClippedReLU",
    "Designed",
    "Entrywise",
    "Guarantee",
    "LinearMap",
    "MaxMin",
    "Monotone",
    "Residual",
    "available",
    "check_input",
    "cnn",
    "fold",
    "forward",
    "load",
    "mlp",
    "provenance",
    "read_blocks",
    "read_program",
    "without_softmax",
]
