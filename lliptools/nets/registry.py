"""Every kind of layer that is read: how, what torch.export and ONNX call it, and which of its options are refused.

Messages and docs/supported.md are made from these tables. A new activation is one class and one row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from lliptools.nets import readers
from lliptools.nets.activations import Activation, Monotone
from lliptools.nets.checked import Checked
from lliptools.nets.clips import Absolute, Clip, ClippedReLU, Hardtanh, LeakyReLU
from lliptools.nets.gated import GELU, Hardswish, Mish, SiLU, TanhGELU
from lliptools.nets.pairs import ClippedMaxMin, MaxMin
from lliptools.nets.pooling import MaxPool
from lliptools.nets.smooth import ELU, Sigmoid, Softplus, Softsign, Tanh
from lliptools.nets.steps import Entrywise, Residual

UNKNOWN = "no rule is known for it"
NO_NUMBER = "a number for which no rule is known", "build it with its default, or with a number in that range"
REPLACE = "replace it by a layer that is read"


class Refusal(NamedTuple):
    """An option that is not read: a test of the layer, and what the error says; said: for str.format(layer)."""

    wrong: Callable[[Any], bool] = bool
    said: str = ""
    reason: str = UNKNOWN
    step: str = REPLACE


@dataclass(frozen=True)
class Reading:
    """How a kind of layer is read.

    read: layer -> Activation; of a linear layer (layer, name, shape, dtype) -> LinearMap, or the new shape alone.
    functions: operations of torch.ops.aten in a program of torch.export; onnx: operators of ONNX; with spaces between.
    """

    read: Callable[..., Any]
    functions: str = ""
    onnx: str = ""
    refusals: tuple[Refusal, ...] = ()


def _number(name: str, asked: str, holds: Callable[[Any], bool]) -> Refusal:
    """A number that a layer was built with, which has to be finite and as asked."""
    return Refusal(
        lambda layer: not (holds(layer) and -math.inf < getattr(layer, name) < math.inf),
        f" with {name}={{0.{name}}}, not {asked}",
        *NO_NUMBER,
    )


def _positive(name: str) -> Refusal:
    return _number(name, "> 0", lambda layer: getattr(layer, name) > 0)


def _option(name: str, reason: str, step: str, *read: Any) -> Refusal:
    """An option of a layer that has to be one of those that are read."""
    return Refusal(lambda layer: getattr(layer, name) not in read, f" with {name}={{0.{name}!r}}", reason, step)


def _pool(layer: Any, axes: int) -> MaxPool:
    sizes = (layer.kernel_size, layer.stride or layer.kernel_size, layer.padding, layer.dilation)
    kernel, stride, padding, dilation = (readers.both(size)[:axes] for size in sizes)
    return MaxPool(kernel, stride, padding, dilation)


def _same(layer: Any) -> Any:
    return layer


ENDS = (
    _number("min_val", "below max_val", lambda layer: layer.min_val < layer.max_val),
    _number("max_val", "above min_val", lambda layer: layer.max_val > layer.min_val),
)
# Beyond its threshold torch turns to z itself; below 20 that is a large jump, and e^710 overflows before it.
JUMP = _number("threshold", "from 20 to 700", lambda layer: 20 <= layer.threshold <= 700)
WIDE = Refusal(
    lambda layer: any(2 * p > k for k, p in zip(*map(readers.both, (layer.kernel_size, layer.padding)), strict=False)),
    " with padding={0.padding}, not at most half the kernel",
    *NO_NUMBER,
)
POOLS = (
    _option("ceil_mode", "windows that reach beyond the edge", "pad the images before it, without ceil_mode", False),
    _option("return_indices", "an output that is no number but a place", "use return_indices=False", False),
    WIDE,
)
GELUS = {"none": GELU, "tanh": TanhGELU}
APPROXIMATE = _option("approximate", UNKNOWN, REPLACE, *GELUS)
SELU = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
CLAMPS = "clamp.default clamp.Tensor clamp_min.default clamp_min.Tensor clamp_max.default clamp_max.Tensor"
HALVES = "split.Tensor split_with_sizes.default maximum.default minimum.default cat.default"

ACTIVATIONS: dict[type[nn.Module], Reading] = {
    nn.ReLU: Reading(lambda layer: Hardtanh(0.0, math.inf), "relu.default", "Relu"),
    nn.LeakyReLU: Reading(
        lambda layer: LeakyReLU(layer.negative_slope) if layer.negative_slope else Hardtanh(0.0, math.inf),
        "leaky_relu.default",
        "LeakyRelu",
        (_number("negative_slope", ">= 0", lambda layer: layer.negative_slope >= 0),),
    ),
    nn.PReLU: Reading(lambda layer: LeakyReLU(layer.weight), "prelu.default", "PRelu"),
    Absolute: Reading(_same, "abs.default", "Abs"),
    nn.ReLU6: Reading(lambda layer: Hardtanh(layer.min_val, layer.max_val), "relu6.default", "Clip", ENDS),
    nn.Hardtanh: Reading(lambda layer: Hardtanh(layer.min_val, layer.max_val), "hardtanh.default", "Clip", ENDS),
    nn.Tanh: Reading(lambda layer: Tanh(), "tanh.default", "Tanh"),
    nn.Sigmoid: Reading(lambda layer: Sigmoid(), "sigmoid.default", "Sigmoid"),
    nn.Softplus: Reading(
        lambda layer: Softplus(layer.beta, layer.threshold), "softplus.default", "Softplus", (_positive("beta"), JUMP)
    ),
    nn.ELU: Reading(lambda layer: ELU(layer.alpha), "elu.default", "Elu", (_positive("alpha"),)),
    nn.MaxPool1d: Reading(lambda layer: _pool(layer, 1), "max_pool1d.default", "MaxPool", POOLS),
    nn.MaxPool2d: Reading(lambda layer: _pool(layer, 2), "max_pool2d.default", "MaxPool", POOLS),
    nn.SELU: Reading(lambda layer: ELU(*SELU), "selu.default", "Selu"),
    nn.Softsign: Reading(lambda layer: Softsign(), onnx="Softsign Abs Add Div"),
    nn.GELU: Reading(lambda layer: GELUS.get(layer.approximate, GELU)(), "gelu.default", "Gelu", (APPROXIMATE,)),
    nn.SiLU: Reading(lambda layer: SiLU(), "silu.default", "Sigmoid Mul"),
    nn.Mish: Reading(lambda layer: Mish(), "mish.default", "Mish"),
    nn.Hardswish: Reading(lambda layer: Hardswish(), "hardswish.default", "HardSwish"),
    ClippedReLU: Reading(_same, f"{CLAMPS} maximum.default minimum.default", "Clip Max Min"),
    MaxMin: Reading(_same, HALVES, "Split Max Min Concat"),
    ClippedMaxMin: Reading(_same, f"{HALVES} {CLAMPS}", "Split Max Min Clip Concat"),
}
OWN = {Absolute, ClippedReLU, MaxMin, ClippedMaxMin}

TRAINING = Refusal(
    lambda layer: layer.training, " in training mode", "it changes from batch to batch then", "call net.eval() first"
)
BY_BATCH = "it normalises by the batch it is given", "build it with track_running_stats=True"
STATISTICS = (
    TRAINING,
    Refusal(lambda it: it.running_mean is None, " without running statistics", *BY_BATCH),
    _positive("eps"),
)
MOVES = (
    "permute.default transpose.int t.default slice.Tensor select.int narrow.default split.Tensor "
    "split_with_sizes.default unbind.int index_select.default index.Tensor flip.default roll.default expand.default "
    "repeat.default unsqueeze.default squeeze.dim squeeze.dims squeeze.default stack.default cat.default chunk.default "
    "pixel_shuffle.default channel_shuffle.default upsample_nearest2d.vec constant_pad_nd.default pad.default"
)
ARITHMETIC = "add.Tensor sub.Tensor rsub.Scalar mul.Tensor div.Tensor neg.default"
PRODUCTS = "matmul.default mm.default addmm.default bmm.default einsum.default sum.dim_IntList mean.dim cumsum.default"
MOVES_OF_ONNX = "Transpose Slice Gather Split Concat Expand Tile Unsqueeze Squeeze Pad Add Sub Mul Div Neg Sum"
MEMORY = "alias.default clone.default contiguous.default detach.default"
NORMALISE = "_native_batch_norm_legit_no_training.default"
RESHAPED = "view.default _unsafe_view.default reshape.default flatten.using_ints unflatten.int"
GROUPS = _option("groups", "transposed convolutions in groups", REPLACE, 1)
VALUE = _option("value", "a padding that is not zero, which adds a bias", "use value=0", 0)
NEAREST = _option("mode", "no rule is known for means of neighbours", 'use mode="nearest"', "nearest")
UPSAMPLE = "upsample_nearest1d.vec upsample_nearest2d.vec"
FIRST = _option("start_dim", UNKNOWN, REPLACE, 1)
LAST = _option("end_dim", UNKNOWN, REPLACE, -1)
PADDING = Reading(readers.read_selection, "pad.default", "Pad")
ZEROS = Reading(readers.read_selection, "pad.default", "Pad", (VALUE,))

LINEAR: dict[type[nn.Module], Reading] = {
    nn.Linear: Reading(readers.read_dense, f"linear.default {PRODUCTS}", "Gemm MatMul Add ReduceSum ReduceMean"),
    nn.Conv1d: Reading(readers.read_convolution, "conv1d.default conv1d.padding", "Conv"),
    nn.Conv2d: Reading(readers.read_convolution, "conv2d.default conv2d.padding", "Conv"),
    nn.ConvTranspose2d: Reading(readers.read_transposed, "conv_transpose2d.input", "ConvTranspose", (GROUPS,)),
    nn.AvgPool2d: Reading(readers.read_average, "avg_pool2d.default", "AveragePool", (WIDE,)),
    nn.AvgPool1d: Reading(readers.read_average, "avg_pool1d.default", "AveragePool", (WIDE,)),
    nn.AdaptiveAvgPool1d: Reading(readers.read_means, "adaptive_avg_pool1d.default", "GlobalAveragePool ReduceMean"),
    nn.AdaptiveAvgPool2d: Reading(
        readers.read_means, "adaptive_avg_pool2d.default mean.dim", "GlobalAveragePool ReduceMean"
    ),
    Entrywise: Reading(readers.read_entrywise, f"{MOVES} {ARITHMETIC}", MOVES_OF_ONNX),
    nn.BatchNorm1d: Reading(readers.read_normalisation, NORMALISE, "BatchNormalization", STATISTICS),
    nn.BatchNorm2d: Reading(readers.read_normalisation, NORMALISE, "BatchNormalization", STATISTICS),
    nn.ZeroPad2d: ZEROS,
    **dict.fromkeys((nn.CircularPad2d, nn.ReflectionPad1d, nn.ReflectionPad2d), PADDING),
    **dict.fromkeys((nn.ReplicationPad1d, nn.ReplicationPad2d), PADDING),
    nn.ZeroPad1d: ZEROS,
    nn.CircularPad1d: PADDING,
    nn.Upsample: Reading(readers.read_selection, UPSAMPLE, "Resize", (NEAREST,)),
    nn.PixelShuffle: Reading(readers.read_selection, "pixel_shuffle.default", "DepthToSpace"),
    nn.PixelUnshuffle: Reading(readers.read_selection, "pixel_unshuffle.default", "SpaceToDepth"),
    nn.Flatten: Reading(readers.read_shape, RESHAPED, "Flatten Reshape", (FIRST, LAST)),
    nn.Unflatten: Reading(readers.read_shape, "view.default", "Reshape", (_option("dim", UNKNOWN, REPLACE, 1),)),
    nn.Identity: Reading(readers.read_unchanged, MEMORY, "Identity"),
    **dict.fromkeys(
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d), Reading(readers.read_unchanged, "", "Dropout", (TRAINING,))
    ),
}
# What holds other layers: read layer by layer.
CONTAINERS: dict[type[nn.Module], Reading] = {
    nn.Sequential: Reading(_same),
    Residual: Reading(_same, "add.Tensor", "Add"),
}


def _names(table: dict[type[nn.Module], Reading]) -> str:
    return ", ".join(
        f"{'' if kind.__module__.startswith('torch') else 'lliptools.nets.'}{kind.__name__}" for kind in table
    )


READABLE = "what docs/supported.md lists"
SUPPORTED = (
    f"a torch.nn.Sequential of {_names(LINEAR)}, {_names(CONTAINERS)}, the layers of lliptools.layers, and the "
    f"activations {_names(ACTIVATIONS)}"
)
DEFINED = ("forward", "slopes", "image", "pieces")


def read_activation(layer: nn.Module) -> Activation | None:
    """The activation as which the bounds read a layer, or None where there is none.

    A class that derives from an activation and changes what it computes must say its slopes, image and pieces anew:
    one that redefines forward alone is not read, and neither is an object of which a method was replaced.
    """
    kind = type(layer)
    if kind in ACTIVATIONS and kind not in OWN:
        return ACTIVATIONS[kind].read(layer)
    if not isinstance(layer, Activation) or any(callable(getattr(kind, name, None)) for name in vars(layer)):
        return None
    if kind in OWN:
        return layer
    if not isinstance(layer, Absolute | Clip | MaxMin | Checked):
        owner = {name: next(c for c in kind.__mro__ if name in vars(c)) for name in DEFINED}
        forward = owner["forward"]
        general = {forward, Monotone, Activation}
        if owner["slopes"] is forward is not Activation and owner["image"] in general and owner["pieces"] in general:
            return Checked(layer)
    return None
