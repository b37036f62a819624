"""One list of dependencies: pyproject.toml. The conda file and the constraints follow it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_environment_yml_installs_the_project_with_its_constraints():
    text = (ROOT / "environment.yml").read_text()
    listed = re.findall(r"^\s+- (.+)$", text, re.MULTILINE)
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert listed == ["conda-forge", f"python={minimum}", "pip", "pip:", "-c constraints.txt", "-e .[test]"]


def test_constraints_pin_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert names(PROJECT["dependencies"]) <= set(pinned)
    assert names(PROJECT["optional-dependencies"]["test"]) <= set(pinned)
    assert pinned["torch"] == "2.13.0"


def test_required_packages():
    wanted = "torch numpy scipy scikit-learn plotly ipywidgets anywidget jupyterlab tqdm typer safetensors packaging"
    assert names(PROJECT["dependencies"]) == {*wanted.split(), "pooch", "pillow", "filelock"}
    assert set(PROJECT["optional-dependencies"]) == {"test", "course", "app", "onnx", "docs", "rivals"}
