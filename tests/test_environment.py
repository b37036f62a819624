"""One list of dependencies: pyproject.toml. The conda file and the constraints follow it."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

from lliptools.teach import doctor

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_environment_yml_installs_the_project_with_its_constraints():
    text = (ROOT / "environment.yml").read_text()
    listed = re.findall(r"^\s+- (.+)$", text, re.MULTILINE)
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert listed == ["conda-forge", f"python={minimum}", "pip", "pip:", "-c constraints.txt", "-e .[lab]"]


def test_constraints_pin_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    extras = {name: names(listed) for name, listed in PROJECT["optional-dependencies"].items() if name != "rivals"}
    assert names(PROJECT["dependencies"]).union(*extras.values()) - {"lliptools"} <= set(pinned)
    assert pinned["torch"] == "2.13.0"


def test_required_packages():
    extras = PROJECT["optional-dependencies"]
    assert names(PROJECT["dependencies"]) == {*["torch", "numpy", "scipy", "safetensors", "typer", "tqdm"]}
    assert names(extras["widgets"]) == {"plotly", "ipywidgets", "anywidget"}
    assert names(extras["data"]) == {"scikit-learn", "pooch", "pillow"}
    assert set(extras) == {"widgets", "data", "lab", "course", "app", "onnx", "docs", "test", "rivals"}
    assert "filelock" in names(requires("torch")), "storage.py locks with it"


def test_the_doctor_examines_what_the_course_installs():
    lab = next(text for text in PROJECT["optional-dependencies"]["lab"] if text.startswith("lliptools"))
    assert {*doctor.COURSE} == {"", "lab", *re.search(r"\[(.+)\]", lab)[1].split(",")}
