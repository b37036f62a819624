"""ONNX files are read as what they compute: held against onnxruntime, operator by operator and network by network."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_written import make, numbers, run, whole, written
from torch import nn

import lliptools as ll
from lliptools.nets.onnx_operators import OPERATORS

onnx = pytest.importorskip("onnx", reason="the extra that the tests install is not there")
PUBLIC = Path(os.environ.get("LLIPTOOLS_DATA", "none"), "public", "onnx")
IMAGE, FLAT = (2, 6, 6), (4,)
KERNEL, WEIGHT = numbers(4, 2, 3, 3), numbers(4, 3)


CASES = {
    "Gemm": (FLAT, [make("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0)], {"w": WEIGHT, "b": numbers(3)}),
    "Gemm turned": (FLAT, [make("Gemm", ["x", "w"], ["y"], transB=1)], {"w": WEIGHT.T}),
    "MatMul, Add": (FLAT, [make("MatMul", ["x", "w"], ["h"]), make("Add", ["b", "h"], ["y"])],
                    {"w": WEIGHT, "b": numbers(3)}),
    "Sub, Div, Mul, Neg": (
        IMAGE, [make("Sub", ["x", "m"], ["a"]), make("Div", ["a", "s"], ["b"]), make("Mul", ["s", "b"], ["c"]),
                make("Neg", ["c"], ["d"]), make("Sub", ["m", "d"], ["y"])],
        {"m": numbers(1, 2, 1, 1), "s": 1 + numbers(2, 1, 1) ** 2}),
    "Conv": (IMAGE, [make("Conv", ["x", "w", "b"], ["y"], pads=[1, 0, 1, 2], strides=[2, 1])],
             {"w": KERNEL, "b": numbers(4)}),
    "Conv, the same size": (IMAGE, [make("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2, 2])],
                            {"w": KERNEL}),
    "Conv, in groups": (IMAGE, [make("Conv", ["x", "w"], ["y"], group=2, dilations=[2, 2])],
                        {"w": numbers(2, 1, 3, 3)}),
    "Conv of one axis": ((2, 6), [make("Conv", ["x", "w"], ["y"], pads=[1, 1])], {"w": numbers(3, 2, 3)}),
    "ConvTranspose": (IMAGE, [make("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1],
                                   output_padding=[1, 0])], {"w": numbers(2, 3, 3, 3)}),
    "Relu, LeakyRelu": (FLAT, [make("Relu", ["x"], ["a"]), make("LeakyRelu", ["a"], ["y"], alpha=0.25)], {}),
    "Clip": (FLAT, [make("Clip", ["x", "l", "h"], ["a"]), make("Clip", ["a", "", "h"], ["y"])],
             {"l": np.array(-0.5), "h": np.array(0.25)}),
    "Sigmoid, Tanh, Elu": (FLAT, [make("Sigmoid", ["x"], ["a"]), make("Tanh", ["a"], ["b"]), make("Elu", ["b"], ["y"])],
                           {}),
    "Selu": (FLAT, [make("Selu", ["x"], ["a"]), make("Selu", ["a"], ["y"], alpha=1.5, gamma=0.5)], {}),
    "Abs, Softsign": (FLAT, [make("Abs", ["x"], ["a"]), make("Softsign", ["a"], ["y"])], {}),
    "Flatten": (IMAGE, [make("Flatten", ["x"], ["y"])], {}),
    "Reshape": (IMAGE, [make("Reshape", ["x", "s"], ["y"])], {"s": whole(0, -1, 4)}),
    "sizes that are computed": (
        IMAGE, [make("Shape", ["x"], ["s"]), make("Gather", ["s", "i"], ["n"]), make("Unsqueeze", ["n", "z"], ["u"]),
                make("Concat", ["u", "r"], ["t"], axis=0), make("Reshape", ["x", "t"], ["y"])],
        {"i": np.array(0), "z": whole(0), "r": whole(-1)}),
    "Transpose, Gather": (IMAGE, [make("Transpose", ["x"], ["a"], perm=[0, 2, 3, 1]),
                                  make("Gather", ["a", "i"], ["y"], axis=2)], {"i": whole(3, 0, -1)}),
    "Constant": (FLAT, [make("Constant", [], ["c"], value_floats=[1.0, 2.0, 3.0, 4.0]),
                        make("Cast", ["c"], ["d"], to=1), make("Add", ["x", "d"], ["y"])], {}),
    "Pad": (IMAGE, [make("Pad", ["x", "p", "v"], ["a"]), make("Pad", ["a", "q"], ["y"], mode="reflect")],
            {"p": whole(0, 1, 0, 1, 0, 0, 2, 0), "v": np.array(0.5), "q": whole(0, 0, 1, 2, 0, 0, 2, 1)}),
    "AveragePool": (IMAGE, [make("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 1])], {}),
    "AveragePool, padded": (IMAGE, [make("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2],
                                         pads=[0, 1, 1, 0], count_include_pad=1)], {}),
    "GlobalAveragePool": (IMAGE, [make("GlobalAveragePool", ["x"], ["y"])], {}),
    "MaxPool": (IMAGE, [make("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], {}),
    "MaxPool, padded": (IMAGE, [make("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 0, 1, 0])], {}),
    "MaxPool, the same size": (IMAGE, [make("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], auto_pad="SAME_LOWER")], {}),
    "BatchNormalization": (IMAGE, [make("BatchNormalization", ["x", "a", "b", "m", "v"], ["y"], epsilon=1e-3)],
                           {"a": numbers(2), "b": numbers(2), "m": numbers(2), "v": numbers(2) ** 2}),
    "a residual": (FLAT, [make("Gemm", ["x", "w"], ["a"]), make("Relu", ["a"], ["b"]), make("Add", ["b", "x"], ["y"])],
                   {"w": numbers(4, 4)}),
    "two branches": (
        FLAT, [make("MatMul", ["x", "w"], ["a"]), make("Tanh", ["a"], ["b"]), make("MatMul", ["b", "v"], ["c"]),
               make("Relu", ["x"], ["d"]), make("Sum", ["c", "d", "x"], ["y"])],
        {"w": numbers(4, 3), "v": numbers(3, 4)}),
    "Split, Max, Min, Concat": (
        FLAT, [make("Split", ["x"], ["a", "b"], axis=1), make("Max", ["a", "b"], ["c"]), make("Min", ["a", "b"], ["d"]),
               make("Concat", ["c", "d"], ["y"], axis=1)], {}),
    "Slice, Squeeze": (IMAGE, [make("Slice", ["x", "f", "t", "k", "s"], ["a"]), make("Squeeze", ["a", "o"], ["y"])],
                       {"f": whole(1, 5), "t": whole(2, -7), "k": whole(1, 3), "s": whole(1, -2), "o": whole(1)}),
    "Expand, Tile": (FLAT, [make("Unsqueeze", ["x", "o"], ["a"]), make("Expand", ["a", "s"], ["b"]),
                            make("Tile", ["b", "r"], ["y"])],
                     {"o": whole(1), "s": whole(1, 3, 1), "r": whole(1, 1, 2)}),
    "ReduceMean, ReduceSum": (IMAGE, [make("ReduceMean", ["x"], ["a"], axes=[3], keepdims=0),
                                      make("ReduceSum", ["a", "o"], ["y"])], {"o": whole(1)}),
    "DepthToSpace": ((8, 2, 2), [make("DepthToSpace", ["x"], ["a"], blocksize=2),
                                 make("SpaceToDepth", ["a"], ["b"], blocksize=2),
                                 make("DepthToSpace", ["b"], ["y"], blocksize=2, mode="CRD")], {}),
    "Identity, Dropout": (FLAT, [make("Identity", ["x"], ["a"]), make("Dropout", ["a"], ["y"])], {}),
}  # fmt: skip


OPEN = (
    "Gemm",
    "MaxPool, padded",
    "MaxPool, the same size",
    "Conv",
    "Flatten",
    "Reshape",
    "sizes that are computed",
    "Transpose, Gather",
    "Expand, Tile",
)


@pytest.mark.parametrize(
    ("name", "batch"),
    [*(pytest.param(name, 1, marks=pytest.mark.slow) for name in CASES), *((name, "batch") for name in OPEN)],
)
def test_an_operator_is_read_as_onnxruntime_runs_it(name, batch, tmp_path):
    shape, nodes, constants = CASES[name]
    path = written(tmp_path, nodes, shape, constants, batch=batch)
    net, x = ll.nets.load(path), torch.from_numpy(numbers(3, *shape)).float().double()
    np.testing.assert_allclose(net(x).detach().numpy(), run(path, x), rtol=1e-5, atol=1e-5)
    if [*map(type, net)] in ([], [nn.Flatten], [nn.Flatten, nn.Unflatten]):  # nothing to bound
        return
    bound = ll.local_bound(net, x, 0.3)
    assert (ll.sampled_bound(net, x, 0.3, samples=8, steps=1).value <= bound.value).all()


def test_every_operator_of_the_list_has_a_case_or_is_an_activation():
    used = {node.op_type for _, nodes, _ in CASES.values() for node in nodes}
    assert {*OPERATORS} - used <= {
        *("Gelu", "HardSwish", "Mish", "PRelu", "Softplus", "Resize", "Softmax", "LogSoftmax")
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what torch's exporter imports warns of itself
def test_what_export_writes_comes_back(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), ll.nets.ClippedReLU(torch.rand(4, 1, 1)), nn.AvgPool2d(2)),
        *(ll.nets.ClippedMaxMin(0.2, -0.2), nn.ZeroPad2d(1), nn.ReLU6(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(4, 4), nn.Sigmoid(), ll.nets.Residual(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))),
        *(nn.ELU(), nn.LeakyReLU(0.1), nn.GELU(), nn.PReLU(4), nn.Hardtanh(0, 2), nn.Hardswish(), nn.Linear(4, 2)),
    ).double().eval()  # fmt: skip
    ll.export(net, (1, 8, 8), to=tmp_path / "net.onnx")
    again, x = ll.nets.load(tmp_path / "net.onnx"), torch.rand(3, 1, 8, 8).double()
    torch.testing.assert_close(again(x), net(x), rtol=1e-12, atol=1e-12)


REFUSED = {
    "another operator": ([make("Erf", ["x"], ["y"])], "the ONNX operator Erf of ai.onnx as y"),
    "another domain": ([make("Relu", ["x"], ["y"], domain="own")], "the ONNX operator Relu of own"),
    "probabilities": ([make("Softmax", ["x"], ["z"]), make("Neg", ["z"], ["y"])], "without_softmax"),
    "a choice": ([make("Greater", ["x", "c"], ["z"]), make("Where", ["z", "x", "c"], ["y"])], "Greater"),
    "a product": ([make("Mul", ["x", "x"], ["y"])], "mul"),
    "lost digits": ([make("Cast", ["x"], ["z"], to=10), make("Cast", ["z"], ["y"], to=1)], "Cast.*digits"),
    "random": ([make("RandomNormal", [], ["r"], shape=[4], dtype=1), make("Add", ["x", "r"], ["y"])],
               "from call to call"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_all_else_is_refused_by_name(name, tmp_path):
    nodes, said = REFUSED[name]
    path = written(tmp_path, nodes, FLAT, {"c": np.array(0.5)})
    with pytest.raises(ll.UnsupportedLayer, match=said):
        ll.nets.load(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ll.InvalidInput, match="no such file"):
        ll.nets.load(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(ll.InvalidInput, match="an ONNX file"):
        ll.nets.load(tmp_path / "net.onnx")
    with pytest.raises(ll.InvalidInput, match="known sizes"):
        ll.nets.load(written(tmp_path, [make("Relu", ["x"], ["y"])], ("width",), {}))


@pytest.mark.skipif(not PUBLIC.is_dir(), reason="LLIPTOOLS_DATA names no folder with the public networks")
@pytest.mark.parametrize("name", sorted(path.name for path in PUBLIC.glob("*.onnx")))
def test_public_networks(name):
    """As onnxruntime in float32 to its rounding; no sampled slope is above a bound."""
    net = ll.nets.load(PUBLIC / name)
    sizes = onnx.load(PUBLIC / name).graph.input[0].type.tensor_type.shape.dim
    x = torch.rand(2, *(size.dim_value for size in sizes[1:]), generator=torch.Generator().manual_seed(0))
    wanted = run(PUBLIC / name, x)
    np.testing.assert_allclose(net(x.double()).detach().numpy(), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    bound = ll.local_bound(net, x[:1], 0.01)
    assert bound.value.isfinite().all()
    assert (ll.sampled_bound(net, x[:1], 0.01, samples=4, steps=1).value <= bound.value).all()
