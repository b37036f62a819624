"""nbgrader's settings for a course. `lliptools release` copies this file into it, so it stands alone."""

from typing import Any

from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import has_failed


class MachineIsReady(NbGraderPreprocessor):
    """Refuses to grade where a notebook's first cell found a package missing: every mark would be 0."""

    def preprocess(self, notebook: Any, resources: Any) -> tuple[Any, Any]:
        """The notebook as it is, or an error with the words of its first cell."""
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") == "machine" and has_failed(cell):
                said = [output.evalue for output in cell.outputs if output.output_type == "error"]
                raise RuntimeError("; ".join(["nothing was graded", *said]))
        return notebook, resources


c = get_config()  # type: ignore[name-defined]  # noqa: F821, who reads this file gives it the name
c.CourseDirectory.course_id = "lliptools"
c.ClearSolutions.code_stub = {"python": ""}  # a region of a solution stands after the empty function, not inside it
c.Execute.timeout = 300
c.Execute.store_widget_state = False  # megabytes a notebook
c.Autograde.autograde_preprocessors.insert(1, MachineIsReady)  # after the notebook has run, before its marks are stored
