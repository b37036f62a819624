"""Networks in ONNX files: their operators become operations of torch, which are read as those of any module are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from lliptools.errors import InvalidInput, UnsupportedLayer, extra, in_words
from lliptools.nets.difference import graph_difference, mixes_samples
from lliptools.nets.modules import read_module
from lliptools.nets.onnx_graph import OnnxGraph
from lliptools.nets.registry import READABLE

DOMAIN = ("", "ai.onnx")  # the two names of the operators of ONNX itself
OLDEST = 7  # the opset since which binary operators broadcast, and Dropout does nothing


def load_onnx(path: str | Path) -> nn.Sequential:
    """The network in an ONNX file, in float64 and in evaluation mode, in layers that the bounds can read.

    * path: a model with one input (batch, *sample) of a fixed sample shape, and one output, of opset 7 or newer.
      Numbers are in the file itself. What is read is compared with onnx's reference evaluator.
    * Raises InvalidInput for another file, or without the extra `onnx`; UnsupportedLayer naming an operator.
    """
    model, constants = _opened(path)
    graph = model.graph
    inputs = [each for each in graph.input if each.name not in constants]
    sizes = [each.dim_value or None for each in inputs[0].type.tensor_type.shape.dim] if inputs else []
    got = f"{len(inputs)} inputs, the first of shape {sizes}, and {len(graph.output)} outputs in {path}"
    if len(inputs) != 1 or len(graph.output) != 1 or len(sizes) < 2 or None in sizes[1:]:
        why = "several heads, or sizes left open", "export the part from a batch to its logits, of known sizes"
        raise InvalidInput("one input (batch, *sample) of known sizes, and one output", got, *why)
    opsets = {"" if each.domain in DOMAIN else each.domain: each.version for each in model.opset_import}
    if opsets.get("", 1) < OLDEST:
        why = "operators that meant something else", "onnx.version_converter.convert_version(model, 13)"
        raise InvalidInput(f"an ONNX file of opset {OLDEST} or newer", f"opset {opsets.get('', 1)} in {path}", *why)
    net = OnnxGraph(graph.node, opsets, constants, inputs[0].name, graph.output[0].name)
    shape = (sizes[0] or 1, *(int(size or 1) for size in sizes[1:]))
    layers = read_module(net, shape[1:], batch=shape[0])
    if said := graph_difference(net, layers, shape):
        why = "an operator that its definition leaves open", "export the network without it"
        raise UnsupportedLayer(READABLE, f"{said}, in {path}", *why)
    if sizes[0] is None and mixes_samples(net, layers, shape):
        why = "an operator over the axis of the batch", "export the network with a batch of one"
        raise UnsupportedLayer(READABLE, f"a graph that mixes the samples of a batch, in {path}", *why)
    return layers


def _opened(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """The model in a file, and its constants by name."""
    with extra("onnx"):
        import onnx
    why = "another kind of file, or one cut short", 'lliptools.export(net, input_shape, to="net.onnx") writes one'
    with in_words(f"an ONNX file at {path}", *why):
        model = onnx.load(path, load_external_data=False)
        for node in model.graph.node:
            node.domain = "" if node.domain in DOMAIN else node.domain
        outside = [each.name for each in _tensors(model.graph) if each.data_location == each.EXTERNAL]
        constants = {} if outside else {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    if outside:
        why = "data saved beside the model", "onnx.save(onnx.load(path), path) puts all in one file"
        raise InvalidInput("all numbers in the ONNX file", f"numbers outside of the file {path}: {outside[0]}", *why)
    return model, constants


def _tensors(graph: Any) -> Iterator[Any]:
    """The tensors of a graph that are read: its initializers, and those that its nodes have as options."""
    yield from graph.initializer
    for option in (option for node in graph.node for option in node.attribute):
        yield from (option.t, *option.tensors, option.sparse_tensor.values, option.sparse_tensor.indices)
