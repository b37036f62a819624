"""The explorers on one page without code: lliptools app. Needs the extra `app`, that is, voila."""

import sys
from pathlib import Path

import ipywidgets

from lliptools.errors import extra
from lliptools.teach.explorers import EXAMPLES
from lliptools.teach.publish import lab

# Tabs as wide as their titles, on a second line where one is full.
STYLE = """<style>
.widget-tab > .lm-TabBar > .lm-TabBar-content { flex-wrap: wrap; }
.widget-tab > .lm-TabBar .lm-TabBar-tab { flex: 0 0 auto; }
</style>"""


def serve(port: int = 8866, *, browser: bool = True) -> int:
    """Serve the page on this machine, to it alone, until it is interrupted."""
    with extra("app"):
        import voila  # noqa: F401 - served by a process of its own
    flags = ["--Voila.ip=127.0.0.1", f"--port={port}", "--theme=light", *([] if browser else ["--no-browser"])]
    return lab.serve([sys.executable, "-m", "voila", str(Path(__file__).with_suffix(".ipynb")), *flags])


def page() -> ipywidgets.VBox:
    """All explorers, each on a tab of its own, made when it is first looked at."""
    examples = list(EXAMPLES.values())
    tabs = ipywidgets.Tab([ipywidgets.VBox() for _ in examples], titles=[example.title for example in examples])

    def look(_: object) -> None:
        shown, example = tabs.children[tabs.selected_index], examples[tabs.selected_index]
        if not shown.children:
            shown.children = [ipywidgets.HTML(f"<p>{example.question}</p>"), example.make()]

    tabs.observe(look, names="selected_index")
    tabs.selected_index = 0
    look(None)
    return ipywidgets.VBox([ipywidgets.HTML(STYLE), tabs])
