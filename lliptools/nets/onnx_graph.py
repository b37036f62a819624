"""The graph of an ONNX file as a module of torch, and as onnx's reference evaluator runs it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.errors import UnsupportedLayer
from lliptools.nets.onnx_operators import FLOATS, OPERATORS
from lliptools.nets.registry import READABLE

RANDOM = ("Random", "Bernoulli", "Multinomial")  # how the names of operators start that draw numbers
FLATTENED = ("Softmax", "LogSoftmax", "Hardmax")  # before opset 13 they run over all axes from their own on
DOUBLE = 11  # the type of float64
NEWER = {"BatchNormalization": 15, "Constant": 13}  # what means the same since, but cannot be run as of older opsets


class OnnxGraph(nn.Module):
    """A graph of ONNX as a module: what depends on constants alone is computed by onnx itself, the rest by torch."""

    def __init__(
        self, nodes: Sequence[Any], opsets: dict[str, int], constants: dict[str, Any], given: str, wanted: str
    ) -> None:
        super().__init__()
        self.nodes, self.opsets, self.constants = list(nodes), opsets, constants
        self.given, self.wanted = given, wanted

    def forward(self, x: Tensor) -> Tensor:
        return self.values(x)[self.wanted]

    def values(self, x: Tensor) -> dict[str, Any]:
        """By name, all that is computed for a batch (batch, *sample)."""
        found: dict[str, Any] = {**self.constants, self.given: x, "": None}
        for node in self.nodes:
            values = [found[name] for name in node.input]
            _check(node, values, self.opsets[""])
            if any(isinstance(value, Tensor) for value in values):
                results = _computed(node, values)
            else:
                folded = _referred([node], self.opsets, dict(zip(node.input, values, strict=True)))
                results = [folded[name] for name in node.output]
            found.update(zip(node.output, results, strict=False))
        return found

    def moving(self) -> list[Any]:
        """The nodes that depend on the input."""
        names, found = {self.given}, []
        for node in self.nodes:
            if names & {*node.input}:
                found.append(node)
                names |= {*node.output}
        return found

    def referred(self, found: dict[str, Any]) -> dict[str, Any]:
        """By name, in float64: the input, what the reference evaluator computes, what it gets wrong from values(x)."""
        nodes = [_in_float64(node) for node in self.moving() if not _beyond(node)]
        computed = {name for node in nodes for name in node.output}
        moved = {self.given} | {name for node in self.moving() for name in node.output}
        feeds = {name: _wide(value) for name, value in found.items() if name not in computed and value is not None}
        with np.errstate(all="ignore"):
            return {name: value for name, value in _referred(nodes, self.opsets, feeds).items() if name in moved}


def _check(node: Any, values: Sequence[Any], opset: int) -> None:
    """Raise UnsupportedLayer for a node that computes other things in other calls, or did in older files."""
    if node.op_type.startswith(RANDOM):
        raise unsupported(node, ", which changes from call to call")
    training = values[2] if node.op_type == "Dropout" and len(values) > 2 else None
    if training is not None and (isinstance(training, Tensor) or np.asarray(training).any()):
        raise unsupported(node, " in training mode")
    axes = [each.i for each in node.attribute if each.name == "axis"]
    if node.op_type in FLATTENED and opset < 13 and (values[0].ndim != 2 or axes not in ([], [1], [-1])):
        raise unsupported(node, f" of opset {opset}, where it flattens axes")


def _referred(nodes: Sequence[Any], opsets: dict[str, int], feeds: dict[str, Any]) -> dict[str, Any]:
    """By name, all that onnx's reference evaluator computes of its feeds. Where it cannot, the node is refused."""
    from onnx import GraphProto, helper
    from onnx.reference import ReferenceEvaluator

    found = dict(feeds)
    for node in nodes:
        try:
            if any(each.HasField("g") or each.graphs for each in node.attribute):
                raise ValueError("graphs in a graph")
            feeds = {name: np.asarray(found[name]) for name in node.input if name}
            types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in feeds.items()}
            inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()]
            opset = max(opsets[""], NEWER.get(node.op_type, 0))
            run = ReferenceEvaluator(GraphProto(node=[node], input=inputs), opsets=opsets | {"": opset})
            found |= run.run(None, feeds, intermediate=True)
        except Exception as error:  # whatever it ends in
            said = f", which the reference evaluator of onnx cannot run: {type(error).__name__}: {error}"
            raise unsupported(node, said) from error
    return found


def _beyond(node: Any) -> bool:
    """Whether it is a padded maximum, which the evaluator may get wrong (tests/nets/test_onnx.py)."""
    padded = any(each.name == "auto_pad" or (each.name == "pads" and any(each.ints)) for each in node.attribute)
    return node.op_type == "MaxPool" and padded


def _in_float64(node: Any) -> Any:
    """The node, a Cast between floating-point types as one to float64."""
    copy = type(node)()
    copy.CopyFrom(node)
    for option in copy.attribute:
        if node.op_type == "Cast" and option.name == "to" and option.i in FLOATS:
            option.i = DOUBLE
    return copy


def _wide(value: Any) -> Any:
    """Floating-point numbers in float64, as an array."""
    value = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _computed(node: Any, values: Sequence[Any]) -> Sequence[Any]:
    from onnx.helper import get_attribute_value

    operator = None if node.domain else OPERATORS.get(node.op_type)
    if operator is None:
        raise unsupported(node)
    options = {each.name: get_attribute_value(each) for each in node.attribute}
    options = {name: value.decode() if isinstance(value, bytes) else value for name, value in options.items()}
    values = values if node.op_type == "Resize" else [_number(value) for value in values]
    try:
        result = operator({"num_outputs": len(node.output)} | options, *values)
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        raise unsupported(node, f" with {options}: {type(error).__name__}: {error}") from error
    return result if isinstance(result, tuple | list) else (result,)


def unsupported(node: Any, said: str = "") -> UnsupportedLayer:
    """That a node cannot be read, with what is said of it."""
    got = f"the ONNX operator {node.op_type} of {node.domain or 'ai.onnx'} as {node.name or node.output[0]}{said}"
    why = "no rule is known for it, or for its options", "export the network without it"
    return UnsupportedLayer(READABLE, got, *why)


def _number(value: Any) -> Any:
    """A floating-point constant as a float64 tensor; whole numbers stay an array, of which operators read sizes."""
    wide = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return torch.from_numpy(value.astype(np.float64)) if wide else value
