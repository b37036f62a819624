"""A torch.nn.Sequential, read as the blocks of the theory: one linear map, one activation."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.activations import Activation, ClippedReLU, rule
from lliptools.nets.linear import LinearMap

__all__ = ["SUPPORTED", "Block", "check_input", "forward", "read_blocks"]

SUPPORTED = "Linear, Flatten, ReLU and lliptools.nets.ClippedReLU in a plain torch.nn.Sequential"


@dataclass(frozen=True, eq=False)
class Block:
    """One step of the network: h -> activation(linear(h)); no activation stands for the identity."""

    linear: LinearMap
    activation: Activation | None


def read_blocks(net: nn.Module, input_shape: torch.Size) -> tuple[Block, ...]:
    """The blocks of a network whose samples have shape input_shape (without the batch axis).

    Consecutive linear layers become one matrix, and the last block has no activation: a network that ends in one is
    followed by the identity, so that the outputs are always a linear map of hidden units. All is cast to float64.
    Raises UnsupportedLayer, naming the layer, for anything but the layers in SUPPORTED, and InvalidInput where
    shapes do not fit or a parameter is not finite.
    """
    _check_network(net)
    assert isinstance(net, nn.Sequential)
    blocks: list[Block] = []
    shape, device = tuple(input_shape), _device(net)
    linear: LinearMap | None = None
    for index, layer in enumerate(net):
        name = f"layer {index} ({type(layer).__name__})"
        _check_layer(layer, name)
        if type(layer) is nn.Flatten:
            shape = (int(torch.Size(shape).numel()),)
            continue
        if len(shape) != 1:
            raise _shape_error(name, shape)
        activation = rule(layer)
        if activation is None:
            assert isinstance(layer, nn.Linear)
            if layer.in_features != shape[0]:
                raise _width_error(name, layer, shape[0])
            read = LinearMap.of(layer)
            linear = read if linear is None else linear.then(read)
            shape = (layer.out_features,)
        else:
            _check_thresholds(activation, name, shape[0])
            blocks.append(Block(linear or LinearMap.identity(shape[0], device), activation.to(device)))
            linear = None
    if linear is None and not blocks:
        raise UnsupportedLayer(
            expected=f"at least one Linear or activation layer ({SUPPORTED})",
            got=f"a Sequential of {len(net)} layers without any",
            cause="an empty network",
            next_step="add a layer",
        )
    blocks.append(Block(linear or LinearMap.identity(shape[0], device), None))
    return tuple(blocks)


def check_input(net: nn.Module, x: Tensor) -> Tensor:
    """The batch x, checked and flattened to float64: (batch, *shape) -> (batch, features).

    Raises InvalidInput for anything but a non-empty batch of finite floating-point samples on the network's device.
    """
    _check_network(net)
    plain = isinstance(x, Tensor) and x.layout == torch.strided and not x.is_nested
    if not plain or not x.is_floating_point():
        got = (
            f"a {str(x.layout).removeprefix('torch.')} tensor of {x.dtype}"
            if isinstance(x, Tensor)
            else type(x).__name__
        )
        raise InvalidInput(
            expected="x as a floating-point torch tensor of shape (batch, *sample)",
            got=got,
            cause="an array, integer pixels, or a sparse or nested tensor",
            next_step="convert with torch.as_tensor(x, dtype=torch.float64), in the units the network was trained in",
        )
    if x.dim() < 2 or x.shape[0] == 0 or x[0].numel() == 0:
        raise InvalidInput(
            expected="x of shape (batch, *sample) with at least one sample",
            got=f"shape {tuple(x.shape)}",
            cause="a single point without its batch axis, or an empty selection",
            next_step="pass x[None] for a single point",
        )
    if x.device != _device(net):
        raise InvalidInput(
            expected=f"x on the network's device, {_device(net)}",
            got=f"x on {x.device}",
            cause="only one of the two was moved",
            next_step="x = x.to(next(net.parameters()).device)",
        )
    x = x.detach().flatten(1).double()
    if not x.isfinite().all():
        raise InvalidInput(
            expected="finite values in x",
            got=f"{int((~x.isfinite()).sum())} NaN or infinite values",
            cause="a failed preprocessing step, such as a division by a standard deviation of 0",
            next_step="find them with torch.nonzero(~x.isfinite())",
        )
    return x


def forward(blocks: tuple[Block, ...], h: Tensor) -> Tensor:
    """The network's output in float64: (batch, features) -> (batch, outputs)."""
    for block in blocks:
        h = block.linear.apply(h)
        if block.activation is not None:
            h = block.activation(h)
    return h


def _device(net: nn.Module) -> torch.device:
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))


def _check_network(net: nn.Module) -> None:
    tampered = isinstance(net, nn.Module) and _is_tampered(net)
    if type(net) is not nn.Sequential or tampered:
        raise UnsupportedLayer(
            expected=SUPPORTED,
            got=f"a network of type {type(net).__name__}" + (" with a forward hook" if tampered else ""),
            cause="a module with a forward method of its own, which cannot be read as a chain of layers",
            next_step="build the same function as torch.nn.Sequential, for example with lliptools.nets.mlp",
        )


def _is_tampered(module: nn.Module) -> bool:
    """Whether calling the module does more than its class says: hooks, or a forward method of the instance's own."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _check_layer(layer: nn.Module, name: str) -> None:
    known = rule(layer) is not None or type(layer) is nn.Linear or type(layer) is nn.Flatten
    hooked = _is_tampered(layer)
    if known and type(layer) is nn.Flatten:
        known = (layer.start_dim, layer.end_dim) == (1, -1)
        name += "" if known else f" with start_dim={layer.start_dim}, end_dim={layer.end_dim}"
    if not known or hooked:
        raise UnsupportedLayer(
            expected=SUPPORTED,
            got=name + (" with a forward hook" if known and hooked else ""),
            cause="no rule is known for what this layer computes",
            next_step="replace the layer by a supported one, or fold it into its neighbours",
        )
    tensors = dict([*layer.named_parameters(), *layer.named_buffers()])
    if isinstance(layer, nn.Linear):
        tensors = {"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias})
        if layer.weight.shape != (layer.out_features, layer.in_features):
            raise _width_error(name, layer, layer.weight.shape[-1])
    for which, parameter in tensors.items():
        if not parameter.is_floating_point() or not parameter.numel():
            raise InvalidInput(
                expected=f"real parameters, at least one, in {name}",
                got=f"`{which}` of shape {tuple(parameter.shape)} and {parameter.dtype}",
                cause="a layer without units, or a complex one",
                next_step="give every layer at least one unit and real weights",
            )
        broken = parameter.isnan() if type(layer) is ClippedReLU else ~parameter.isfinite()
        if broken.any():
            raise InvalidInput(
                expected=f"finite parameters in {name}",
                got=f"{int(broken.sum())} NaN or infinite values in `{which}`",
                cause="training that diverged",
                next_step="load an earlier checkpoint",
            )


def _check_thresholds(activation: Activation, name: str, units: int) -> None:
    shape = tuple(getattr(activation, "theta").shape)  # noqa: B009 - the base class has no theta
    if shape not in {(), (1,), (units,)}:
        raise InvalidInput(
            expected=f"theta of {name} of shape () or ({units},), one threshold for all units or one each",
            got=f"shape {shape}",
            cause="thresholds made for a layer of another width",
            next_step=f"ClippedReLU(torch.full(({units},), 1.0))",
        )


def _shape_error(name: str, shape: tuple[int, ...]) -> InvalidInput:
    return InvalidInput(
        expected=f"flat samples before {name}",
        got=f"samples of shape {shape}",
        cause="images given to a dense network that does not flatten them",
        next_step="put torch.nn.Flatten() first, or pass x.flatten(1)",
    )


def _width_error(name: str, layer: nn.Linear, got: int) -> InvalidInput:
    return InvalidInput(
        expected=f"samples of {layer.in_features} features before {name}",
        got=f"{got} features",
        cause="a point of another data set, or layers whose widths do not fit",
        next_step=f"pass x of shape (batch, {layer.in_features})",
    )
