"""Tutorials and solved notebooks have one source, and a fold that stands at the wrong place is refused."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from solved import MARK, answered, solved

import lliptools as ll
from lliptools.teach.publish.solutions import relinked, tasks, without_folds

FOLDER = Path(__file__).parents[3] / "notebooks"
TUTORIALS = sorted(FOLDER.glob("*.ipynb"))
FUNCTION = "def double(x):\n    ...\n\n\nll.check.double(double)"
NUMBERS = "ll.check.self_test(\n    norm=None,\n    relu=None,\n)"


def fold(code, title="Solution"):
    return f"<details><summary>{title}</summary>\n\n```python\n{code}\n```\n\nBecause.\n\n</details>"


def notebook(*cells):
    """Cells of text; those that hold a call or a definition are code."""
    return new_notebook(
        cells=[(new_markdown_cell if each.startswith(("<", "#", "*")) else new_code_cell)(each) for each in cells]
    )


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_and_solved_notebook_are_in_step(path):
    """But for outputs and counts, which come from running it, the solved notebook is what the tutorial makes."""
    stored = nbformat.read(path.parent / "solutions" / path.name, as_version=4)
    made = solved(nbformat.read(path, as_version=4))
    assert [seen(cell) for cell in stored.cells] == [seen(cell) for cell in made.cells], "run `make notebooks`"


def seen(cell):
    return cell.cell_type, cell.source, cell.metadata.get("tags", [])


def test_no_solved_notebook_is_left_over():
    assert [path.name for path in sorted((FOLDER / "solutions").glob("*.ipynb"))] == [path.name for path in TUTORIALS]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_every_check_of_a_tutorial_is_answered_once(path):
    tutorial = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in tutorial.cells if cell.cell_type == "code")
    called = re.findall(r"^ll\.check\.(\w+)\(", text, re.MULTILINE)
    found = tasks(tutorial)
    names = [call.func.attr for task in found for call in task.calls]
    assert names == called
    assert len(set(names)) == len(names) >= 1
    assert set(names) <= set(ll.check.__all__)
    assert all(1 <= task.difficulty <= 4 for task in found)


def test_a_changed_digit_is_out_of_step():
    one, other = (solved(notebook(FUNCTION, fold(f"def double(x):\n    return {n} * x"))) for n in (2, 3))
    assert one.cells[0].source != other.cells[0].source


def test_a_solution_stands_where_the_empty_function_stood():
    made = solved(notebook("# Title", "*Exercise*", FUNCTION, fold("def double(x):\n    return 2 * x"), "# End"))
    assert [cell.source for cell in made.cells] == [
        "# Title (solved)",
        "*Exercise*",
        f"{MARK}\ndef double(x):\n    return 2 * x\n\n\nll.check.double(double)",
        "# End",
    ]
    assert made.cells[2].metadata.tags == ["keep_output"]


def test_helpers_of_a_solution_and_code_around_the_answer_stay():
    task = tasks(
        notebook(
            f"import torch\n\nstart = 3\n{FUNCTION}\nprint(start)",
            fold("def half(x):\n    return x / 2\n\n\ndef double(x):\n    return 4 * half(x)"),
        )
    )[0]
    assert task.names == {"double"}
    assert answered(task) == (
        "import torch\n\nstart = 3\ndef half(x):\n    return x / 2\n\n\ndef double(x):\n    return 4 * half(x)\n\n\n"
        "ll.check.double(double)\nprint(start)"
    )


def test_a_call_with_numbers_is_replaced_whole():
    task = tasks(notebook(NUMBERS, fold("ll.check.self_test(norm=4, relu=0)")))[0]
    assert answered(task) == "ll.check.self_test(norm=4, relu=0)"
    assert task.names == set()


def test_difficulty_is_that_of_the_last_header():
    text = "**Exercise {}** · difficulty {} · 5 minutes."
    found = tasks(
        notebook(
            text.format(1, "●●●○"),
            FUNCTION,
            f"{fold('def double(x): return 2 * x')}\n\n{text.format(2, '●○○○')}",
            NUMBERS,
            fold("ll.check.self_test(norm=4)"),
        )
    )
    assert [task.difficulty for task in found] == [3, 1]


ANSWER = fold("def double(x):\n    return 2 * x")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ((FUNCTION,), "after the last exercise"),
        ((ANSWER, FUNCTION), "after its exercise"),
        ((FUNCTION, ANSWER, ANSWER), "after its exercise"),
        ((FUNCTION, f"{ANSWER}\n\n{ANSWER}"), "after its exercise"),
        ((FUNCTION, NUMBERS, ANSWER), "before the next exercise"),
        ((FUNCTION, "<details><summary>Solution</summary>\n\nTwo.\n\n</details>"), "with a Python block"),
        ((FUNCTION, fold("def triple(x):\n    return 3 * x")), "that defines what its cell asks for"),
        ((NUMBERS, ANSWER), "that defines what its cell asks for"),
    ],
)
def test_misplaced_folds_are_refused(cells, said):
    with pytest.raises(ll.InvalidInput, match="fold one solution beneath each cell") as refused:
        solved(notebook(*cells))
    assert said in str(refused.value)
    assert "double" in str(refused.value) or "Two." in str(refused.value)  # the cell or the fold is named


def test_other_folds_stay():
    picture = "<details><summary>The same figure without a kernel</summary>\n\n![low](pictures/low.png)\n\n</details>"
    assert without_folds(f"{picture}\n\n{fold('x = 1')}\n\n<br>\n\nNext.") == f"{picture}\n\nNext."
    made = solved(notebook(FUNCTION, ANSWER, picture))
    assert "](../pictures/low.png)" in made.cells[1].source


@pytest.mark.parametrize(
    ("link", "moved"),
    [
        ("[a](01.ipynb)", "[a](../01.ipynb)"),
        ("![p](pictures/p.png)", "![p](../pictures/p.png)"),
        ("[n](../docs/notation.md#norms)", "[n](../../docs/notation.md#norms)"),
        ("[w](https://arxiv.org/abs/1)", "[w](https://arxiv.org/abs/1)"),
        ("[b](#below)", "[b](#below)"),
        ("[a [b]](01.ipynb)", "[a [b]](../01.ipynb)"),
        ("`net[0](x)`", "`net[0](x)`"),
    ],
)
def test_links_of_a_solved_notebook_lead_one_folder_up(link, moved):
    assert relinked(link, lambda target: f"../{target}") == moved


def test_a_link_that_leads_nowhere_leaves_its_text():
    assert relinked("See [the code](../a.py), [n](n.md).", lambda to: to if to == "n.md" else None) == (
        "See the code, [n](n.md)."
    )
