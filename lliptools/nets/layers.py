"""torch's linear layers, read as operators, and every reason to refuse one."""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.linear import UNIT
from lliptools.nets.operators import Convolution, Dense, Operator, Scale, Shape
from lliptools.nets.residual import Residual
from lliptools.nets.rules import rule

__all__ = ["SUPPORTED", "Affine", "check_layer", "is_tampered", "read_affine"]

SUPPORTED = (
    "a torch.nn.Sequential of Linear, Conv1d, Conv2d, AvgPool2d, AdaptiveAvgPool2d(1), BatchNorm1d, BatchNorm2d, "
    "Flatten, Unflatten, Identity, Dropout, Sequential, lliptools.nets.Residual, and the activations ReLU, LeakyReLU, "
    "ReLU6, Hardtanh, Tanh, Sigmoid, Softplus, ELU, and ClippedReLU, MaxMin, ClippedMaxMin of lliptools.nets"
)
UNCHANGED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
RESHAPING = (nn.Flatten, nn.Unflatten)
NORMALISING = (nn.BatchNorm1d, nn.BatchNorm2d)
LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, *NORMALISING)
ENDLESS = (float("inf"), -float("inf"))
KNOWN = {*UNCHANGED, *RESHAPING, *LINEAR, nn.Sequential, Residual}


@dataclass(frozen=True, eq=False)
class Affine:
    """What a linear layer does: an operator, a bias, and how far rounding may have moved them from the layer's own.

    rounded: of the entries, in relation to their size. bias_error: of the bias, absolute.
    """

    operator: Operator
    bias: Tensor
    rounded: float = 0.0
    bias_error: Tensor | float = 0.0


def read_affine(layer: nn.Module, name: str, shape: Shape, dtype: torch.dtype) -> Affine | Shape:
    """The layer on samples of a shape: what it does, or the new shape where it does nothing but reshape."""
    if isinstance(layer, UNCHANGED):
        return shape
    if isinstance(layer, RESHAPING):
        return tuple(_fit(layer, torch.empty(1, *shape), name).shape[1:])
    if isinstance(layer, nn.Linear):
        if len(shape) != 1:
            raise _not_flat(name, shape)
        if layer.in_features != shape[0]:
            raise _other_width(name, layer.in_features, shape[0])
        return _with_bias(Dense(_copied(layer.weight, dtype), shape), layer.bias)
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return _convolution(layer, name, shape, dtype)
    if isinstance(layer, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
        return _average(layer, name, shape, dtype)
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    return _normalisation(layer, name, shape, dtype)


def _convolution(layer: nn.Conv1d | nn.Conv2d, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    kernel, dilation = layer.kernel_size, layer.dilation
    _check_images(name, shape, len(kernel), layer.in_channels)
    if layer.padding == "same":
        # torch puts the odd one after.
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = tuple((total // 2, total - total // 2) for total in totals)
    elif layer.padding == "valid":
        pads = tuple((0, 0) for _ in kernel)
    else:
        pads = tuple((int(width), int(width)) for width in layer.padding)
    circular = layer.padding_mode == "circular" and any(sum(widths) for widths in pads)
    operator = Convolution(_copied(layer.weight, dtype), shape, layer.stride, dilation, pads, layer.groups, circular)
    too_small = min(operator.out_shape[1:]) < 1
    if too_small or (circular and any(max(w) > n for w, n in zip(pads, shape[1:], strict=True))):
        raise InvalidInput(
            expected=f"samples that {name} with a kernel of {kernel} and padding {pads} fits on",
            got=f"shape {shape}",
            cause="images of another data set, or one layer too many that shrinks them",
            next_step="check the image size at which the network was trained",
        )
    return _with_bias(operator, layer.bias)


def _average(layer: nn.AvgPool2d | nn.AdaptiveAvgPool2d, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    _check_images(name, shape, 2, shape[0])
    kernel: Shape = shape[1:]
    stride: Shape = shape[1:]
    padding: Shape = (0, 0)
    if isinstance(layer, nn.AvgPool2d):
        kernel, padding = _both(layer.kernel_size), _both(layer.padding)
        stride = _both(layer.stride)
        padded = any(padding) and not layer.count_include_pad
        if layer.ceil_mode or layer.divisor_override or padded:
            raise UnsupportedLayer(
                expected="AvgPool2d with ceil_mode=False, count_include_pad=True and no divisor_override",
                got=f"{name}: {layer}",
                cause="averages that divide by another number at the border",
                next_step="pad the images explicitly, or choose a window that divides their size",
            )
    weight = torch.full((shape[0], 1, *kernel), 1 / prod(kernel), dtype=dtype)
    pads = tuple((width, width) for width in padding)
    operator = Convolution(weight, shape, stride, (1, 1), pads, shape[0])
    if min(operator.out_shape[1:]) < 1:
        raise InvalidInput(
            expected=f"images of at least {kernel} for {name}",
            got=f"shape {shape}",
            cause="one layer too many that shrinks them",
            next_step="leave the pooling out, or pass larger images",
        )
    return Affine(operator, weight.new_zeros(()), UNIT)


def _normalisation(layer: nn.BatchNorm1d | nn.BatchNorm2d, name: str, shape: Shape, dtype: torch.dtype) -> Affine:
    axes = {1, 2} if isinstance(layer, nn.BatchNorm1d) else {3}
    if len(shape) not in axes or shape[0] != layer.num_features:
        raise _other_width(name, layer.num_features, shape[0])
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None
    assert variance is not None
    factor = (variance.detach().double() + layer.eps).rsqrt()
    shift = -mean.detach().double() * factor
    if layer.weight is not None:
        factor, shift = factor * _copied(layer.weight, torch.float64), shift * _copied(layer.weight, torch.float64)
    size = shift.detach().abs()
    if layer.bias is not None:
        shift = shift + _copied(layer.bias, torch.float64)
        size = size + layer.bias.detach().double().abs()
    if not (factor.isfinite().all() and shift.isfinite().all()):
        raise InvalidInput(
            expected=f"statistics that {name} can normalise by",
            got="a factor or shift that is not finite",
            cause="a variance next to 0, or weights that have exploded",
            next_step="look at its running_var and weight",
        )
    wide = (-1, *[1] * (len(shape) - 1))
    return Affine(
        Scale(factor.to(dtype), shape), shift.to(dtype).view(wide), 8 * UNIT, (8 * UNIT * size).to(dtype).view(wide)
    )


def _with_bias(operator: Operator, bias: Tensor | None) -> Affine:
    if bias is None:
        return Affine(operator, operator.weight.new_zeros(()))
    return Affine(operator, _copied(bias, operator.weight.dtype).view(-1, *[1] * (len(operator.out_shape) - 1)))


def _copied(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """Copies: what was found of the network must not change when the network is trained on."""
    return (parameter if torch.is_grad_enabled() else parameter.detach()).to(dtype, copy=True)


def _both(size: Any) -> Shape:
    sizes = (size, size) if isinstance(size, int) else tuple(size or ())
    return sizes * 2 if len(sizes) == 1 else sizes


def is_tampered(module: nn.Module) -> bool:
    """Whether calling the module does more than its class says: by hooks, its own or for all, or by its own forward."""
    own = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return bool(own or nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks)


def check_layer(layer: nn.Module, name: str) -> None:
    """Raise UnsupportedLayer or InvalidInput, naming the layer, for one that cannot be read whatever comes in."""
    found = type(layer) in KNOWN or rule(layer) is not None
    reason = "no rule is known for what this layer computes"
    step = "replace the layer by a supported one, or fold it into its neighbours"
    said = name
    if found and is_tampered(layer):
        found, said = False, f"{name} with a forward hook"
    elif isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
        found, said = False, f"{name} with start_dim={layer.start_dim}, end_dim={layer.end_dim}"
    elif isinstance(layer, nn.Unflatten) and layer.dim != 1:
        found, said = False, f"{name} with dim={layer.dim}"
    elif isinstance(layer, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, *NORMALISING)) and layer.training:
        found, said, reason = False, f"{name} in training mode", "in training mode it changes from batch to batch"
        step = "call net.eval() first"
    elif isinstance(layer, NORMALISING) and layer.running_mean is None:
        found, said, reason = False, f"{name} without running statistics", "it normalises by the batch it is given"
        step = "build it with track_running_stats=True"
    elif isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.padding_mode not in {"zeros", "circular"}:
        found, said = False, f"{name} with padding_mode={layer.padding_mode!r}"
        reason, step = "a padding that repeats pixels, which raises the norm", 'use padding_mode="zeros" or "circular"'
    elif isinstance(layer, nn.AdaptiveAvgPool2d) and _both(layer.output_size) != (1, 1):
        found, said = False, f"{name} with output_size={layer.output_size}"
        reason, step = "windows of different sizes", "use AvgPool2d, or AdaptiveAvgPool2d(1)"
    elif (wrong := _wrong_number(layer)) is not None:
        found, said, reason = False, f"{name} with {wrong}", "a number for which no rule is known to hold"
        step = "build the layer with its default, or with a finite number in the range that is asked for"
    if not found:
        raise UnsupportedLayer(expected=SUPPORTED, got=said, cause=reason, next_step=step)
    if not isinstance(layer, nn.Sequential | Residual):
        _check_tensors(layer, name)


def _wrong_number(layer: nn.Module) -> str | None:
    """A number that a layer was built with and that its rule does not cover, with what is asked for instead."""
    checks: dict[str, tuple[float, bool, str]] = {}
    if isinstance(layer, nn.LeakyReLU):
        checks["negative_slope"] = (layer.negative_slope, layer.negative_slope >= 0, ">= 0")
    elif isinstance(layer, nn.ELU):
        checks["alpha"] = (layer.alpha, layer.alpha > 0, "> 0")
    elif isinstance(layer, nn.Softplus):
        checks["beta"] = (layer.beta, layer.beta > 0, "> 0")
        # Beyond its threshold torch turns to z itself; below 20 that is a jump which is not small.
        checks["threshold"] = (layer.threshold, layer.threshold >= 20, ">= 20")
    elif isinstance(layer, nn.Hardtanh) and type(layer) is nn.Hardtanh:
        checks["min_val"] = (layer.min_val, layer.min_val < layer.max_val, "below max_val")
        checks["max_val"] = (layer.max_val, layer.max_val > layer.min_val, "above min_val")
    elif isinstance(layer, NORMALISING):
        checks["eps"] = (layer.eps, layer.eps > 0, "> 0")
    elif isinstance(layer, nn.AvgPool2d):
        for kernel, padding in zip(_both(layer.kernel_size), _both(layer.padding), strict=False):
            checks["padding"] = (padding, 2 * padding <= kernel, "at most half the kernel")
    for what, (value, holds, asked) in checks.items():
        if not holds or value in ENDLESS:
            return f"{what}={value}, not {asked}"
    return None


def _check_tensors(layer: nn.Module, name: str) -> None:
    tensors = dict([*layer.named_parameters(), *layer.named_buffers()])
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
        tensors = {"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias})
    if isinstance(layer, nn.Linear) and layer.weight.shape != (layer.out_features, layer.in_features):
        raise _other_width(name, layer.in_features, layer.weight.shape[-1])
    for which, parameter in tensors.items():
        if which == "num_batches_tracked":
            continue
        if not parameter.is_floating_point() or not parameter.numel():
            raise InvalidInput(
                expected=f"real parameters, at least one, in {name}",
                got=f"`{which}` of shape {tuple(parameter.shape)} and {parameter.dtype}",
                cause="a layer without units, or a complex one",
                next_step="give every layer at least one unit and real weights",
            )
        negative = which == "running_var" and (parameter < 0).any()
        # A threshold may be infinite, which clips nothing.
        broken = ~parameter.isfinite() if isinstance(layer, LINEAR) else parameter.isnan()
        if broken.any() or negative:
            raise InvalidInput(
                expected=f"finite parameters in {name}",
                got=f"{int(broken.sum())} NaN or infinite values in `{which}`"
                if not negative
                else "a variance below 0",
                cause="training that diverged",
                next_step="load an earlier checkpoint",
            )


def _fit(layer: nn.Module, sample: Tensor, name: str) -> Tensor:
    try:
        return layer(sample)
    except RuntimeError as error:
        raise InvalidInput(
            expected=f"samples that {name} can reshape: {layer}",
            got=f"shape {tuple(sample.shape[1:])}",
            cause="samples of another size",
            next_step="check the shape that comes out of the layer before it",
        ) from error


def _check_images(name: str, shape: Shape, axes: int, channels: int) -> None:
    if len(shape) != axes + 1 or shape[0] != channels:
        raise InvalidInput(
            expected=f"samples of shape ({channels}, {', '.join(['size'] * axes)}) before {name}",
            got=f"shape {shape}",
            cause="flat samples given to a convolution, or images with another number of channels",
            next_step="put torch.nn.Unflatten(1, …) before it, or pass x with its channel axis",
        )


def _not_flat(name: str, shape: Shape) -> InvalidInput:
    return InvalidInput(
        expected=f"flat samples before {name}",
        got=f"samples of shape {shape}",
        cause="images given to a dense network that does not flatten them",
        next_step="put torch.nn.Flatten() first, or pass x.flatten(1)",
    )


def _other_width(name: str, wanted: int, got: int) -> InvalidInput:
    return InvalidInput(
        expected=f"samples of {wanted} features before {name}",
        got=f"{got} features",
        cause="a point of another data set, or layers whose widths do not fit",
        next_step=f"pass x of shape (batch, {wanted})",
    )
