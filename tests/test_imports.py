"""Imports run one way, as pyproject.toml says for import-linter, and the engine loads nothing that it does not need."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = (
    *("nets", "norms", "domains", "bounds", "certificates", "layers"),
    *("exchange", "training", "batchwise", "checker", "digits"),
)
LATE = {
    *("plotly", "ipywidgets", "anywidget", "sklearn", "pooch", "filelock", "PIL", "typer"),
    *("IPython", "nbformat", "onnx"),
}


def test_contracts():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout.partition("Contracts\n---")[2]


EXTRAS = sorted({*LATE, "jupyterlab", "packaging", "voila", "nbgrader", "onnxscript"} - {"typer", "filelock"})
BOUND = """
import sys
sys.modules.update(dict.fromkeys({blocked}))
import torch
import lliptools as ll
net, x = ll.nets.load("digits-clipped").double(), torch.full((2, 64), 0.5, dtype=torch.float64)
assert (ll.local_bound(net, x, 0.1).value <= ll.global_bound(net, x).value).all()
print(ll.certify(net, x, net(x).argmax(1), 0.001).holds.tolist())
assert not {{"scipy", "sympy"}} & set(sys.modules)  # half a second each, which small networks do not need
for ask in {asked}:
    try:
        eval(ask)
    except ll.InvalidInput as error:
        print(str(error).partition("Next step: ")[2])
"""


@pytest.mark.slow
def test_the_engine_needs_no_extra(tmp_path):
    """It bounds and certifies without all of them, and what needs one says which."""
    file = tmp_path / "net.onnx"
    file.touch()
    asked = {
        "ll.teach.MarginExplorer": "widgets",
        "ll.teach.plot": "widgets",
        "ll.training.digits()": "data",
        f"ll.nets.load({str(file)!r})": "onnx",
        "ll.export(net, (64,), to='net.onnx')": "onnx",
    }
    code = BOUND.format(blocked=EXTRAS, asked=[*asked])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[True, True]",
        *(f'pip install "lliptools[{name}]".' for name in asked.values()),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "name"), [("['gallery', 'pages']", "widgets"), ("['app']", "app"), ("['release', 'to']", "course")]
)
def test_a_command_names_the_extra_that_it_needs(command, name):
    run = f"from lliptools.cli import app; app({command})"
    code = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS})); {run}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert f'Next step: pip install "lliptools[{name}]".' in done.stderr


@pytest.mark.parametrize("late", [{"torch", "numpy", "scipy", "tqdm"}, set()], ids=["the package", "the engine"])
def test_what_is_loaded_late(late):
    rooms = [] if late else [f"lliptools.{room}" for room in ENGINE]
    code = f"import sys, {', '.join(['lliptools', *rooms])}; print(*{LATE | late} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
