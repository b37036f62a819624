"""A torch.nn.Sequential, read as the blocks of the theory: one linear map, one activation."""

import math
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.activations import Activation
from lliptools.nets.designed import Designed
from lliptools.nets.layers import changes_input, check_layer, is_tampered
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Shape
from lliptools.nets.process import check_process
from lliptools.nets.registry import LINEAR, SUPPORTED, read_activation
from lliptools.nets.residual import Residual

__all__ = ["NO_FLOAT64", "Block", "check_input", "forward", "home", "read_blocks"]

NO_FLOAT64 = ("mps",)  # devices, by type

POINTS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # each a float64 without rounding


@dataclass(frozen=True, eq=False)
class Block:
    """One step of the network: h -> activation(linear(h)); no activation stands for the identity.

    A residual step is h -> h + inner(h), with the identity as its linear map; without skip it is h -> inner(h).
    lipschitz, lipschitz_error: the constant of the step that its layer vouches for, as of LinearMap.
    """

    linear: LinearMap
    activation: Activation | None
    inner: tuple["Block", ...] = ()
    skip: bool = True
    lipschitz: float = math.inf
    lipschitz_error: float = 0.0


@dataclass
class _Reader:
    """What has been read so far: whole blocks, and the linear map that waits for its activation."""

    dtype: torch.dtype
    device: torch.device
    shape: Shape
    values: bool
    linear: LinearMap | None = None
    blocks: list[Block] = field(default_factory=list)

    def nothing(self) -> LinearMap:
        return LinearMap.identity(self.shape, torch.empty((), dtype=self.dtype, device=self.device))

    def read(self, layer: nn.Module, name: str) -> None:
        activation = read_activation(layer)
        if activation is not None:
            activation.check_shape(name, self.shape)
            if not torch.is_grad_enabled():  # later training must not change what was read
                activation = deepcopy(activation)
            self.blocks.append(Block(self.linear or self.nothing(), activation.to(self.device)))
            self.linear = None
        elif isinstance(layer, Residual):
            self.read_residual(layer, name)
        elif isinstance(layer, Designed):
            self.read_designed(layer, name)
        else:
            found = LINEAR[type(layer)].read(layer, name, self.shape, self.dtype)
            if isinstance(found, LinearMap):
                self.append(found)
            else:
                before = self.linear or self.nothing()
                self.shape = found
                self.linear = before.reshaped(found) if self.linear or self.shape != before.out_shape else None

    def append(self, layer: LinearMap) -> None:
        self.linear = (self.linear or self.nothing()).then(layer.to(self.device))
        self.shape = layer.out_shape

    def finish_linear(self) -> None:
        if self.linear is not None:
            self.blocks.append(Block(self.linear, None))
            self.linear = None

    def read_designed(self, layer: Designed, name: str) -> None:
        promise = float(layer.lipschitz_bound())
        chain = layer.chain(self.shape, self.dtype)
        # Copies, as of torch's layers: what was read must not change when the layer is trained on.
        steps = (step.to(self.device, copy=True) if isinstance(step, LinearMap) else step for step in chain.steps)
        chain = replace(chain, steps=tuple(steps))
        _check_input_kept(chain.steps, name)
        first = chain.steps[0]
        if len(chain.steps) == 1 and isinstance(first, LinearMap) and not chain.skip:
            self.append(replace(first, lipschitz=promise, lipschitz_error=chain.rounding))
            return
        self.finish_linear()
        inner = _Reader(self.dtype, self.device, self.shape, self.values)
        for step in chain.steps:
            if isinstance(step, LinearMap):
                inner.append(step)
            else:
                check_layer(step, f"{type(step).__name__} in {name}", values=self.values)
                inner.read(step, f"{type(step).__name__} in {name}")
        block = Block(self.nothing(), None, inner.finished(), chain.skip, promise, chain.rounding)
        self.blocks.append(block)
        self.shape = inner.shape

    def read_residual(self, layer: Residual, name: str) -> None:
        self.finish_linear()
        inner = _Reader(self.dtype, self.device, self.shape, self.values)
        _check_network(layer.block, f"the block of {name}")
        _check_input_kept(layer.block, name)
        for at, part in _layers(layer.block, self.values, f"{name} > "):
            inner.read(part, at)
        if inner.shape != self.shape:
            raise InvalidInput(
                expected=f"a block that keeps the shape {self.shape} of its samples in {name}",
                got=f"outputs of shape {inner.shape}",
                cause="a stride, or another number of channels, inside a residual layer",
                next_step="make the block's last layer as wide as its first layer's input",
            )
        self.blocks.append(Block(self.nothing(), None, inner.finished()))

    def finished(self) -> tuple[Block, ...]:
        return (*self.blocks, Block(self.linear or self.nothing(), None))


def read_blocks(
    net: nn.Module, input_shape: torch.Size, dtype: torch.dtype = torch.float64, *, values: bool = True
) -> tuple[Block, ...]:
    """The blocks of a network whose samples have shape input_shape (without the batch axis), in the given precision.

    Consecutive linear layers become one map, and the last block has no activation: a network that ends in one is
    followed by the identity, so that the outputs are always a linear map of hidden units.
    Raises UnsupportedLayer, naming the layer, for anything but the layers in SUPPORTED, and InvalidInput where
    shapes do not fit or a parameter is not finite. values=False leaves out the last, for training only.
    A network on a device without float64 is read on the CPU, in that precision.
    """
    _check_network(net, "the network")
    if dtype == torch.float64 and home(_device(net)) != _device(net):
        net = deepcopy(net).to(home(_device(net)))
    reader = _Reader(dtype, _device(net), tuple(input_shape), values)
    for name, layer in _layers(net, values):
        reader.read(layer, name)
    if len(reader.shape) > 1:  # the outputs are one vector
        reader.linear = (reader.linear or reader.nothing()).reshaped((prod(reader.shape),))
    blocks = reader.finished()
    if len(blocks) == 1 and not blocks[0].linear.operators:
        raise UnsupportedLayer(
            expected=f"at least one linear layer or activation ({SUPPORTED})",
            got="a Sequential without any",
            cause="an empty network",
            next_step="add a layer",
        )
    return blocks


def _layers(net: nn.Module, values: bool, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every layer with its place, those of a nested Sequential included, in order."""
    assert isinstance(net, nn.Sequential)
    for index, layer in enumerate(net):
        name = f"layer {prefix}{index} ({type(layer).__name__})"
        check_layer(layer, name, values=values)
        if type(layer) is nn.Sequential:
            yield from _layers(layer, values, f"{prefix}{index} > ")
        else:
            yield name, layer


def check_input(net: nn.Module, x: Tensor) -> Tensor:
    """The batch x, checked and flattened to float64: (batch, *shape) -> (batch, features).

    Raises InvalidInput for anything but a non-empty batch of finite floating-point samples on the network's device,
    and in a process that does not compute as the theorems ask (process.check_process).
    """
    check_process()
    _check_network(net)
    plain = isinstance(x, Tensor) and x.layout == torch.strided and not x.is_nested
    if not plain or x.dtype not in POINTS:
        got = (
            f"a {str(x.layout).removeprefix('torch.')} tensor of {x.dtype}"
            if isinstance(x, Tensor)
            else type(x).__name__
        )
        raise InvalidInput(
            expected="x as a floating-point torch tensor of shape (batch, *sample)",
            got=got,
            cause="an array, integer pixels, or a sparse or nested tensor",
            next_step="pixels from 0 to 255 become torch.as_tensor(x).double() / 255 where the network was trained on "
            "values from 0 to 1; points in the network's own units torch.as_tensor(x, dtype=torch.float64)",
        )
    if x.dim() < 2 or x.shape[0] == 0 or x[0].numel() == 0:
        raise InvalidInput(
            expected="x of shape (batch, *sample) with at least one sample",
            got=f"shape {tuple(x.shape)}",
            cause="a single point without its batch axis, or an empty selection",
            next_step="pass x[None] for a single point",
        )
    if x.is_meta or _device(net).type == "meta":
        raise InvalidInput(
            expected="a network and points with values",
            got="tensors on the device meta",
            cause="a network that was built without memory for its weights",
            next_step='net.to_empty(device="cpu"), then load its weights',
        )
    if x.device not in (_device(net), home(_device(net))):
        raise InvalidInput(
            expected=f"x on the network's device, {_device(net)}",
            got=f"x on {x.device}",
            cause="only one of the two was moved",
            next_step="x = x.to(next(net.parameters()).device)",
        )
    x = x.detach().to(home(x.device)).flatten(1).double()
    if not x.isfinite().all():
        raise InvalidInput(
            expected="finite values in x",
            got=f"{int((~x.isfinite()).sum())} NaN or infinite values",
            cause="a failed preprocessing step, such as a division by a standard deviation of 0",
            next_step="find them with torch.nonzero(~x.isfinite())",
        )
    return x


def forward(blocks: tuple[Block, ...], h: Tensor) -> Tensor:
    """The network's output: (batch, features) or (batch, *sample) -> (batch, *outputs)."""
    for block in blocks:
        h = block.linear.apply(h)
        if block.activation is not None:
            h = block.activation(h)
        if block.inner:
            h = h + forward(block.inner, h) if block.skip else forward(block.inner, h)
    return h


def home(device: torch.device) -> torch.device:
    """Where numbers of a device are computed with in float64: there, or on the CPU if it has none."""
    return torch.device("cpu") if device.type in NO_FLOAT64 else device


def _device(net: nn.Module) -> torch.device:
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))


def _check_network(net: nn.Module, what: str = "the network") -> None:
    tampered = isinstance(net, nn.Module) and is_tampered(net)
    if type(net) is not nn.Sequential or tampered:
        raise UnsupportedLayer(
            expected=SUPPORTED,
            got=f"{what} of type {type(net).__name__}" + (" with a forward hook" if tampered else ""),
            cause="a module with a forward method of its own, which cannot be read as a chain of layers",
            next_step="build the same function as torch.nn.Sequential, for example with lliptools.nets.mlp",
        )


def _check_input_kept(layers: Iterable[nn.Module | LinearMap], name: str) -> None:
    """Refuse a chain whose input is read once more after a layer in it has written over it."""
    layer = changes_input(layers)
    if layer is not None:
        raise UnsupportedLayer(
            expected=f"layers in {name} that leave its input as it is",
            got=f"{type(layer).__name__}(inplace=True) as the first of them",
            cause="x + block(x), where block writes over x before x is added",
            next_step="build that layer with inplace=False",
        )
