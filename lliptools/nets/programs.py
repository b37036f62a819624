"""Programs of torch.export, read back as a Sequential of the layers that the bounds can read."""

import operator
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.operations import CHAINED, JOINING, Compared, Half, Value

__all__ = ["load_program", "read_program"]


def load_program(path: str | Path) -> nn.Sequential:
    """The network in a file of torch.export.save, in float64 and in evaluation mode; see read_program.

    torch's reader of such files is not made for files that mean harm: open none whose author you do not trust.
    Raises InvalidInput for a file that is missing or that torch cannot read.
    """
    try:
        program = torch.export.load(Path(path))
    except Exception as error:  # whatever torch meets in a file that is none of its own
        raise InvalidInput(
            expected="a file that torch.export.save wrote",
            got=f"{path}: {type(error).__name__}: {error}",
            cause="a path that does not exist, another kind of file, or another torch",
            next_step='lliptools.export(net, input_shape, to="net.pt2") writes one',
        ) from error
    return read_program(program).double()


def read_program(program: torch.export.ExportedProgram) -> nn.Sequential:
    """The network that a program of torch.export computes, in layers that the bounds can read, in evaluation mode.

    program: one input whose first axis is the batch, one output, and in between a chain of operations that
    lliptools.nets.SUPPORTED names as layers; x + block(x) and pairs of maximum and minimum may stand in it. The module
    that it was made from may be any, with a forward method of its own. Weights are copied, their precision is kept.
    Raises UnsupportedLayer, naming the operation, for all else; InvalidInput for several inputs or outputs.
    """
    held = {**program.constants, **program.state_dict}
    of_the_user = torch.export.graph_signature.InputKind.USER_INPUT
    signature = program.graph_signature
    given = [Value() if each.kind is of_the_user else held[str(each.target)].detach() for each in signature.input_specs]
    inputs, outputs = sum(isinstance(each, Value) for each in given), len(signature.output_specs)
    if (inputs, outputs) != (1, 1):
        raise InvalidInput(
            expected="a program with one input and one output",
            got=f"{inputs} inputs, {outputs} outputs",
            cause="a module that takes or returns several tensors, or one in training mode, which keeps statistics",
            next_step="call eval(), and export the part that maps a batch to its logits",
        )
    (found,) = _Reader(program.graph_module).run(*given)
    if not isinstance(found, Value):
        raise _unsupported("an output that is not one chain of layers")
    net = nn.Sequential(*found.layers).eval()
    _check_same(program, net)
    return net


class _Reader(fx.Interpreter):
    """Runs a program on what stands for its values; what does not depend on the input is computed."""

    def run_node(self, n: fx.Node) -> Any:
        self.node = n
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is operator.getitem or not _depends([*args, *kwargs.values()]):
            return super().call_function(target, args, kwargs)
        kind = target.overloadpacket
        if kind is torch.ops.aten.sym_size:
            return self.node.meta["val"]
        found = None
        if kind in JOINING:
            found = JOINING[kind](self.node, *args, **kwargs)
        elif kind in CHAINED and isinstance(args[0], Value) and not _depends([*args[1:], *kwargs.values()]):
            found = CHAINED[kind](self.node, *args[1:], **kwargs)
        if found is None:
            raise _unsupported(f"{target} as {self.node.name}")
        return args[0].then(*found) if isinstance(found, list) else found


def _depends(argument: object) -> bool:
    """Whether something in an argument depends on the input."""
    if isinstance(argument, list | tuple):
        return any(map(_depends, argument))
    return isinstance(argument, Value | Half | Compared)


def _check_same(program: torch.export.ExportedProgram, net: nn.Sequential) -> None:
    """Refuse what computes something else than it was read as, on samples of the shape that it was made with."""
    (name,) = program.graph_signature.user_inputs
    example = next(node for node in program.graph.nodes if node.name == name).meta["val"]
    shape = [size if isinstance(size, int) else 2 for size in example.shape]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(example.dtype)
    with torch.no_grad():
        wanted, found = program.module()(x), net(x)
    size = wanted.abs().max().item()
    if wanted.shape != found.shape or not torch.allclose(wanted, found, rtol=1e-3, atol=1e-4 * size):
        raise _unsupported("a program that computes something else than the layers it was read as")


def _unsupported(what: str) -> UnsupportedLayer:
    return UnsupportedLayer(
        expected="a chain of linear, conv1d, conv2d, conv_transpose2d, batch_norm in evaluation mode, avg_pool2d, pad "
        "with zeros or around, reshapings of each sample, relu, relu6, hardtanh, clamp from 0, leaky_relu, elu, tanh, "
        "sigmoid, softplus, x + block(x), and cat of maximum and minimum of two halves",
        got=what,
        cause="an operation that the bounds have no rule for, or one in a place where they have none",
        next_step="replace it by one of these, or bound the part of the network without it",
    )
