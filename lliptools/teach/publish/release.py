"""Coursework: an nbgrader course from the notebooks, with hidden tests on cases that no student has seen."""

import ast
import copy
import os
import random
import secrets
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lliptools.errors import InvalidInput, extra
from lliptools.teach import check
from lliptools.teach.publish import solutions
from lliptools.teach.publish.solutions import Task

MACHINE = """\
# Leave this cell as it is: it says whether this machine can run the notebook, and grade it.
from importlib import import_module

faults = []
for name in ("torch", "sklearn", "plotly", "ipywidgets", "anywidget", "lliptools", "lliptools.teach.check"):
    try:
        import_module(name)
    except Exception as error:
        faults.append(f"{name} does not load, {type(error).__name__}: {error}")
if faults:
    raise ImportError("; ".join([*faults, "a mark given on this machine says nothing about an answer"]))"""


def release(destination: Path, notebooks: Path, seed: int | None = None) -> list[str]:
    """Write source/ and, by nbgrader's generate_assignment, release/: one assignment per notebook; returns their names.

    The hidden tests draw their cases from seeds that follow from `seed`, by default a secret one.
    """
    paths = sorted(notebooks.glob("*.ipynb"))
    if not paths:
        wanted, found = "a folder with the course's notebooks", f"{notebooks}, which contains none"
        cause, then = "a folder of something else", "leave --notebooks out for the course's own"
        raise InvalidInput(expected=wanted, got=found, cause=cause, next_step=then)
    if destination.exists() and any(destination.iterdir()):
        wanted, found = "a new folder for the course, or an empty one", f"{destination}, which contains files"
        cause = "a course that was released there before, with other hidden tests"
        raise InvalidInput(expected=wanted, got=found, cause=cause, next_step="name another folder")
    with extra("course"):
        from nbgrader.apps import NbGraderAPI
        from nbgrader.utils import setenv
    from traitlets.config import PyFileConfigLoader

    write_sources(destination / "source", paths, random.Random(secrets.randbits(64) if seed is None else seed))
    shutil.copy(Path(__file__).with_name("nbgrader_config.py"), destination)
    settings = PyFileConfigLoader("nbgrader_config.py", path=str(destination)).load_config()
    settings.CourseDirectory.root = str(destination.resolve())
    nbgrader = NbGraderAPI(config=settings)
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for path in paths:
        with setenv(PATH=beside):  # nbgrader starts alembic by its name
            done = nbgrader.generate_assignment(path.stem)
        if not done["success"]:
            raise RuntimeError(f"nbgrader could not make the assignment {path.stem}:\n{done['log']}\n{done['error']}")
    return [path.stem for path in paths]


def write_sources(to: Path, notebooks: list[Path], seeds: random.Random) -> None:
    """Write the lecturer's copies, a folder for each, with the pictures and pages that they link to."""
    for path in notebooks:
        at = to / path.stem / path.name
        at.parent.mkdir(parents=True)
        notebook = source(nbformat.read(path, as_version=4), seeds)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = _with_files(cell.source, path, at, at.parent, notebooks)
        nbformat.write(notebook, at)


def source(notebook: NotebookNode, seeds: random.Random) -> NotebookNode:
    """The lecturer's copy of a tutorial: solutions in marked regions, a hidden test beneath each exercise.

    An exercise that asks for no name, like a self-test, is left to the students, fold and all.
    """
    graded = [task for task in solutions.tasks(notebook) if task.names]
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count, cell.metadata = [], None, NotebookNode()
        elif graded:
            cell.source = solutions.without_folds(cell.source)
    for task in reversed(graded):
        cell = result.cells[task.index]
        first = task.calls[0]
        cell.source = _with_region(task, first.lineno - 1)
        cell.metadata["nbgrader"] = _marks(_name(first), solution=True)
        result.cells[task.index + 1 : task.index + 1] = [_hidden_test(task, call, seeds) for call in task.calls]
    if graded:
        first_code = next(index for index, cell in enumerate(result.cells) if cell.cell_type == "code")
        result.cells.insert(first_code, _graded_cell("machine", MACHINE, points=0))
    result.cells = [cell for cell in result.cells if cell.source]
    return result


def _with_region(task: Task, line: int) -> str:
    """The cell with the solution marked, before the line of its check; without it, the tutorial's cell."""
    lines = task.source.splitlines()
    blank = line > 0 and not lines[line - 1]
    region = ["### BEGIN SOLUTION", *task.solution.splitlines(), "### END SOLUTION"]
    lines[line - blank : line] = region
    return "\n".join(lines)


def _hidden_test(task: Task, call: ast.Call, seeds: random.Random) -> NotebookNode:
    """A cell that gives the marks of an exercise: as many as its difficulty, for right answers on other cases."""
    hidden = copy.deepcopy(call)
    if getattr(check, _name(call)).seeded:
        hidden.keywords.append(ast.keyword("seed", ast.Constant(seeds.randrange(1, 2**31))))
    text = f"""\
# Marks for this exercise: {task.difficulty}, given here, on cases other than those above.
### BEGIN HIDDEN TESTS
import lliptools as ll

outcome = {ast.unparse(hidden)}
assert outcome.status == "right", outcome
### END HIDDEN TESTS"""
    return _graded_cell(f"{_name(call)}_marks", text, points=task.difficulty)


def _name(call: ast.Call) -> str:
    """The exercise that a call checks."""
    return ast.unparse(call.func).removeprefix("ll.check.")


def _graded_cell(name: str, text: str, points: int) -> NotebookNode:
    """A locked cell that gives marks."""
    return nbformat.v4.new_code_cell(text, id=name, metadata={"nbgrader": _marks(name, points=points)})


def _marks(name: str, solution: bool = False, points: int = 0) -> dict[str, object]:
    """What nbgrader keeps in a cell: an answer's, or with points one that gives marks."""
    common = {"grade_id": name, "schema_version": 3, "solution": solution, "task": False}
    return common | {"grade": not solution, "locked": not solution} | ({} if solution else {"points": points})


def _with_files(text: str, path: Path, at: Path, folder: Path, notebooks: list[Path]) -> str:
    """A file's text, from path, to lie at `at` in an assignment's folder, where its links have to hold.

    Other notebooks of the course lie in folders beside. A notebook's other files are copied, and so are a page's that
    lie beside it. What leads elsewhere, or to a solved notebook, stays as text without its link.
    """
    course = [each.resolve() for each in notebooks]

    def target(link: str) -> str | None:
        name, mark, anchor = link.partition("#")
        file = (path.parent / name).resolve()
        if file in course:
            place = folder.parent / file.stem / file.name
        else:
            checkout = course[0].parents[1]
            within = file.is_relative_to(checkout if path.suffix == ".ipynb" else path.resolve().parent)
            if not within or not file.is_file() or file.suffix == ".ipynb":
                return None
            below = course[0].parent if file.is_relative_to(course[0].parent) else checkout
            place = folder / file.relative_to(below)
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)  # first of all: pages may link back to each other
                if file.suffix == ".md":
                    text = _with_files(file.read_text(encoding="utf-8"), file, place, folder, notebooks)
                    place.write_text(text, encoding="utf-8")
        return Path(os.path.relpath(place, at.parent)).as_posix() + mark + anchor

    return solutions.relinked(text, target)
