"""Coursework: the reference solutions get full marks, empty functions none, and a table of the visible cases none.

nbgrader itself runs in test_coursework.py, on a notebook of two exercises; here every tutorial is marked without it.
"""

import ast
import random
import re
import symtable
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions
from table_of_visible_cases import cheat
from traitlets.config import Config

import lliptools as ll
from lliptools.teach.publish import solutions
from lliptools.teach.publish.release import release, source, write_sources

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[3] / "notebooks"
TUTORIALS = {path.stem: nbformat.read(path, as_version=4) for path in sorted(FOLDER.glob("*.ipynb"))}
GRADED = {name: [task for task in solutions.tasks(notebook) if task.names] for name, notebook in TUTORIALS.items()}
EXERCISES = [(name, n) for name, graded in GRADED.items() for n in range(len(graded))]
SETTINGS = Config({"ClearSolutions": {"code_stub": {"python": ""}}})  # as nbgrader_config.py has it


@cache
def lecturers(name):
    return source(TUTORIALS[name], random.Random(3))


@cache
def students(name):
    notebook, _ = ClearSolutions(config=SETTINGS).preprocess(source(TUTORIALS[name], random.Random(3)), {})
    return ClearHiddenTests().preprocess(notebook, {})[0]


def exercise(notebook, task):
    """The cell of an exercise and the cells that give its marks, and what comes before."""
    names = [call.func.attr for call in task.calls]
    at = {cell.metadata.get("nbgrader", {}).get("grade_id"): k for k, cell in enumerate(notebook.cells)}
    assert [at[names[0]] + 1 + n for n in range(len(names))] == [at[f"{name}_marks"] for name in names]
    before = [cell.source for cell in notebook.cells[: at[names[0]]] if cell.cell_type == "code"]
    return before, notebook.cells[at[names[0]]], [notebook.cells[at[f"{name}_marks"]] for name in names]


def needed(before, text):
    """Of the cells before, those that define what a text uses, and what these use in turn; the imports always."""
    chosen, wanted = [], uses(text)
    for cell in reversed(before[1:]):
        if defines(cell) & wanted:
            chosen.insert(0, cell)
            wanted |= uses(cell)
    return [cell for cell in before if "import lliptools as ll" in cell][:1] + chosen


def uses(text):
    """The names that a cell takes from others: what is local to its functions is its own."""

    def taken(table):
        inside = table.get_type() != "module"
        own = {each.get_name() for each in table.get_symbols() if each.is_global() or not inside}
        return own.union(*map(taken, table.get_children()))

    return taken(symtable.symtable(text, "cell", "exec"))


def defines(text):
    found = symtable.symtable(text, "cell", "exec").get_symbols()
    return {each.get_name() for each in found if each.is_assigned() or each.is_imported() or each.is_namespace()}


def run(cells, scope):
    """Run cells without the checks that they call."""
    for cell in cells:
        tree = ast.parse(cell)
        tree.body = [each for each in tree.body if not ast.unparse(each).startswith("ll.check.")]
        exec(compile(tree, "cell", "exec"), scope)
    return scope


def marks(tests, scope):
    """The points that the hidden tests give, and what they say where they give none."""
    points, said = 0, []
    for cell in tests:
        try:
            exec(cell.source, scope)
            points += cell.metadata.nbgrader["points"]
        except AssertionError as error:
            said.append(str(error))
    return points, said


def scope_of(name, task, cell):
    before, _, _ = exercise(lecturers(name), task)
    return run([*needed(before, f"{cell.source}\n{task.solution}"), cell.source], {})


@pytest.mark.parametrize(("name", "n"), EXERCISES)
def test_the_reference_solution_gets_full_marks(name, n):
    task = GRADED[name][n]
    _, cell, tests = exercise(lecturers(name), task)
    assert marks(tests, scope_of(name, task, cell)) == (task.difficulty * len(tests), [])


@pytest.mark.parametrize(("name", "n"), EXERCISES)
def test_an_empty_answer_gets_none_and_is_told_so(name, n):
    task = GRADED[name][n]
    _, cell, _ = exercise(students(name), task)
    _, _, tests = exercise(lecturers(name), task)
    points, said = marks(tests, scope_of(name, task, cell))
    assert points == 0
    assert len(said) == len(tests)
    assert all("not attempted" in each for each in said)


SEEDED = [
    (name, n)
    for name, n in EXERCISES
    if all(getattr(getattr(ll.check, call.func.attr), "seeded", False) for call in GRADED[name][n].calls)
]


@pytest.mark.parametrize(("name", "n"), SEEDED)
def test_a_table_of_the_visible_cases_passes_the_visible_check_and_gets_no_marks(name, n):
    task = GRADED[name][n]
    _, cell, tests = exercise(lecturers(name), task)
    scope = scope_of(name, task, cell)
    for call, test in zip(task.calls, tests, strict=True):
        (function,) = [each.id for each in call.args if callable(scope[each.id])]

        def check(answer, function=function, call=call):
            return eval(ast.unparse(call), {**scope, function: answer})

        right = getattr(ll.check, call.func.attr).reference  # another right answer than the solution, and a fast one
        answer = cheat(right if callable(right) else right[0], check)
        assert check(answer).status == "right"
        points, said = marks([test], {**scope, function: answer})
        assert points == 0
        assert "wrong" in said[0]


@pytest.mark.parametrize("name", TUTORIALS)
def test_every_exercise_with_points_has_its_hidden_test(name):
    notebook = lecturers(name)
    for task in GRADED[name]:
        _, cell, tests = exercise(notebook, task)
        assert "### BEGIN SOLUTION" in cell.source
        assert len(tests) == len(task.calls) >= 1
        for call, test in zip(task.calls, tests, strict=True):
            assert test.metadata.nbgrader["points"] == task.difficulty
            assert test.metadata.nbgrader["locked"]
            assert "### BEGIN HIDDEN TESTS" in test.source
            seeded = getattr(getattr(ll.check, call.func.attr), "seeded", False)
            assert ("seed=" in test.source) == seeded
    given = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("points")]
    assert len(given) == sum(len(task.calls) for task in GRADED[name])
    assert ("machine" in {cell.id for cell in notebook.cells}) == bool(given)


@pytest.mark.parametrize("name", TUTORIALS)
def test_students_see_no_solution_and_no_hidden_test(name):
    graded = GRADED[name]
    text = "\n".join(cell.source for cell in students(name).cells)
    assert not re.search(r"BEGIN|END (SOLUTION|HIDDEN)|assert outcome|seed=\d", text)
    if graded:
        assert "<summary>Solution" not in text
    shown = "\n".join(solutions.without_folds(cell.source) for cell in TUTORIALS[name].cells)
    for task in graded:
        own = [line for line in task.solution.splitlines() if line.strip() and line not in shown]
        assert own
        assert not [line for line in own if line in text]


def test_tutorials_with_marks_are_there():
    """None of the tests above passes for want of exercises."""
    assert EXERCISES
    assert SEEDED
    assert {name for name, _ in EXERCISES} == {name for name in TUTORIALS if name != "00_start"}


def hidden_seeds(seed):
    text = "\n".join(cell.source for cell in source(TUTORIALS["04_which_neurons_are_fixed"], random.Random(seed)).cells)
    return re.findall(r"seed=(\d+)", text)


def test_seeds_follow_from_the_courses_and_differ():
    assert hidden_seeds(1) == hidden_seeds(1)
    assert len({*hidden_seeds(1), *hidden_seeds(2)}) == 2 * len(hidden_seeds(1)) >= 6
    assert "0" not in hidden_seeds(1)  # of the notebooks' own cases


def test_a_self_test_is_left_to_the_students():
    notebook = lecturers("00_start")
    assert "<summary>Solution" in "\n".join(cell.source for cell in notebook.cells)
    assert not any("nbgrader" in cell.metadata for cell in notebook.cells)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course") / "source"
    write_sources(folder, sorted(FOLDER.glob("*.ipynb")), random.Random(3))
    return folder


def links(path):
    """The links of a notebook or a page to files."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
    return [to.partition("#")[0] for to in re.findall(r"\]\((?!\w+:|#)([^)\s]+\.\w+(?:#[^)\s]*)?)\)", text)]


def test_links_of_an_assignment_lead_to_files_of_the_course(sources):
    found = [(path, to) for path in sources.rglob("*") if path.suffix in {".ipynb", ".md"} for to in links(path)]
    assert len(found) >= 10
    for path, to in found:
        assert (path.parent / to).resolve().is_relative_to(sources.resolve())
        assert (path.parent / to).exists(), f"{path}: {to}"


def test_an_assignment_holds_one_notebook_its_pictures_and_pages(sources):
    for folder in sources.iterdir():
        files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        assert [path.as_posix() for path in files if path.suffix == ".ipynb"] == [f"{folder.name}.ipynb"]
        assert {path.suffix for path in files} <= {".ipynb", ".png", ".md"}
        assert sum((folder / path).stat().st_size for path in files) < 2_000_000


def test_a_part_of_the_course_is_released_without_links_to_the_rest(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for name in ("secret.ipynb", "kept.ipynb"):
        nbformat.write(nbformat.v4.new_notebook(), tmp_path / name)
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("[back](../notebooks/one.ipynb) [code](../code.py) [page](page.md#a)")
    text = "[next](02.ipynb) [page](../docs/page.md#b) [solved](../secret.ipynb) [out](../../../etc/hosts.md) [w](https://w.md)"
    cells = [nbformat.v4.new_markdown_cell(text)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "one.ipynb")
    write_sources(tmp_path / "source", [tmp_path / "notebooks" / "one.ipynb"], random.Random(3))
    folder = tmp_path / "source" / "one"
    made = nbformat.read(folder / "one.ipynb", as_version=4).cells[0].source
    assert made == "next [page](docs/page.md#b) solved out [w](https://w.md)"
    assert (folder / "docs" / "page.md").read_text() == "[back](../one.ipynb) code [page](page.md#a)"
    assert sorted(path.name for path in folder.rglob("*.*")) == ["one.ipynb", "page.md"]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda course, notebooks: None, "which contains none"),
        (lambda course, notebooks: (course / "release").mkdir(parents=True), "which contains"),
    ],
)
def test_release_refuses(tmp_path, prepare, said):
    course, notebooks = tmp_path / "course", tmp_path / "notebooks"
    prepare(course, notebooks)
    with pytest.raises(ll.InvalidInput, match=said):
        release(course, FOLDER if course.exists() else notebooks)
    assert not (course / "source").exists()
