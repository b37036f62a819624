"""ONNX files that would be read as another function: refused, or read as they are run."""

import numpy as np
import pytest
import torch
from onnx_written import make, numbers, onnx, run, whole, written

import lliptools as ll
from lliptools.nets import onnx_graph

IMAGE = (2, 3, 3)


def read(folder, nodes, shape, constants, **options):
    """The network in a file, and whether it computes what onnxruntime does."""
    path = written(folder, nodes, shape, constants, **options)
    net, x = ll.nets.load(path), torch.from_numpy(numbers(3, *shape)).float().double()
    np.testing.assert_allclose(net(x).detach().numpy(), run(path, x), rtol=1e-5, atol=1e-5)


def refused(folder, nodes, shape, constants, said, error=ll.UnsupportedLayer, **options):
    with pytest.raises(error, match=said):
        ll.nets.load(written(folder, nodes, shape, constants, **options))


@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 1), (1, 2, 1, 1)])
def test_slopes_of_prelu_are_of_channels(shape, tmp_path):
    read(tmp_path, [make("PRelu", ["x", "s"], ["y"])], IMAGE, {"s": np.abs(numbers(*shape))})


@pytest.mark.parametrize("shape", [(3,), (3, 1), (2, 3, 1)])
def test_slopes_of_prelu_that_are_of_places_are_refused(shape, tmp_path):
    refused(tmp_path, [make("PRelu", ["x", "s"], ["y"])], (3, 3, 3) if shape == (3,) else IMAGE,
            {"s": np.abs(numbers(*shape))}, "PRelu.*not one or one per channel")  # fmt: skip


@pytest.mark.parametrize("batch", [1, None])
def test_samples_that_are_mixed(batch, tmp_path):
    """The first sample is added to all: to one sample itself, which is read where the file takes no more."""
    nodes = [make("Gather", ["x", "first"], ["a"], axis=0), make("Add", ["x", "a"], ["y"])]
    if batch is None:
        refused(tmp_path, nodes, (3,), {"first": whole(0)}, "mixes the samples of a batch", batch=batch)
    else:
        read(tmp_path, nodes, (3,), {"first": whole(0)}, batch=batch)


def test_an_open_batch_that_takes_one_sample_is_read(tmp_path):
    nodes = [make("Reshape", ["x", "one"], ["a"]), make("MatMul", ["a", "W"], ["y"])]
    read(tmp_path, nodes, (2, 3), {"one": whole(1, 6), "W": numbers(6, 2)}, batch=None)


def test_a_split_without_sizes_has_as_many_parts_as_outputs(tmp_path):
    nodes = [make("Split", ["x"], ["a", "b", "c"], axis=1), make("Concat", ["c", "b"], ["y"], axis=1)]
    read(tmp_path, nodes, (6,), {}, opset=13)


def enlarged(given, **options):
    """Pixels repeated up to what is given, the scales or the sizes."""
    names = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    inputs = (name if name in given else "" for name in ("scales", "sizes"))
    return [make("Resize", ["x", "", *inputs], ["y"], **names | options)]


@pytest.mark.parametrize("given", [{"scales": np.array([1.0, 1.0, 2.0, 3.0])}, {"sizes": whole(1, 2, 6, 9)}])
def test_pixels_are_repeated(given, tmp_path):
    read(tmp_path, enlarged(given), IMAGE, given)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"scales": np.array([1.0, 1.0, 1.5, 1.0])}, {}),
        ({"scales": np.array([1.0, 1.0, 0.5, 1.0])}, {}),
        ({"scales": np.array([1.0, 2.0, 1.0, 1.0])}, {}),
        ({"sizes": whole(1, 2, 7, 3)}, {}),
        ({"sizes": whole(6, 6)}, {"axes": [3, 2]}),
        ({"sizes": whole(1, 2, 6, 9)}, {"keep_aspect_ratio_policy": "not_larger"}),
    ],
)
def test_other_sizes_are_refused(given, options, tmp_path):
    refused(tmp_path, enlarged(given, **options), IMAGE, given, "Resize.*(whole numbers|aspect ratio)", opset=18)


@pytest.mark.parametrize("place", ["an initializer", "an option"])
def test_numbers_outside_of_the_file_are_refused(place, tmp_path):
    path = written(tmp_path, [make("Add", ["x", "w"], ["y"])], (4,), {"w": numbers(4)})
    model = onnx.load(path)
    (tensor,) = model.graph.initializer
    onnx.external_data_helper.set_external_data(tensor, "net.bin")
    tensor.ClearField("raw_data")
    if place == "an option":
        model.graph.node.insert(0, make("Constant", [], ["w"], value=tensor))
        del model.graph.initializer[:]
    path.write_bytes(model.SerializeToString())
    (tmp_path / "net.bin").write_bytes(np.ones(4, np.float32).tobytes())
    with pytest.raises(ll.InvalidInput, match="outside of the file"):
        ll.nets.load(path)


def test_damaged_numbers_are_refused(tmp_path):
    path = written(tmp_path, [make("Add", ["x", "w"], ["y"])], (4,), {"w": numbers(4)})
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = b"abc"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ll.InvalidInput, match="an ONNX file"):
        ll.nets.load(path)


def test_old_opsets_are_refused(tmp_path):
    refused(tmp_path, [make("Dropout", ["x"], ["y"])], (4,), {}, "opset 7 or newer; got opset 6", ll.InvalidInput,
            opset=6)  # fmt: skip


def test_constants_are_folded_by_the_opset_of_the_file(tmp_path):
    nodes = [make("ReduceSum", ["w"], ["s"], axes=[1]), make("Mul", ["x", "s"], ["y"])]
    read(tmp_path, nodes, (4,), {"w": numbers(4, 4)[:1]}, opset=11)


def test_a_softmax_that_flattens_is_refused(tmp_path):
    nodes = [make("Softmax", ["w"], ["s"]), make("Mul", ["x", "s"], ["y"])]
    refused(tmp_path, nodes, IMAGE, {"w": numbers(1, 3, 3)}, "Softmax.*flattens", opset=11)


@pytest.mark.parametrize("opset", [7, 9, 13, 15])
def test_statistics_of_older_opsets(opset, tmp_path):
    given = {name: np.abs(numbers(2)) for name in "abmv"}
    read(tmp_path, [make("BatchNormalization", ["x", *"abmv"], ["y"])], IMAGE, given, opset=opset)


def test_nothing_random_is_read_as_a_constant(tmp_path):
    given = {"c": np.full(4, 0.5), "t": np.array(True)}
    mul = make("Mul", ["x", "r"], ["y"])
    refused(tmp_path, [make("Bernoulli", ["c"], ["r"]), mul], (4,), given, "Bernoulli.*call to call")
    refused(tmp_path, [make("Dropout", ["c", "", "t"], ["r"]), mul], (4,), given, "Dropout.*training")
    refused(tmp_path, [make("Dropout", ["x", "", "t"], ["y"])], (4,), given, "Dropout.*training")


@pytest.mark.parametrize("axes", [[], ["a"]])
def test_a_sum_over_no_axes(axes, tmp_path):
    nodes = [make("ReduceSum", ["x", *axes], ["h"], noop_with_empty_axes=1), make("MatMul", ["h", "w"], ["y"])]
    read(tmp_path, nodes, (4,), {"w": numbers(4, 3), "a": whole()})


def test_an_operator_that_is_read_as_another_one_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(onnx_graph.OPERATORS, "LeakyRelu", lambda _, x: torch.nn.functional.leaky_relu(x, 0.02))
    nodes = [make("LeakyRelu", ["x"], ["h"]), make("Neg", ["h"], ["y"])]
    refused(tmp_path, nodes, (4,), {}, "the ONNX operator LeakyRelu, whose output h is another one")


def test_a_graph_that_is_read_as_other_layers_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("lliptools.nets.onnx_files.read_module", lambda *_, **__: torch.nn.Sequential(torch.nn.ReLU6()))
    refused(tmp_path, [make("Relu", ["x"], ["y"])], (4,), {}, "something else than the layers")
