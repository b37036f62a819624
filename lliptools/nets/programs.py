"""Programs of torch.export, read back as a Sequential of the layers that the bounds can read."""

import operator
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.joins import JOINING, Compared, Half, Value
from lliptools.nets.operations import CHAINED

__all__ = ["load_program", "read_program"]

SCALES = (1e-3, 1.0, 1e3)  # of the samples on which program and network are compared
OPERATIONS = ", ".join(dict.fromkeys(str(operation).split(".")[1] for operation in (*CHAINED, *JOINING)))
OPERATIONS = OPERATIONS.replace("_native_batch_norm_legit_no_training", "batch_norm in evaluation mode")
ROUNDING = 1e3  # units of the last place by which they may differ, which as a rule is none


def load_program(path: str | Path, *, trust: bool) -> nn.Sequential:
    """The network in a file of torch.export.save, in float64 and in evaluation mode; see read_program.

    * trust: whether torch may read it. Its reader unpickles, evaluates expressions and resolves names of functions
      that it finds in the file, and has no safe mode: a file made for harm runs any command.
    * Raises InvalidInput without trust, and for a file that is missing or that torch cannot read.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise OSError("no such file" if not Path(path).exists() else "not an archive")
        if trust:
            program = torch.export.load(Path(path))
    except Exception as error:  # whatever torch meets in a file that is none of its own
        raise InvalidInput(
            expected="a file that torch.export.save wrote",
            got=f"{path}: {type(error).__name__}: {error}",
            cause="a path that does not exist, another kind of file, or another torch",
            next_step='lliptools.export(net, input_shape, to="net.pt2") writes one',
        ) from error
    if not trust:
        raise InvalidInput(
            expected="trust=True, on the command line --trust, for a file of torch.export",
            got=f"{path} without it",
            cause="a file from elsewhere: while torch reads it, it can run any command as you",
            next_step="add it if you trust whoever made the file; otherwise ask for weights as .safetensors, and load "
            "them with the architecture",
        )
    return read_program(program).double()


def read_program(program: ExportedProgram) -> nn.Sequential:
    """The network that a program of torch.export computes, in layers that the bounds can read, in evaluation mode.

    * program: one input whose first axis is the batch, one output, and in between a chain of the operations in
      docs/supported.md; x + block(x) and pairs of maximum and minimum may stand in it. The module that it was made
      from may be any, with a forward method of its own. Weights are copied, their precision is kept.
    * Raises UnsupportedLayer, naming the operation, for all else, and for what changes from call to call or with the
      size of the batch. InvalidInput for several inputs or outputs; a changed buffer counts as an output.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch copies what torch itself has deprecated
            functional = program.run_decompositions({})  # no operation changes a tensor any more
        given = _inputs(functional)
        found = _Reader(functional.graph_module).run(*given)[0]
        if not isinstance(found, Value):
            raise _unsupported("an output that is not one chain of layers")
        net = nn.Sequential(*found.layers).eval()
        _check_same(functional, net)
    except (InvalidInput, UnsupportedLayer):
        raise
    except Exception as error:  # whatever torch makes of operations and arguments that nobody has foreseen
        raise _unsupported(f"{type(error).__name__}: {error}") from error
    return net


def _inputs(program: ExportedProgram) -> list[Any]:
    """What stands for the inputs of the graph: copies of its tensors, and the value nothing was done to."""
    signature, tensors = program.graph_signature, {**program.constants, **program.state_dict}
    given = [
        Value() if each.kind is InputKind.USER_INPUT else tensors[str(each.target)].detach().clone()
        for each in signature.input_specs
    ]
    inputs, outputs = sum(isinstance(each, Value) for each in given), len(signature.output_specs)
    if (inputs, outputs) != (1, 1):
        raise InvalidInput(
            expected="a program with one input and one output",
            got=f"{inputs} inputs, {outputs} outputs",
            cause="a module that takes or returns several tensors, or one in training mode, which keeps statistics",
            next_step="call eval(), and export the part that maps a batch to its logits",
        )
    return given


class _Open:
    """A size that the program leaves open, or what is computed from one."""


class _Reader(fx.Interpreter):
    """Runs a program on what stands for its values; what does not depend on the input is computed."""

    extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        self.node = n
        found = super().run_node(n)
        if isinstance(found, Value):
            example = n.meta["val"]
            sizes = (example[0] if isinstance(example, tuple | list) else example).shape
            self.batch = getattr(self, "batch", str(sizes[0]))
            if str(sizes[0]) != self.batch or not all(isinstance(size, int) for size in sizes[1:]):
                raise _unsupported(f"{n.name} of shape {tuple(sizes)}, which is no batch of {self.batch} samples")
        return found

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is torch.ops.aten.sym_size.int:
            return _Open()
        if target is operator.getitem:
            part, index = args
            if not isinstance(part, Value):
                return part[index]
            if index == 0:
                return part  # of a normalisation, which gives its statistics besides
        rest = [] if target is torch.ops.aten.view.default else [*args[1:], *kwargs.values()]
        if not _depends([*args[:1], *rest]):
            if target._schema.is_mutable or torch.Tag.nondeterministic_seeded in target.tags or "empty" in str(target):
                raise _unsupported(f"{target} as {self.node.name}, which changes from call to call")
            return super().call_function(target, args, kwargs)
        found: Any = None
        if target in JOINING:
            found = JOINING[target](self.node, *args, **kwargs)
        elif target in CHAINED and isinstance(args[0], Value) and not _depends(rest):
            found = CHAINED[target](self.node, *args[1:], **kwargs)
        if found is None:
            raise _unsupported(f"{target} as {self.node.name}")
        return args[0].then(*found) if isinstance(found, list) else found


def _depends(argument: object) -> bool:
    """Whether something in an argument depends on the input, or on how large it is."""
    if isinstance(argument, list | tuple):
        return any(map(_depends, argument))
    return isinstance(argument, Value | Half | Compared | _Open)


def _check_same(program: ExportedProgram, net: nn.Sequential) -> None:
    """Refuse what computes something else than it was read as, on samples of several sizes, and batches if it can."""
    (name,) = program.graph_signature.user_inputs
    example = next(node for node in program.graph.nodes if node.name == name).meta["val"]
    generator, compared = torch.Generator("cpu").manual_seed(0), 0
    for count in _batches(program, example.shape[0]):
        for scale in SCALES:
            x = torch.randn(count, *example.shape[1:], generator=generator, dtype=torch.float64, device="cpu")
            x = (scale * x).to(example.device, example.dtype)
            with torch.no_grad():
                wanted, found = program.module()(x), net(x)
            if not wanted.isfinite().all():
                continue
            compared += 1
            near = ROUNDING * torch.finfo(wanted.dtype).eps * wanted.abs().amax(dim=0)
            if wanted.shape != found.shape or not ((found - wanted).abs() <= near).all():
                raise _unsupported("a program that computes something else than the layers it was read as")
    if not compared:
        raise _unsupported("a program whose outputs are not finite")


def _batches(program: ExportedProgram, size: Any) -> list[int]:
    """How many samples the program is compared on: what it was made with, or two numbers where it leaves them open."""
    if isinstance(size, int):
        return [size]
    symbols = size.node.expr.free_symbols
    lowest = {symbol: max(2, int(program.range_constraints[symbol].lower)) for symbol in symbols}
    return [int(size.node.expr.subs({symbol: low + more for symbol, low in lowest.items()})) for more in (0, 3)]


def _unsupported(what: str) -> UnsupportedLayer:
    return UnsupportedLayer(
        expected=f"a chain of the operations {OPERATIONS}; clamp from 0, add as x + block(x), and cat of maximum and "
        "minimum of two halves",
        got=what,
        cause="an operation that the bounds have no rule for, or one in a place where they have none",
        next_step="replace it by one of these, or bound the part of the network without it",
    )
