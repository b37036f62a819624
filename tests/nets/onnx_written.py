"""ONNX files of a few nodes, and what onnxruntime computes of them."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra that the tests install is not there")
runtime = pytest.importorskip("onnxruntime", reason="the extra that the tests install is not there")
SEED = np.random.default_rng(0)
make = onnx.helper.make_node


def numbers(*shape):
    return SEED.normal(size=shape)


def run(path, x):
    """The outputs of onnxruntime, sample by sample, as it may have been made for one."""
    session = runtime.InferenceSession(path)
    given = session.get_inputs()[0]
    return np.concatenate([session.run(None, {given.name: point[None].float().numpy()})[0] for point in x])


def written(folder, nodes, shape, constants, *, batch=1, opset=17):
    """A file of nodes from "x" to "y", in float32."""
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, *shape])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    constants = {
        name: value.astype(np.float32) if value.dtype.kind == "f" else value for name, value in constants.items()
    }
    kept = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = onnx.helper.make_graph(nodes, "graph", [x], [y], kept)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def whole(*values):
    return np.array(values, dtype=np.int64)
