"""The exercises of a tutorial and their solutions: each is folded beneath its exercise.

An exercise is a code cell that calls `ll.check.NAME(...)`. Its solution is the first Python block of the fold
`<details><summary>Solution</summary> … </details>` that comes after it, before the next exercise.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbformat import NotebookNode

from lliptools.errors import InvalidInput

_FOLD = re.compile(r"<details>\s*<summary>Solution[^<]*</summary>(.*?)</details>\s*(?:<br>\s*)?", re.DOTALL)
_CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
_TEXT = r"(?:[^\[\]]|\[[^\[\]]*\])*"
_LINK = re.compile(rf"(!?)\[({_TEXT})\]\((?!\w+:)([^)\s#]+\.\w+(?:#[^)\s]*)?)\)")


@dataclass(frozen=True)
class Task:
    """An exercise: the index of its cell, the cell's source, the code of its solution, its difficulty (1 to 4)."""

    index: int
    source: str
    solution: str
    difficulty: int

    @property
    def calls(self) -> list[ast.Call]:
        """The calls of `ll.check` in the cell."""
        return list(calls(self.source))

    @property
    def names(self) -> set[str]:
        """What the cell asks for: the functions and values that it defines and the solution defines anew."""
        wanted = set().union(*(defined(each) for each in ast.parse(self.source).body))
        return wanted & set().union(*(defined(each) for each in ast.parse(self.solution).body))


def tasks(notebook: NotebookNode) -> list[Task]:
    """The exercises of a tutorial, in order; each must have one folded solution."""
    found: list[Task] = []
    waiting: tuple[int, str, int] | None = None
    difficulty = 1
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and list(calls(cell.source)):
            if waiting:
                raise misplaced("before the next exercise", f"none after\n{waiting[1]}")
            waiting = index, cell.source, difficulty
        elif cell.cell_type == "markdown":
            for fold in _FOLD.findall(cell.source):
                code = _CODE.search(fold)
                if waiting is None or code is None:
                    raise misplaced("with a Python block, after its exercise", fold)
                found.append(Task(waiting[0], waiting[1], code[1].rstrip(), waiting[2]))
                waiting = None
            if headers := re.findall(r"\*\*Exercise.*?difficulty (●*)", cell.source):
                difficulty = len(headers[-1])
    if waiting:
        raise misplaced("after the last exercise", f"none after\n{waiting[1]}")
    return found


def without_folds(text: str) -> str:
    """Prose without its folded solutions."""
    return _FOLD.sub("", text).strip()


def relinked(text: str, target: Callable[[str], str | None]) -> str:
    """Markdown with the target of each link to a file, anchor and all, replaced by target(it); None leaves its text."""

    def new(link: re.Match[str]) -> str:
        to = target(link[3])
        return link[2] if to is None else f"{link[1]}[{link[2]}]({to})"

    return _LINK.sub(new, text)


def misplaced(expected: str, got: str) -> InvalidInput:
    """The error of an exercise and a solution that do not belong together."""
    return InvalidInput(
        expected=f"a folded solution {expected}",
        got=got,
        cause="a fold that is missing, or stands at another exercise",
        next_step="fold one solution beneath each cell that calls ll.check",
    )


def calls(source: str) -> Iterator[ast.Call]:
    """The statements `ll.check.NAME(...)` of a cell."""
    for each in ast.parse(source).body:
        call = each.value if isinstance(each, ast.Expr) else None
        if isinstance(call, ast.Call) and re.fullmatch(r"ll\.check\.\w+", ast.unparse(call.func)):
            yield call


def defined(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
