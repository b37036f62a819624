"""What nbval cannot see: that key cells exist and are compared, and that the form of the course is kept."""

import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

import lliptools as ll
from lliptools.teach.shared.style import CERTIFIED, STATES, UNPROVED

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MARK = "# NBVAL_CHECK_OUTPUT"
EXPLORER = re.compile(r"ll\.teach\.(\w+Explorer|Playground)\(")
PICTURE = re.compile(r"ll\.teach\.(\w+Explorer|Playground|plot|show_attack)\(")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def cells(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def test_the_tutorials_are_there():
    assert [path.stem for path in NOTEBOOKS] == [
        "00_start",
        "01_margins_and_certificates",
        "02_spectral_norm",
        "03_product_bound",
        "04_which_neurons_are_fixed",
        "05_clipping",
        "06_certified_training",
        "07_one_lipschitz_by_design",
        "08_lattice_and_capstone",
        "09_your_network",
    ]


def test_key_cells_are_compared(notebook):
    """nbval passes over cells without an execution count and without outputs."""
    keys = [cell for cell in cells(notebook, "code") if MARK in cell.source]
    assert len(keys) >= 2
    for cell in keys:
        assert cell.source.startswith(MARK)
        assert cell.execution_count
        assert "keep_output" in cell.metadata.tags
        assert any(output.get("text", "").strip() for output in cell.outputs)
        assert all(output.output_type == "stream" for output in cell.outputs)


def test_nothing_else_is_stored(notebook):
    assert "widgets" not in notebook.metadata
    for cell in cells(notebook, "code"):
        pictures = [set(output.get("data", {})) == {"image/png", "text/plain"} for output in cell.outputs]
        assert MARK in cell.source or (all(pictures) and len(pictures) == bool(PICTURE.search(cell.source)))
        assert cell.execution_count, "run `make notebooks`"


def test_form(notebook):
    code = cells(notebook, "code")
    assert all(len(cell.source.splitlines()) <= 13 for cell in code)  # twelve, and the mark
    prose = [cell.source for cell in cells(notebook, "markdown") if "](" not in cell.source]
    assert all(len(text.split()) <= 120 for text in prose if not text.startswith("<details>"))
    assert not any(line.rstrip().endswith(";") for cell in code for line in cell.source.splitlines())
    imports = [cell for cell in code if re.search(r"^(import|from) ", cell.source, re.MULTILINE)]
    assert imports == code[:1]
    text = "\n".join(cell.source for cell in notebook.cells)
    for part in ("**Question.**", "**Exercise", "## What we can now certify", "**Open question.**", "**Reference"):
        assert part in text


def test_first_picture_comes_soon(notebook):
    """In notebook 04 after a network so small that all its numbers stand there."""
    numbers_first = "relu}(W_1 x)" in notebook.cells[0].source
    first = next(k for k, cell in enumerate(notebook.cells) if EXPLORER.search(cell.source))
    before = notebook.cells[: first + 1]
    assert sum(len(cell.source.split()) for cell in before if cell.cell_type == "markdown") <= (
        260 if numbers_first else 100
    )
    assert sum(len(cell.source.splitlines()) for cell in before if cell.cell_type == "code") <= (
        25 if numbers_first else 15
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_size(path):
    notebook = nbformat.read(path, as_version=4)
    pictures = [out["data"]["image/png"] for c in cells(notebook, "code") for out in c.outputs if "data" in out]
    assert all(len(picture) * 3 / 4 <= 60_000 for picture in pictures)
    assert path.stat().st_size < 200_000 + sum(map(len, pictures))


def test_every_explorer_has_its_static_pictures(notebook):
    text = "\n".join(cell.source for cell in notebook.cells)
    named = re.findall(r"\]\((pictures/[^)]+)\)", text)
    assert len(named) == 3 * len(EXPLORER.findall(text))
    assert all((FOLDER / name).stat().st_size < 150_000 for name in named)


@pytest.mark.parametrize("stem", ["neurons-digits", "neurons-moons"])
@pytest.mark.parametrize("where", ["low", "middle", "high"])
def test_static_pictures_keep_the_colour_convention(stem, where):
    picture = Image.open(FOLDER / "pictures" / f"{stem}_{where}.png").convert("RGB")
    colors = {"#{:02X}{:02X}{:02X}".format(*color) for _, color in picture.getcolors(maxcolors=1 << 24)}
    assert {STATES[0].color, STATES[3].color} <= colors
    assert CERTIFIED in colors or UNPROVED in colors


def test_links_lead_somewhere(notebook):
    text = "\n".join(cell.source for cell in cells(notebook, "markdown"))
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (FOLDER / name).exists(), name


@pytest.mark.slow
def test_folded_solutions_are_right(notebook):
    """Run the notebook's exercise cells with the functions of its folded solutions: every check says right."""
    import torch

    text = "\n".join(cell.source for cell in notebook.cells)
    solutions = re.findall(r"<details><summary>Solution.*?```python\n(.*?)```", text, flags=re.DOTALL)
    scope: dict[str, object] = {"torch": torch, "ll": ll}
    outcomes = []
    for solution in solutions:
        if solution.startswith("ll.check"):
            outcomes.append(eval(solution, scope))
        else:
            exec(solution, scope)
    checks = re.findall(r"^ll\.check\.\w+\([\w, ]+\)$", text, flags=re.MULTILINE)
    outcomes += [eval(call, scope) for call in checks]
    assert len(outcomes) == len(solutions) >= 1
    assert [outcome.status for outcome in outcomes] == ["right"] * len(solutions)


def test_the_lecturers_table_is_counted(notebook, request):
    """The seconds of processor time, its last column, are measured by hand."""
    stem = request.node.callspec.id
    first = next(k for k, cell in enumerate(notebook.cells) if EXPLORER.search(cell.source))
    before = notebook.cells[: first + 1]
    words = sum(len(cell.source.split()) for cell in before if cell.cell_type == "markdown")
    lines = sum(len(cell.source.splitlines()) for cell in before if cell.cell_type == "code")
    headers = re.findall(r"\*\*Exercise.*?(\d+) minutes", "\n".join(cell.source for cell in notebook.cells))
    page = (FOLDER.parent / "docs" / "for_lecturers.md").read_text(encoding="utf-8")
    row = f"| {stem[:2]} | {words} | {lines} | {len(headers)} | {sum(map(int, headers))} |"
    assert row in page, row
