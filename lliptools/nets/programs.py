"""Programs of torch.export, read back as a Sequential of the layers that the bounds can read."""

import operator
import re
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from lliptools.errors import InvalidInput, UnsupportedLayer, in_words
from lliptools.nets.difference import example_of, program_difference
from lliptools.nets.general import GENERAL, Open
from lliptools.nets.joins import JOINING
from lliptools.nets.kept import KEPT, layer_at
from lliptools.nets.layers import BY_SAMPLE
from lliptools.nets.operations import CHAINED
from lliptools.nets.registry import READABLE, RESHAPED
from lliptools.nets.steps import Entrywise
from lliptools.nets.values import Value, operation
from lliptools.nets.writes import written_over

VIEWS = {*map(operation, RESHAPED.split())}  # to sizes that the example has
CONVERTING = {torch.ops.aten._to_copy.default, torch.ops.aten.type_as.default}  # read where the precision stays
DESCRIBED = {  # of a value only its shape and precision matter
    *(torch.ops.aten.zeros_like.default, torch.ops.aten.ones_like.default, torch.ops.aten.full_like.default),
    *(torch.ops.aten.new_zeros.default, torch.ops.aten.new_ones.default, torch.ops.aten.new_full.default),
    torch.ops.aten.type_as.default,
}
LAST = {torch.ops.aten.softmax.int: nn.Softmax, torch.ops.aten.log_softmax.int: nn.LogSoftmax}  # read at the end
UNKNOWN_HERE = "no rule is known for it, or not here", "replace it, or bound the network without it"
BEHIND = "bound the layers behind it, at the features that it outputs"
ATTENTION = "it multiplies values that all change with the input, and no rule is known for attention", BEHIND
GATE = (
    "it multiplies or divides values that both change with the input, and no rule is known for that",
    f"write it as an activation of your own (docs/extending.md) if it is elementwise; else {BEHIND}",
)
WHY = {  # cause and next step, by a part of the name of an operation, or of the class of module that it stands in
    **dict.fromkeys(("MultiheadAttention", "dot_product_attention"), ATTENTION),
    **dict.fromkeys(("dropout", "bernoulli", "_native_batch_norm_legit"), (UNKNOWN_HERE[0], "call net.eval() first")),
    "softmax": (UNKNOWN_HERE[0], "drop it by lliptools.nets.without_softmax(net, x) if it ends the network"),
    **dict.fromkeys(("group_norm", "layer_norm", "instance_norm", "rms_norm"), (BY_SAMPLE.reason, BY_SAMPLE.step)),
}
MEETING = {  # the same where several values meet in an operation of this name
    **dict.fromkeys(("matmul", "mm", "bmm", "einsum", "linear"), ATTENTION),
    **dict.fromkeys(("mul", "div"), GATE),
}


def load_program(path: str | Path, *, trust: bool) -> nn.Sequential:
    """The network in a file of torch.export.save, in float64 and in evaluation mode; see read_program.

    * trust: whether torch may read it. Its reader unpickles, evaluates expressions and resolves names of functions
      that it finds in the file, and has no safe mode: a file made for harm runs any command.
    * Raises InvalidInput without trust, and for a file that is missing or that torch cannot read.
    """
    why = "no such file, another kind, or another torch", 'lliptools.export(net, shape, to="net.pt2") writes one'
    with in_words(f"a file of torch.export.save at {path}", *why):
        if not zipfile.is_zipfile(path):
            raise OSError("no such file" if not Path(path).exists() else "not an archive")
        if trust:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # some versions say that they do not copy what they read
                program = torch.export.load(Path(path))
    if not trust:
        why = "while torch reads it, it can run any command as you", "add it if you trust whoever made the file"
        raise InvalidInput("trust=True, or --trust, for a file of torch.export", f"{path} without it", *why)
    return read_program(program).double()


def read_program(program: ExportedProgram) -> nn.Sequential:
    """The network that a program of torch.export computes, in layers that the bounds can read, in evaluation mode.

    * program: one input whose first axis is the batch, one output, and in between the operations in docs/supported.md.
      The module that it was made from may have a forward method of its own. Weights are copied in their precision.
    * Raises UnsupportedLayer, naming the operation, for all else, and for what changes from call to call or with the
      size of the batch. InvalidInput for several inputs or outputs; a changed buffer counts as an output.
    """
    return layers_of(program, None)


def layers_of(program: ExportedProgram, dtype: torch.dtype | None) -> nn.Sequential:
    """The layers of a program, its numbers converted to a precision first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch copies what torch itself has deprecated
            if over := written_over(program):
                cause = "memory that torch shares without saying so, as of dropout in evaluation mode"
                step = "build the layer with inplace=False"
                raise UnsupportedLayer("operations that write over no value that is used again", over, cause, step)
            functional = program if _is_read(program) else program.run_decompositions({})  # nothing is changed any more
        example = example_of(functional)
        given = _inputs(functional, dtype)
        reader = _Reader(functional.graph_module)
        reader.extra_traceback, reader.wide = False, dtype
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # layers are made with random weights first
            found = reader.run(*given)[0]
        if not isinstance(found, Value):
            raise _unsupported("an output that does not depend on the input")
        net = nn.Sequential(*found.layers).eval()
        for layer in net.modules():
            if isinstance(layer, Entrywise) or dtype is not None:
                layer.to(dtype or example.dtype)
        told = program_difference(functional, net.to(example.device), given, dtype or example.dtype)
        if told:
            raise _unsupported(told)
    except (InvalidInput, UnsupportedLayer):
        raise
    except Exception as error:  # whatever torch makes of operations and arguments that nobody has foreseen
        raise _unsupported(f"{type(error).__name__}: {error}") from error
    return net


def _inputs(program: ExportedProgram, dtype: torch.dtype | None) -> list[Any]:
    """What stands for the inputs of the graph: copies of its tensors, and the value nothing was done to."""
    signature, tensors = program.graph_signature, {**program.constants, **program.state_dict}
    specs, user = signature.input_specs, InputKind.USER_INPUT
    given = [Value() if each.kind is user else _copy(tensors[str(each.target)], dtype) for each in specs]
    inputs, outputs = sum(isinstance(each, Value) for each in given), len(signature.output_specs)
    if (inputs, outputs) != (1, 1):
        cause = "training mode, several tensors, or a layer with inplace=True"
        step = "call net.eval(), build with inplace=False, and bound the part from a batch to its logits"
        got = f"{inputs} inputs, {outputs} outputs"
        raise InvalidInput("a program with one input and one output", got, cause, step)
    return given


def _copy(tensor: Any, dtype: torch.dtype | None) -> Any:
    return tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None, copy=True)


class _Reader(fx.Interpreter):
    """Runs a program on what stands for its values, and computes the rest; wide: the precision of its numbers then."""

    wide: torch.dtype | None = None

    def run_node(self, n: fx.Node) -> Any:
        self.node = n
        found = super().run_node(n)
        if isinstance(found, Value):
            example = n.meta["val"]
            return self.shaped(found, example[0] if isinstance(example, tuple | list) else example)
        if isinstance(found, tuple) and any(isinstance(part, Value) for part in found):
            return tuple(map(self.shaped, found, n.meta["val"])) if n.op != "output" else found
        return found.cpu() if isinstance(found, Tensor) else found

    def shaped(self, found: Value, example: Any) -> Value:
        """The value, with the shape that the program's example has of it."""
        sizes = example.shape
        self.batch, self.dtype = getattr(self, "batch", str(sizes[0])), getattr(self, "dtype", example.dtype)
        if str(sizes[0]) != self.batch or not all(isinstance(size, int) for size in sizes[1:]):
            raise _unsupported(f"{self.node.name} of shape {tuple(sizes)}, which is no batch of {self.batch} samples")
        if example.dtype != self.dtype:
            raise _unsupported(f"{self.node.target} as {self.node.name}, which turns {self.dtype} into {example.dtype}")
        return replace(found, shape=tuple(sizes[1:]))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is torch.ops.aten.sym_size.int:
            return Open()
        if target is operator.getitem:
            part, index = args
            return part if isinstance(part, Value) and index == 0 else part[index]  # index 0: of a normalisation
        if target is torch.ops.aten._assert_tensor_metadata.default:
            return None
        if target in CONVERTING and isinstance(args[0], Value):
            return args[0]
        if not _has(Value | Open, [*args, *kwargs.values()]):  # it does not depend on the input, or on how large it is
            if target._schema.is_mutable or torch.Tag.nondeterministic_seeded in target.tags or "empty" in str(target):
                raise self.refused(target, ", which changes from call to call")
            return super().call_function(target, args, kwargs)
        if target in DESCRIBED and not _has(Open, args):
            given = [self.described(part) if isinstance(part, Value) else part for part in args]
            return super().call_function(target, tuple(given), kwargs)
        if target is KEPT and isinstance(args[0], Value):
            return args[0].then(layer_at(args[1]))
        ends = target in LAST and [user.op for user in self.node.users] == ["output"]
        if ends and len(args[0].shape) == 1 and args[1] in (1, -1):
            return args[0].then(LAST[target](1))
        found = JOINING[target](self.node, *args, **kwargs) if target in JOINING and not _has(Open, args) else None
        if found is None:
            found = self.chained(target, args, kwargs)
        if found is None and target in GENERAL:
            found = GENERAL[target](self.node, target, args, kwargs)
        if found is None:
            raise self.refused(target, several=_count(Value, [*args, *kwargs.values()]) > 1)
        return found

    def described(self, value: Value) -> Tensor:
        """A batch of samples as the value's, for operations that look at their shape and precision only."""
        return torch.zeros(int(self.batch), *value.shape, dtype=self.wide or self.dtype)

    def chained(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value | None:
        """The first argument, and the layer that the operation is."""
        rest = [] if target in VIEWS else [*args[1:], *kwargs.values()]
        if target not in CHAINED or not isinstance(args[0], Value) or _has(Value | Open, rest):
            return None
        layers = CHAINED[target](self.node, *args[1:], **kwargs)
        return None if layers is None else args[0].then(*layers)

    def refused(self, target: Any, why: str = "", several: bool = False) -> UnsupportedLayer:
        """The error that names an operation and where it stands; several: whether values meet in it."""
        stack = [*(self.node.meta.get("nn_module_stack") or {}).values()]
        path, kind = stack[-1] if stack else ("", "")
        place, kind = path.removeprefix("L['self']").strip("."), re.findall(r"\w+", f"{kind}")[-1:]
        known = MEETING.get(target.__name__.split(".")[0], UNKNOWN_HERE) if several else UNKNOWN_HERE
        known = next((each for part, each in WHY.items() if part in f"{target} {kind}"), known)
        where = f" in {place} ({kind[0]})" if place else code_line(self.node.meta.get("stack_trace") or "")
        return _unsupported(f"{target} as {self.node.name}{where}{why}", *known)


def code_line(trace: str) -> str:
    """Where in the caller's own code, not torch's, the last frame of a stack trace stands: file, line and the code."""
    frames = re.findall(r'File "([^"]+)", line (\d+), in .*\n +(.*)', trace)
    own = [frame for frame in frames if not frame[0].startswith(str(Path(torch.__file__).parent))]
    return f' in "{own[-1][2]}" (line {own[-1][1]} of {Path(own[-1][0]).name})' if own else ""


def _is_read(program: ExportedProgram) -> bool:
    """Whether every operation of a program changes no tensor and is known here: then torch need not take it apart."""
    known = {*CHAINED, *JOINING, *GENERAL, KEPT, operator.getitem}
    called = {node.target for node in program.graph.nodes if node.op == "call_function"}
    return called <= known and not any(each._schema.is_mutable for each in called - {operator.getitem})


def _has(kind: Any, argument: object) -> bool:
    """Whether something of a kind stands in an argument."""
    return _count(kind, argument) > 0


def _count(kind: Any, argument: object) -> int:
    """How often something of a kind stands in an argument."""
    if isinstance(argument, list | tuple):
        return sum(_count(kind, each) for each in argument)
    return isinstance(argument, kind)


def _unsupported(what: str, cause: str = UNKNOWN_HERE[0], step: str = UNKNOWN_HERE[1]) -> UnsupportedLayer:
    return UnsupportedLayer(READABLE, what, cause, step)
