"""The solved twin of a tutorial: each folded solution in the place of what its exercise asks for."""

import ast
import copy
import re

from nbformat import NotebookNode

from lliptools.teach.publish.solutions import Task, calls, defined, misplaced, relinked, tasks, without_folds

MARK = "# NBVAL_CHECK_OUTPUT"


def solved(notebook: NotebookNode) -> NotebookNode:
    """The solved notebook, to lie one folder below: solutions in the cells, folds gone, outcomes of checks compared."""
    result = copy.deepcopy(notebook)
    for task in tasks(notebook):
        cell = result.cells[task.index]
        cell.source = f"{MARK}\n{answered(task)}"
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "keep_output"]
    for cell in result.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(without_folds(cell.source), lambda target: f"../{target}")
        else:
            cell.outputs, cell.execution_count = [], None
    result.cells = [cell for cell in result.cells if cell.source]
    title, *rest = result.cells[0].source.splitlines()
    result.cells[0].source = "\n".join([f"{title} (solved)", *rest])
    return result


def answered(task: Task) -> str:
    """The source of the cell with the solution in the place of what it answers."""
    lines = task.source.splitlines()
    names = set().union(*map(_answers, ast.parse(task.solution).body))
    spans = [_span(each) for each in ast.parse(task.source).body if _answers(each) & names]
    if not spans:
        raise misplaced("that defines what its cell asks for", f"{task.solution}\nfor the cell\n{task.source}")
    for first, last in reversed(spans):
        del lines[first:last]
    lines[spans[0][0] : spans[0][0]] = task.solution.splitlines()
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines))  # where several answers stood apart


def _answers(statement: ast.stmt) -> set[str]:
    """What a solution's statement can stand in for: the names it defines, or the check it calls."""
    return defined(statement) or {ast.unparse(call.func) for call in calls(ast.unparse(statement))}


def _span(statement: ast.stmt) -> tuple[int, int]:
    """The lines of a statement, with its decorators: first, one past the last."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(each.lineno for each in decorators)])
    assert statement.end_lineno is not None
    return first - 1, statement.end_lineno
