"""The wheel that is built from this tree: all that a user needs and nothing else."""

import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import lliptools as ll
from lliptools.teach.publish import lab

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    (path,) = folder.iterdir()
    return path


def test_name_and_size(wheel):
    assert wheel.name == f"lliptools-{ll.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size <= 12e6


def test_code_weights_licence_and_the_course_are_in_it(wheel):
    names = {*ZipFile(wheel).namelist()}
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lliptools").rglob("*") if path.is_file()}
    assert {name for name in package if "__pycache__" not in name} <= names
    course = [path for part in lab.PARTS for path in ROOT.glob(part)]
    assert {f"lliptools/course/{path.relative_to(ROOT).as_posix()}" for path in course} <= names
    assert {"lliptools/py.typed", "lliptools/nets/weights/provenance.json"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {"lliptools", f"lliptools-{ll.__version__}.dist-info"}


def test_the_notebooks_that_are_brought_are_those_of_the_repository(wheel, tmp_path, monkeypatch):
    """The wheel has each picture once, and they are put back."""
    ZipFile(wheel).extractall(tmp_path / "site-packages")
    monkeypatch.setattr(lab, "_course", lambda: tmp_path / "site-packages" / "lliptools" / "course")
    copies = [path.relative_to(tmp_path / "mine") for path in lab.bring(tmp_path / "mine")]
    assert len([path for path in copies if path.suffix == ".ipynb"]) == 20
    for path in copies:
        assert (tmp_path / "mine" / path).read_bytes() == (ROOT / path).read_bytes()


def test_one_version_and_the_command():
    heads = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    released = next(head for head in heads if head != "## Not yet released")
    said = dict(re.findall(r"^(version|date-released): (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    assert said["version"] == ll.__version__
    assert released == f"## {ll.__version__}, {said['date-released']}"


def test_the_readme_works_away_from_the_repository(wheel):
    """On a package index its pictures and links lead to the repository."""
    file = ZipFile(wheel)
    text = file.read(next(name for name in file.namelist() if name.endswith("/METADATA"))).decode()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 20
    assert all(link.startswith("https://") for link in links)
    assert re.search(r"!\[[^\]]+\]\(https://raw.+/docs/playground.webp\)", text)
