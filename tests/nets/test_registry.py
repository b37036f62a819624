"""One registry of what is read: the lists in docs and errors are made from it, and name what readers do."""

import contextlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.layers.checks import COVERED
from lliptools.nets.general import GENERAL
from lliptools.nets.joins import JOINING
from lliptools.nets.onnx_operators import OPERATORS
from lliptools.nets.operations import CHAINED
from lliptools.nets.registry import ACTIVATIONS, CONTAINERS, LINEAR, OWN, READABLE, SUPPORTED

ROOT = Path(__file__).parents[2]
TABLES = {"Linear layers": LINEAR, "Containers": CONTAINERS, "Activations": ACTIVATIONS}
EVERY = LINEAR | CONTAINERS | ACTIVATIONS
HEAD = """# What is read

A network is any `torch.nn.Module`, a program of torch.export, or an ONNX file ([your network](your_network.md)). A
`torch.nn.Sequential` is read layer by layer: of the layers of torch.nn and lliptools.nets below, the layers of
`lliptools.layers`, and activations of one's own ([extending](extending.md)). Everything else is read by the operations
of torch.ops.aten that it computes, or by its operators of ONNX; all others are refused by name.
Made from `lliptools/nets/registry.py`, to which `tests/nets/test_registry.py` holds it equal.
"""


def page():
    lines = [HEAD]
    for title, table in TABLES.items():
        lines += [f"## {title}\n", "| layer | torch.export | ONNX |", "|---|---|---|"]
        for kind, reading in table.items():
            names = dict.fromkeys(name.split(".")[0] for name in reading.functions.split())
            lines.append(f"| `{kind.__name__}` | {code(names)} | {code(reading.onnx.split())} |")
        lines.append("")
    return "\n".join(lines)


def code(names):
    return ", ".join(f"`{name}`" for name in names)


def test_the_page_of_what_is_read():
    assert (ROOT / "docs" / "supported.md").read_text() == page()


@pytest.mark.parametrize(("row", "kinds"), [("Layers", LINEAR | CONTAINERS), ("Activations", ACTIVATIONS)])
def test_the_overview_names_the_same(row, kinds):
    (line,) = re.findall(rf"^\*\*{row}:\*\* .*", (ROOT / "docs" / "overview.md").read_text(), re.MULTILINE)
    assert {*re.findall(r"`(?:ll\.nets\.)?([A-Z]\w+)[^`]*`", line)} == {kind.__name__ for kind in kinds}


def test_errors_name_the_same():
    with pytest.raises(ll.UnsupportedLayer) as error:
        ll.local_bound(nn.Sequential(nn.Softmax(dim=1)), torch.zeros(1, 3), 0.1)
    assert READABLE in str(error.value)
    assert all(kind.__name__ in SUPPORTED for kind in EVERY)


def test_every_operation_of_a_program_is_one_of_the_registry():
    named = {name for reading in EVERY.values() for name in reading.functions.split()}
    read = {
        f"{operation.overloadpacket.__name__}.{operation._overloadname}" for operation in (*CHAINED, *JOINING, *GENERAL)
    }
    assert read == named


def test_layers_name_the_activations_that_they_take():
    taken = set()
    for kind in ACTIVATIONS:
        activation = kind(2) if "Pool" in kind.__name__ else kind(threshold=40) if kind is nn.Softplus else kind()
        with contextlib.suppress(ll.UnsupportedLayer):
            ll.layers.SLLLinear(3, 4, activation)
            taken.add(kind.__name__)
    assert {*re.findall(r"[A-Z]\w+", COVERED)} == taken


def test_own_activations_are_read_as_themselves():
    for kind in OWN:
        layer = kind()
        assert ACTIVATIONS[kind].read(layer) is layer


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what torch's exporter imports warns of itself
def test_operators_of_onnx(tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra that the tests install is not there")
    images = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), ll.nets.ClippedReLU(torch.rand(4, 1, 1)), nn.AvgPool2d(2)),
        *(
            ll.nets.ClippedMaxMin(0.2, -0.2),
            nn.ZeroPad2d(1),
            nn.MaxPool2d(2),
            nn.ReplicationPad2d(1),
            nn.Upsample(scale_factor=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        *(nn.Linear(4, 4), nn.Sigmoid(), ll.nets.Residual(nn.Sequential(nn.Linear(4, 4), nn.Tanh())), nn.ELU()),
        *(nn.LeakyReLU(0.1), nn.ReLU(), nn.Hardtanh(0, 2), nn.Softplus(), nn.PReLU(), nn.GELU(), nn.SiLU(), nn.Mish()),
        *(nn.SELU(), nn.Softsign(), nn.Hardswish(), ll.nets.Absolute(), nn.Linear(4, 2)),
    )
    ll.export(images.eval(), (1, 8, 8), to=tmp_path / "net.onnx")
    found = {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}
    named = {name for reading in EVERY.values() for name in reading.onnx.split()}
    assert found <= named | {"Greater", "Where"}  # of the jump of Softplus, which is not read back
    smooth, x = nn.Sequential(*(each for each in images if type(each) is not nn.Softplus)), torch.rand(3, 1, 8, 8)
    ll.export(smooth.eval(), (1, 8, 8), to=tmp_path / "smooth.onnx")  # without the jump, which is not read back
    torch.testing.assert_close(ll.nets.load(tmp_path / "smooth.onnx").float()(x), smooth(x), rtol=1e-5, atol=1e-5)


def test_every_operator_of_onnx_that_is_named_is_read():
    named = {name for reading in EVERY.values() for name in reading.onnx.split()}
    assert {*OPERATORS} == named | {
        "Cast",
        "Shape",
        "Softmax",
        "LogSoftmax",
    }  # which change nothing, are constant, or end it


if __name__ == "__main__":  # writes the page anew
    (ROOT / "docs" / "supported.md").write_text(page())
