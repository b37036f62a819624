"""What was read, held against what it was read from: a program, or the graph of an ONNX file."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from lliptools.errors import UnsupportedLayer
from lliptools.nets.onnx_graph import OnnxGraph
from lliptools.nets.values import Value

SCALES = (1e-3, 1.0, 1e3)  # of the samples on which both are compared
WIDE = (None, torch.float32, torch.float64)
ROUNDING = 1e3  # units of the last place by which they may differ, which as a rule is none
NEAR = 2e-6  # of the largest number on the way: options of nodes are float32, and onnx rounds their defaults so


def samples(*shapes: tuple[int, ...]) -> Iterator[Tensor]:
    """Samples of several scales for each of the shapes, always the same."""
    generator = torch.Generator("cpu").manual_seed(0)
    for shape in shapes:
        for scale in SCALES:
            yield scale * torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")


def example_of(program: ExportedProgram) -> Any:
    """What the program's example has for its input."""
    (name,) = program.graph_signature.user_inputs
    return next(node for node in program.graph.nodes if node.name == name).meta["val"]


class _Sizes(fx.Interpreter):
    """Runs a program, and keeps the largest number that it has met on the way: what rounding is in relation to.

    Where its numbers are float64 now, what is made of the input is not turned to float32, and nothing is said of it.
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__(program.graph_module)
        self.extra_traceback, self.size, self.moving = False, 0.0, {*program.graph_signature.user_inputs}

    def run_node(self, n: fx.Node) -> Any:
        if n.target is torch.ops.aten._assert_tensor_metadata.default:
            return None
        moves = any(each.name in self.moving for each in n.all_input_nodes)
        self.moving |= {n.name} if moves else set()
        if moves and n.target is torch.ops.aten._to_copy.default and n.kwargs.get("dtype") in WIDE:
            return self.env[n.all_input_nodes[0]]
        found = super().run_node(n)
        if isinstance(found, Tensor) and found.is_floating_point() and n.op == "call_function" and found.numel():
            self.size = max(self.size, float(found.abs().amax().nan_to_num(posinf=0.0)))
        return found


def program_difference(program: ExportedProgram, net: nn.Sequential, given: list[Any], dtype: torch.dtype) -> str:
    """What tells a program from what it was read as, on samples of several scales; "" where nothing does."""
    example, compared = example_of(program), 0
    for sample in samples(*((count, *example.shape[1:]) for count in _batches(program, example.shape[0]))):
        x = sample.to(example.device, dtype)
        with torch.no_grad():
            run = _Sizes(program)
            tensors = [x if isinstance(each, Value) else each.to(example.device) for each in given]
            wanted, found = run.run(*tensors)[0], net(x)
        if not wanted.isfinite().all():
            continue
        compared += 1
        near = ROUNDING * torch.finfo(wanted.dtype).eps * max(run.size, float(wanted.abs().amax()))
        if wanted.shape != found.shape or not ((found - wanted).abs() <= near).all():
            return "a program that computes something else than the layers it was read as"
    return "" if compared else "a program whose outputs are not finite"


def _batches(program: ExportedProgram, size: Any) -> list[int]:
    """How many samples the program is compared on: what it was made with, or two numbers where it leaves them open."""
    if isinstance(size, int):
        return [size]
    symbols = size.node.expr.free_symbols
    lowest = {symbol: max(2, int(program.range_constraints[symbol].lower)) for symbol in symbols}
    return [int(size.node.expr.subs({symbol: low + more for symbol, low in lowest.items()})) for more in (0, 3)]


def graph_difference(graph: OnnxGraph, net: nn.Sequential, shape: tuple[int, ...]) -> str:
    """What tells a graph, as onnx's reference evaluator runs it, from what it was read as; "" where nothing does."""
    compared = 0
    for x in samples(shape):
        with torch.no_grad():
            found = graph.values(x)
            wanted, last = graph.referred(found), net(x)
        if not np.isfinite(wanted[graph.wanted]).all():
            continue
        compared += 1
        near = _near(wanted)
        for node in graph.moving():
            for name in node.output:
                if name in found and name in wanted and not _alike(found[name], wanted[name], near):
                    return f"the ONNX operator {node.op_type}, whose output {name} is another one of onnx's own"
        if not _alike(last, wanted[graph.wanted], near):
            return "a graph that computes something else than the layers it was read as"
    return "" if compared else "a graph whose outputs are not finite"


@torch.no_grad()
def mixes_samples(graph: OnnxGraph, net: nn.Sequential, shape: tuple[int, ...]) -> bool:
    """Whether a graph has other outputs of three samples than net; no where it takes, or returns, another number."""
    _, x, _ = samples((3, *shape[1:]))
    try:
        wanted = graph.referred(graph.values(x))
    except UnsupportedLayer:
        return False
    return len(wanted[graph.wanted]) == len(x) and not _alike(net(x), wanted[graph.wanted], _near(wanted))


def _near(wanted: dict[str, Any]) -> float:
    given = (np.asarray(value) for value in wanted.values() if isinstance(value, np.ndarray | np.generic))
    sizes = [np.abs(value[np.isfinite(value)]).max(initial=0.0) for value in given if value.dtype.kind == "f"]
    return float(NEAR * max(sizes))


def _alike(found: Any, wanted: Any, near: float) -> bool:
    """Whether two results are of one shape, and as near each other; infinite and NaN ones agree with themselves."""
    found = found.numpy() if isinstance(found, Tensor) else np.asarray(found)
    if found.shape != np.shape(wanted):
        return False
    with np.errstate(all="ignore"):
        return bool(np.isclose(found, wanted, rtol=0.0, atol=near, equal_nan=True).all())
