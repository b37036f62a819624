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


@pytest.mark.parametrize("late", [{"torch", "numpy", "scipy", "tqdm"}, set()], ids=["the package", "the engine"])
def test_what_is_loaded_late(late):
    rooms = [] if late else [f"lliptools.{room}" for room in ENGINE]
    code = f"import sys, {', '.join(['lliptools', *rooms])}; print(*{LATE | late} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
