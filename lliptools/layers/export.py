"""The same function in torch's own layers, with the weights as they are now."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.layers.images import ConvResidual, Images
from lliptools.layers.isometries import ScaledAvgPool2d
from lliptools.layers.orthogonal import CayleyConv2d
from lliptools.nets import Chain, Designed, Residual
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Convolution, Dense, Shape, Transposed


@torch.no_grad()
def export(net: nn.Module, input_shape: tuple[int, ...] | None = None) -> nn.Module:
    """A copy of a network in which every layer of lliptools.layers is spelled out in plain torch layers.

    What was derived from the parameters at every call is derived once, so that the copy is as quick as plain layers
    are; it does not follow when the network is trained on. Residual layers become lliptools.nets.Residual, the one
    layer that torch has no name for. input_shape: (channels, height, width) of a sample, needed where the plain layer
    depends on it: by CayleyConv2d, and by residual convolutions whose stride is not 1.
    Raises InvalidInput where it is needed and missing, UnsupportedLayer for a layer inside a module of another kind.
    """
    if isinstance(net, Designed):
        return _plain(net, input_shape)
    if type(net) is nn.Sequential:
        layers, shape = [], input_shape
        for layer in net:
            layers.append(export(layer, shape))
            if shape is not None:
                shape = tuple(layer(_parameter(layer).new_zeros(1, *shape)).shape[1:])
        return _in_mode_of(net, nn.Sequential(*layers))
    if type(net) is Residual:
        shortcut = None if net.shortcut is None else export(net.shortcut, input_shape)
        return _in_mode_of(net, Residual(export(net.block, input_shape), shortcut))
    inside = next((type(part).__name__ for part in net.modules() if isinstance(part, Designed)), None)
    if inside is not None:
        got = f"{inside} inside {type(net).__name__}"
        cause = "a module with a forward method of its own, which cannot be taken apart"
        step = "export the layer by itself and put it in its place"
        raise UnsupportedLayer("layers of lliptools.layers in a torch.nn.Sequential", got, cause, step)
    return deepcopy(net)


def _in_mode_of(net: nn.Module, container: nn.Module) -> nn.Module:
    """The container in training or evaluation mode as the network; its parts, which may be frozen, keep their own."""
    container.training = net.training
    return container


def _plain(layer: Designed, input_shape: Shape | None) -> nn.Module:
    if isinstance(layer, ScaledAvgPool2d):  # sums over the side: the same for every number of channels
        return nn.AvgPool2d(layer.kernel_size, divisor_override=layer.kernel_size)
    parameter = _parameter(layer)
    shape = input_shape or _any_shape(layer)
    spelled: Chain = layer.chain(shape, parameter.dtype)
    parts: list[nn.Module] = []
    for step in spelled.steps:
        parts += _spelled(step) if isinstance(step, LinearMap) else [deepcopy(step)]
    whole = parts[0] if len(parts) == 1 else nn.Sequential(*parts)
    return (Residual(whole) if spelled.skip else whole).train(layer.training)


def _any_shape(layer: Designed) -> Shape:
    """A shape that the layer fits on, where the plain layers are the same for all."""
    if isinstance(layer, CayleyConv2d) or (isinstance(layer, ConvResidual) and layer.stride != 1):
        expected = f"input_shape, the shape (channels, height, width) of a sample, to export {type(layer).__name__}"
        why = "plain layers for it that differ from one image size to the next", "export(net, input_shape=x.shape[1:])"
        raise InvalidInput(expected, "None", *why)
    if isinstance(layer, Images):
        side = 2 * layer.kernel_size + layer.padding
        return layer.weight.shape[1], side, side
    if layer.axes == 3:
        return getattr(layer, "in_channels", 1), 64, 64
    return (int(getattr(layer, "in_features", getattr(layer, "features", 0))),)


def _parameter(layer: nn.Module) -> Tensor:
    """A tensor of the layer's precision, where the layer is."""
    return next(chain(layer.parameters(), layer.buffers()), torch.empty((), device="cpu"))


def _spelled(step: LinearMap) -> list[nn.Module]:
    (operator,), bias = step.operators, step.bias.flatten()
    if isinstance(operator, Dense):
        return [_filled(nn.Linear(operator.weight.shape[1], operator.weight.shape[0]), operator.weight, bias)]
    if isinstance(operator, Transposed):
        return _spelled_adjoint(operator, bias)
    assert isinstance(operator, Convolution)
    return _spelled_convolution(operator, bias)


def _spelled_convolution(operator: Convolution, bias: Tensor) -> list[nn.Module]:
    weight, groups = operator.weight, operator.groups
    (top, bottom), (left, right) = operator.pads
    sizes = weight.shape[1] * groups, len(weight), _pair(weight.shape[2:]), _pair(operator.stride)
    if (top, left) == (bottom, right):
        mode: Literal["circular", "zeros"] = "circular" if operator.circular else "zeros"
        return [_filled(nn.Conv2d(*sizes, (top, left), groups=groups, padding_mode=mode), weight, bias)]
    around = nn.CircularPad2d((left, right, top, bottom))
    return [around, _filled(nn.Conv2d(*sizes, groups=groups), weight, bias)]


def _spelled_adjoint(operator: Transposed, bias: Tensor) -> list[nn.Module]:
    """A transposed convolution; on a torus, zeros put between and behind, and a convolution with the kernel turned."""
    weight = operator.weight
    (channels, inner), kernel, stride = weight.shape[:2], _pair(weight.shape[2:]), _pair(operator.stride)
    before = [pads[0] for pads in operator.pads]
    between = [(m - 1) * s + 1 for m, s in zip(operator.in_shape[1:], stride, strict=True)]
    if not operator.circular:
        rest = [n + 2 * p - m - k + 1 for n, m, p, k in zip(operator.result[1:], between, before, kernel, strict=True)]
        transposed = nn.ConvTranspose2d(inner, channels, kernel, stride, _pair(before), _pair(rest))
        return [_filled(transposed, weight.transpose(0, 1), bias)]
    found: list[nn.Module] = []
    if stride != (1, 1):
        spread = nn.ConvTranspose2d(inner, inner, 1, stride, bias=False)
        ones = torch.eye(inner, dtype=weight.dtype, device=weight.device)
        found.append(_filled(spread, ones[:, :, None, None], None))
    missing = [n - m for n, m in zip(operator.result[1:], between, strict=True)]
    if any(missing):
        found.append(nn.ZeroPad2d((0, missing[1], 0, missing[0])))
    top, left = (k - 1 - p for k, p in zip(kernel, before, strict=True))
    turned = nn.Conv2d(inner, channels, kernel)
    return [*found, nn.CircularPad2d((left, before[1], top, before[0])), _filled(turned, weight.flip(2, 3), bias)]


def _pair(sizes: Sequence[int]) -> tuple[int, int]:
    height, width = sizes
    return height, width


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """The layer with these weights, and without a bias where it is 0 everywhere."""
    layer.weight = nn.Parameter(weight.clone(memory_format=torch.contiguous_format))
    there = bias is not None and bool(bias.any())
    layer.register_parameter("bias", nn.Parameter(bias.clone()) if there and bias is not None else None)
    return layer
