"""nbval compares what it is meant to: solved notebooks have key cells, and a changed digit is caught."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

FOLDER = Path(__file__).parents[2] / "notebooks"
SOLVED = sorted((FOLDER / "solutions").glob("*.ipynb"))
MARK = "# NBVAL_CHECK_OUTPUT\n"


def test_every_tutorial_has_a_solved_notebook_to_compare():
    assert [path.name for path in SOLVED] == [path.name for path in sorted(FOLDER.glob("*.ipynb"))]


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_solved_notebooks_are_compared(path):
    """nbval passes over cells that have neither an execution count nor stored outputs."""
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "run `make notebooks`"
    keys = [cell for cell in code if cell.source.startswith(MARK)]
    assert len(keys) >= 2
    assert all("keep_output" in cell.metadata.tags and text(cell).strip() for cell in keys)
    others = [output for cell in code if cell not in keys for output in cell.outputs]
    assert all("image/png" in output.get("data", {}) for output in others)  # the last picture of an explorer


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_every_check_of_a_solved_notebook_says_right(path):
    checked = [cell for cell in nbformat.read(path, as_version=4).cells if "\nll.check." in cell.source]
    assert checked
    for cell in checked:
        assert cell.source.startswith(MARK)
        calls = sum(line.startswith("ll.check.") for line in cell.source.splitlines())
        assert text(cell).count("✔ right") == calls, text(cell)


def text(cell):
    """What a cell printed or showed, as text."""
    return "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "") + "\n" for output in cell.outputs
    )


@pytest.mark.slow
def test_a_changed_digit_is_caught_and_a_stripped_notebook_passes(tmp_path):
    """Why the tests above are needed: with neither count nor outputs a cell passes, whatever it prints."""
    shutil.copy(FOLDER / "conftest.py", tmp_path)
    for name, stored, count in (("right", "2\n", 1), ("changed", "3\n", 1), ("stripped", None, None)):
        outputs = [new_output("stream", name="stdout", text=stored)] if stored else []
        cell = new_code_cell(f"{MARK}print(1 + 1)", outputs=outputs, execution_count=count)
        nbformat.write(new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    for name, words in (("picture", "3 discs"), ("words", "4 discs")):
        shown = "display({'application/vnd.plotly.v1+json': {'data': [1.5]}, 'text/plain': '3 discs'}, raw=True)"
        data = {"application/vnd.plotly.v1+json": {"data": [1.25]}, "text/plain": words}
        cell = new_code_cell(f"{MARK}{shown}", outputs=[new_output("display_data", data=data)], execution_count=1)
        nbformat.write(new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-rA"]
    done = subprocess.run([*command, "."], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert "FAILED changed.ipynb" in done.stdout
    assert "PASSED right.ipynb" in done.stdout
    assert "PASSED stripped.ipynb" in done.stdout
    assert "PASSED picture.ipynb" in done.stdout
    assert "FAILED words.ipynb" in done.stdout
