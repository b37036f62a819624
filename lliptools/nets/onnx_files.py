"""Networks in ONNX files: their operators become operations of torch, which are read as those of any module are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer, extra
from lliptools.nets.modules import read_module
from lliptools.nets.onnx_operators import OPERATORS
from lliptools.nets.registry import READABLE


def load_onnx(path: str | Path) -> nn.Sequential:
    """The network in an ONNX file, in float64 and in evaluation mode, in layers that the bounds can read.

    * path: a model with one input (batch, *sample) of a fixed sample shape, and one output. Numbers are in the file
      itself. Nothing in it is run: it is data.
    * Raises InvalidInput for another file, or without the extra `onnx`; UnsupportedLayer naming an operator.
    """
    graph = _opened(path).graph
    from onnx import numpy_helper

    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    sizes = [each.dim_value or None for each in inputs[0].type.tensor_type.shape.dim] if inputs else []
    got = f"{len(inputs)} inputs, the first of shape {sizes}, and {len(graph.output)} outputs in {path}"
    if len(inputs) != 1 or len(graph.output) != 1 or len(sizes) < 2 or None in sizes[1:]:
        why = "several heads, or sizes left open", "export the part from a batch to its logits, of known sizes"
        raise InvalidInput("one input (batch, *sample) of known sizes, and one output", got, *why)
    net = _Graph(graph, constants, inputs[0].name, graph.output[0].name)
    return read_module(net, tuple(int(size or 1) for size in sizes[1:]), batch=sizes[0] or 1)


def _opened(path: str | Path) -> Any:
    with extra("onnx"):
        import onnx
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # whatever a file that is none ends in
        why = "another kind of file, or one cut short", 'lliptools.export(net, input_shape, to="net.onnx") writes one'
        raise InvalidInput("an ONNX file", f"{path}: {type(error).__name__}: {error}", *why) from error


class _Graph(nn.Module):
    """A graph of ONNX as a module: what depends on constants alone is computed by onnx itself, the rest by torch."""

    def __init__(self, graph: Any, constants: dict[str, Any], given: str, wanted: str) -> None:
        super().__init__()
        self.nodes, self.constants, self.given, self.wanted = list(graph.node), constants, given, wanted

    def forward(self, x: Tensor) -> Tensor:
        found: dict[str, Any] = {**self.constants, self.given: x, "": None}
        for node in self.nodes:
            values = [found[name] for name in node.input]
            compute = _computed if any(isinstance(value, Tensor) for value in values) else _folded
            found.update(zip(node.output, compute(node, values), strict=False))
        return found[self.wanted]


def _folded(node: Any, values: Sequence[Any]) -> Sequence[Any]:
    from onnx.reference import ReferenceEvaluator

    if node.op_type.startswith("Random"):
        raise _unsupported(node, ", which changes from call to call")
    feeds = {name: value for name, value in zip(node.input, values, strict=True) if name}
    return list(ReferenceEvaluator(node).run(None, feeds))


def _computed(node: Any, values: Sequence[Any]) -> Sequence[Any]:
    from onnx.helper import get_attribute_value

    operator = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if operator is None:
        raise _unsupported(node)
    options = {each.name: get_attribute_value(each) for each in node.attribute}
    options = {name: value.decode() if isinstance(value, bytes) else value for name, value in options.items()}
    values = values if node.op_type == "Resize" else [_number(value) for value in values]
    try:
        result = operator(options, *values)
    except (NotImplementedError, RuntimeError, TypeError, KeyError, ValueError) as error:
        raise _unsupported(node, f" with {options}: {type(error).__name__}: {error}") from error
    return result if isinstance(result, tuple | list) else (result,)


def _unsupported(node: Any, said: str = "") -> UnsupportedLayer:
    got = f"the ONNX operator {node.op_type} of {node.domain or 'ai.onnx'} as {node.name or node.output[0]}{said}"
    why = "no rule is known for it, or for its options", "export the network without it"
    return UnsupportedLayer(READABLE, got, *why)


def _number(value: Any) -> Any:
    """A floating-point constant as a float64 tensor; whole numbers stay an array, of which operators read sizes."""
    wide = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return torch.from_numpy(value.astype(np.float64)) if wide else value
