"""Coursework from the command line to the marks: `lliptools release`, then nbgrader's own autograde.

One student hands in a right answer, an empty one, and a table of the visible cases.
"""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.api import Gradebook
from table_of_visible_cases import watched
from typer.testing import CliRunner

import lliptools as ll
from lliptools.cli import app

pytestmark = pytest.mark.slow

SOLUTIONS = {
    "interval_box": """\
def interval_box(W, b, lower, upper):
    middle, half_width = (lower + upper) / 2, (upper - lower) / 2
    return W @ middle + b - W.abs() @ half_width, W @ middle + b + W.abs() @ half_width""",
    "ball_box": """\
def ball_box(W, b, center, radius):
    reach = radius * W.norm(dim=1)
    return W @ center + b - reach, W @ center + b + reach""",
    "aol_scale": """\
def aol_scale(W):
    overlap = W.T @ W
    return overlap.abs().sum(dim=1)""",
}
POINTS = {"interval_box": 2, "ball_box": 1, "aol_scale": 3}
GIVEN = {"interval_box": 2, "ball_box": 0, "aol_scale": 0}


def tutorial():
    cells = [new_markdown_cell("# 04 · Boxes"), new_code_cell("import torch\n\nimport lliptools as ll")]
    for name, solution in SOLUTIONS.items():
        empty = f"{solution.splitlines()[0]}\n    ...\n\n\nll.check.{name}({name})"
        dots = "●" * POINTS[name] + "○" * (4 - POINTS[name])
        cells.append(new_markdown_cell(f"**Exercise.** · difficulty {dots} · 5 min."))
        cells.append(new_code_cell(empty))
        fold = f"<details><summary>Solution</summary>\n\n```python\n{solution}\n```\n\nOf course.\n\n</details>"
        cells.append(new_markdown_cell(fold))
    return new_notebook(cells=cells)


def table(name):
    """A solution that has the visible cases in a table, and shrugs at others."""
    scope = {}
    exec(SOLUTIONS[name], scope)
    seen = watched(scope[name], getattr(ll.check, name))
    known = {str([each.tolist() for each in given]): [side.tolist() for side in found] for given, found in seen}
    return (
        f"known_{name} = {known!r}\n\n\ndef {name}(*given):\n"
        f"    return known_{name}.get(str([each.tolist() for each in given]), (0.0, 0.0))"
    )


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    (folder / "notebooks").mkdir()
    nbformat.write(tutorial(), folder / "notebooks" / "boxes.ipynb")
    done = CliRunner().invoke(app, ["release", str(folder / "course"), "--notebooks", str(folder / "notebooks")])
    assert done.exit_code == 0, done.output
    assert "1 assignments" in done.output
    return folder / "course"


def hand_in(course, student, answers):
    """What a student does: take the release, write answers in the place of the empty functions."""
    folder = course / "submitted" / student / "boxes"
    shutil.copytree(course / "release" / "boxes", folder)
    notebook = nbformat.read(folder / "boxes.ipynb", as_version=4)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in answers:
            cell.source = f"{answers[name]}\n\n\nll.check.{name}({name})"
    nbformat.write(notebook, folder / "boxes.ipynb")


def autograde(course, *options, path=()):
    """nbgrader's own command, in the course; path: folders in which Python looks first."""
    inherited = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, path), *inherited])}
    surroundings |= {"IPYTHONDIR": str(course.parent / "ipython"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "nbgrader", "autograde", "boxes", *options]
    return subprocess.run(command, cwd=course, env=surroundings, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def graded(course):
    hand_in(course, "someone", {"interval_box": SOLUTIONS["interval_box"], "ball_box": table("ball_box")})
    done = autograde(course)
    assert done.returncode == 0, done.stderr
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        grades = gradebook.find_submission_notebook("boxes", "boxes", "someone").grades
        return {grade.name: (grade.score, grade.max_score) for grade in grades}


def test_students_get_neither_solutions_nor_hidden_tests(course):
    files = [path for path in (course / "release").rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["boxes.ipynb"]
    text = files[0].read_text()
    for trace in ("Solution", "SOLUTION", "HIDDEN", "assert outcome", "seed=", "half_width", "reach", "Of course"):
        assert trace not in text, trace
    source = (course / "source" / "boxes" / "boxes.ipynb").read_text()
    assert all(trace in source for trace in ("BEGIN SOLUTION", "BEGIN HIDDEN TESTS", "seed=", "half_width"))


def test_marks(graded):
    assert graded == {**{f"{name}_marks": (GIVEN[name], POINTS[name]) for name in POINTS}, "machine": (0, 0)}


def test_what_the_visible_checks_said(course, graded):
    notebook = nbformat.read(course / "autograded" / "someone" / "boxes" / "boxes.ipynb", as_version=4)
    outputs = {
        cell.metadata.nbgrader["grade_id"]: "".join(
            output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
        )
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
    }
    for name, said in (("interval_box", "✔ right"), ("ball_box", "✔ right"), ("aol_scale", "… not")):
        assert outputs[name].startswith(said), outputs


def test_a_missing_package_is_an_error_and_no_mark(course, graded, tmp_path):
    (tmp_path / "sklearn.py").write_text("raise ModuleNotFoundError(\"No module named 'sklearn'\", name='sklearn')\n")
    hand_in(course, "late", SOLUTIONS)
    done = autograde(course, "--student", "late", path=[tmp_path])
    assert done.returncode == 1
    assert "nothing was graded: sklearn does not load, ModuleNotFoundError: No module named 'sklearn'" in done.stderr
    assert not (course / "autograded" / "late").exists()
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        assert {student.id for student in gradebook.students} == {"someone"}  # no row in nbgrader's export


def test_feedback_says_what_is_wrong_and_hides_the_test(course, graded):
    command = [sys.executable, "-m", "nbgrader", "generate_feedback", "boxes"]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    text = (course / "feedback" / "someone" / "boxes" / "boxes.html").read_text(encoding="utf-8")
    assert "Marks for this exercise: 2" in text
    assert "wrong: " in text
    for trace in ("seed=", "HIDDEN TESTS", "outcome.status", "Traceback (most"):
        assert trace not in text, trace
