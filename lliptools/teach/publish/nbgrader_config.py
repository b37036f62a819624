"""nbgrader's settings for a course. `lliptools release` copies this file into it, so it stands alone."""

from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import GetGrades, NbGraderPreprocessor

COURSE = Path(__file__).parent


@cache
def require_packages(assignment: str) -> None:
    """End autograding before it begins where the kernel misses a package: each mark would be 0, and be kept as one.

    What is needed is said by the first cell of the lecturer's notebook. The hook that calls this would swallow an
    ordinary exception.
    """
    for path in (COURSE / "source" / assignment).glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [
            cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == "machine"
        ]
        try:
            NotebookClient(notebook, timeout=300).execute()
        except CellExecutionError as error:
            raise SystemExit(f"nothing was graded: {error.evalue}") from None


class HideTests(NbGraderPreprocessor):
    """Feedback without hidden tests: of a cell that gives marks, its first line and what the check finds wrong."""

    def preprocess_cell(
        self, cell: nbformat.NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
        if cell.metadata.get("nbgrader", {}).get("grade_id", "").endswith("_marks"):
            cell.source = cell.source.partition("\n")[0]
            cell.outputs = [output for output in cell.outputs if output.output_type == "error"]
            for output in cell.outputs:
                output.traceback = [output.evalue]
        return cell, resources


c = get_config()  # type: ignore[name-defined]  # noqa: F821, who reads this file gives it the name
c.CourseDirectory.course_id = "lliptools"
c.ClearSolutions.code_stub = {"python": ""}  # a region of a solution stands after the empty function, not inside it
c.Execute.timeout = 300
c.Execute.store_widget_state = False  # megabytes per notebook
c.Autograde.pre_convert_hook = lambda assignment, **_: require_packages(assignment)
c.GenerateFeedback.preprocessors = [GetGrades, HideTests, CSSHTMLHeaderPreprocessor]
