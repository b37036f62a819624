"""A network, read as blocks: one linear map, one activation."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.activations import Activation
from lliptools.nets.blocks import Block
from lliptools.nets.calls import alone
from lliptools.nets.checks import device_of, home
from lliptools.nets.composition import LARGEST_MATRIX, composed, is_sum, summed
from lliptools.nets.designed import Designed
from lliptools.nets.layers import FRESH, UNCHANGED, check_layer, check_network, is_own, readable
from lliptools.nets.linear import LinearMap
from lliptools.nets.modules import read_module
from lliptools.nets.operators import Shape
from lliptools.nets.pooling import joined
from lliptools.nets.registry import LINEAR, read_activation
from lliptools.nets.steps import Residual


@dataclass
class _Reader:
    """What has been read so far: whole blocks, and the linear map that waits for its activation.

    shared: while what has been read may be a view of the input, the layer that reads this input once more; else empty.
    """

    dtype: torch.dtype
    device: torch.device
    shape: Shape
    values: bool
    linear: LinearMap | None = None
    shared: str = ""
    blocks: list[Block] = field(default_factory=list)

    def current(self) -> LinearMap:
        """The linear map since the last activation: the identity where nothing has been read."""
        like = torch.empty((), dtype=self.dtype, device=self.device)
        return self.linear or LinearMap.identity(self.shape, like)

    def read(self, layer: nn.Module, name: str) -> None:
        """One layer, after its checks, and what is shared after it."""
        if self.shared and getattr(layer, "inplace", False) and not isinstance(layer, UNCHANGED):
            got = f"{type(layer).__name__}(inplace=True)"
            cause = f"it writes over the input of {self.shared} before that is added"
            raise UnsupportedLayer("layers that leave their input as it is", got, cause, "build it with inplace=False")
        shared, self.shared = self.shared, ""
        if is_own(layer):
            self.read_own(layer, name)
        else:
            self.read_known(layer, name)
        if type(layer) not in (*FRESH, Residual):
            self.shared = shared

    def read_known(self, layer: nn.Module, name: str) -> None:
        """A layer of torch or of lliptools."""
        check_layer(layer, name, values=self.values)
        activation = read_activation(layer)
        if activation is not None:
            activation.check_shape(name, self.shape)
            if self.values:  # later training must not change what was read; copies keep their graph
                tensors = (*activation.parameters(), *activation.buffers())
                activation = deepcopy(activation, {id(each): each.to(self.device, copy=True) for each in tensors})
            self.activate(activation)
        elif isinstance(layer, Residual):
            self.read_residual(layer, name)
        elif isinstance(layer, Designed):
            self.read_designed(layer, name)
        else:
            found = LINEAR[type(layer)].read(layer, name, self.shape, self.dtype)
            if not isinstance(found, LinearMap | list):  # a view of the input
                if found != self.shape:
                    self.linear, self.shape = self.current().reshaped(found), found
                return
            for each in found if isinstance(found, list) else [found]:
                self.append(each)

    def activate(self, activation: Activation) -> None:
        """An activation, which becomes one with a pooling layer beside it."""
        last = self.blocks[-1] if self.blocks and self.linear is None and not self.blocks[-1].inner else None
        together = joined(last.activation, activation) if last else None
        if last and together is not None:
            self.blocks[-1] = replace(last, activation=together)
        else:
            self.blocks.append(Block(self.current(), activation))
        self.linear, self.shape = None, activation.out_shape(self.shape)

    def read_own(self, layer: nn.Module, name: str) -> None:
        """A layer with a forward method of its own, by the operations that it computes."""
        check_network(layer, name)
        try:
            found = read_module(layer, self.shape)
        except UnsupportedLayer as error:
            raise error.within(name) from error
        for at, part in _layers(found, _inside(name)):
            self.read(part, at)

    def append(self, layer: LinearMap) -> None:
        """One linear layer, which becomes one map with those before it."""
        if self.linear is not None and is_sum(self.linear) and layer.rows * self.linear.columns > LARGEST_MATRIX:
            self.end_block()
        self.linear = composed(self.current(), layer.to(self.device))
        self.shape = layer.out_shape

    def end_block(self) -> None:
        """The pending linear map becomes a block of its own."""
        if self.linear is not None:
            self.blocks.append(Block(self.linear, None))
            self.linear = None

    def read_designed(self, layer: Designed, name: str) -> None:
        """A layer that guarantees a constant, from the chain that it spells out."""
        guarantee = float(layer.lipschitz_bound())
        chain = layer.chain(self.shape, self.dtype)
        if not (guarantee >= 0 and chain.rounding >= 0):
            got = f"{guarantee:g} with rounding {chain.rounding:g}"
            why = "a sign that was lost, or NaN in a weight", "return the norm that the layer guarantees"
            raise InvalidInput(f"a constant of at least 0 from lipschitz_bound of {name}", got, *why)
        # Copies, as of torch's layers: what was read must not change when the layer is trained on.
        steps = [step.to(self.device, copy=True) if isinstance(step, LinearMap) else step for step in chain.steps]
        first = steps[0]
        if len(steps) == 1 and isinstance(first, LinearMap) and not chain.skip:
            self.append(replace(first, lipschitz=guarantee, lipschitz_error=chain.rounding))
            return
        self.end_block()
        inner = _Reader(self.dtype, self.device, self.shape, self.values, shared=name)
        for step in steps:
            if isinstance(step, LinearMap):
                inner.append(step)
                inner.shared = ""
            else:
                at = f"{type(step).__name__} in {name}"
                check_layer(step, at, values=self.values)
                inner.read(step, at)
        if chain.skip and inner.shape != self.shape:
            why = "a chain that changes the size", "build the chain as wide as its input"
            raise InvalidInput(f"a chain that keeps the shape {self.shape} in {name}", f"{inner.shape}", *why)
        self.blocks.append(Block(self.current(), None, inner.finished(), chain.skip, (), guarantee, chain.rounding))
        self.shape = inner.shape

    def read_residual(self, layer: Residual, name: str) -> None:
        """x + block(x), or shortcut(x) + block(x); one map where both branches are linear."""
        shortcut = nn.Sequential() if layer.shortcut is None else layer.shortcut
        over, inner = (self.branch(part, name, self.linear) for part in (shortcut, layer.block))
        if over.shape != inner.shape:
            why = "a stride, or other channels, inside", "make the block as wide as its input, or give it a shortcut"
            expected = f"a block that keeps the shape {over.shape} in {name}"
            raise InvalidInput(expected, f"outputs of shape {inner.shape}", *why)
        both = None if over.blocks or inner.blocks else summed(over.current(), inner.current())
        if both is not None:
            self.linear, self.shape = both, inner.shape
            return
        if self.linear is not None:
            self.end_block()
            over, inner = self.branch(shortcut, name), self.branch(layer.block, name)
        beside = () if layer.shortcut is None else over.finished()
        self.blocks.append(Block(self.current(), None, inner.finished(), shortcut=beside))
        self.shape = inner.shape

    def branch(self, block: nn.Module, name: str, linear: LinearMap | None = None) -> "_Reader":
        """What is read of one branch of a sum, behind a linear map that both have in front."""
        check_network(block, f"the block of {name}")
        layers = block if type(block) is nn.Sequential else nn.Sequential(block)
        found = _Reader(self.dtype, self.device, self.shape, self.values, linear, self.shared or name)
        for at, part in _layers(layers, _inside(name)):
            found.read(part, at)
        return found

    def finished(self) -> tuple[Block, ...]:
        """All blocks; the last one has no activation."""
        return (*self.blocks, Block(self.current(), None))


@alone
def read_blocks(
    net: nn.Module, input_shape: torch.Size, dtype: torch.dtype = torch.float64, *, values: bool = True
) -> tuple[Block, ...]:
    """The blocks of a network whose samples have shape input_shape (without the batch axis), in the given precision.

    * Consecutive linear layers become one map, and the last block has no activation: a network that ends in one is
      followed by the identity, so that the outputs are always a linear map of hidden units.
    * A network on a device without float64 is read on the CPU, in that precision.
    * values: False leaves out whether parameters are finite, for training only.
    * Raises UnsupportedLayer, naming the layer, and InvalidInput for shapes that do not fit and what is not finite.
    """
    check_network(net)
    with readable("the network"):
        there = home(device_of(net)) if dtype == torch.float64 else device_of(net)
        if there != device_of(net) or any(map(Tensor.is_inference, (*net.parameters(), *net.buffers()))):
            with torch.inference_mode(False):  # where tensors of that mode become ordinary ones
                net = deepcopy(net).to(there)
        reader = _Reader(dtype, device_of(net), tuple(input_shape), values)
        whole = [(f"the network ({type(net).__name__})", net)]
        for name, layer in _layers(net) if type(net) is nn.Sequential else whole:
            with readable(name):
                reader.read(layer, name)
        if len(reader.shape) > 1:  # the outputs are one vector
            reader.linear = reader.current().reshaped((prod(reader.shape),))
        blocks = reader.finished()
        if len(blocks) == 1 and not (blocks[0].linear.operators or blocks[0].linear.bias.dim()):
            raise UnsupportedLayer("at least one layer", "a Sequential without any", "an empty network", "add a layer")
        return blocks


def _inside(name: str) -> str:
    """What stands before the names of layers inside of one; nothing for those of the whole network."""
    return f"{name.removeprefix('layer ')} > " if name.startswith("layer ") else ""


def _layers(net: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every layer with its place, those of a nested Sequential included, in order."""
    assert isinstance(net, nn.Sequential)
    for index, layer in enumerate(net):
        name = f"layer {prefix}{index} ({type(layer).__name__})"
        if type(layer) is nn.Sequential:
            check_layer(layer, name)
            yield from _layers(layer, f"{prefix}{index} > ")
        else:
            yield name, layer
