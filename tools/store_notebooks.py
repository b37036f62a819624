"""Draw the static pictures, run every notebook and its solved twin, and store the outputs of key cells only.

Run as `make notebooks` after a change to a notebook, a figure or a shipped network.
"""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import plotly.graph_objects as go
from browser import open_browser
from nbclient import NotebookClient
from PIL import Image
from playwright.sync_api import Browser
from plotly.offline import get_plotlyjs

from lliptools.teach.explorers import EXAMPLES
from lliptools.teach.publish import gallery, solutions
from lliptools.teach.shared.style import CERTIFIED, CONFIG, INK, STATES, UNPROVED
from lliptools.teach.shared.transport import SCRIPTS, STYLE

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def draw(browser: Browser) -> None:
    """The static twins of the explorers: low, middle and high on the control that tells the story of each."""
    for name, example in EXAMPLES.items():
        if not example.control:
            continue
        print("drawing", name)
        pictures = {position: figure for position, figure, _ in gallery.strip(name)[1]}
        for where, position in zip(("low", "middle", "high"), example.still, strict=True):
            figure = pictures[_nearest(list(pictures), position)]
            few_colors(screenshot(browser, figure)).save(NOTEBOOKS / "pictures" / f"{name}_{where}.png", optimize=True)


def _nearest(positions: list[Any], wanted: Any) -> Any:
    """The position that is wanted, but for rounding where it is a number."""
    if isinstance(wanted, str):
        return wanted
    return min(positions, key=lambda position: abs(position - wanted))


def screenshot(browser: Browser, figure: go.Figure) -> Image.Image:
    """A figure as it is seen in a browser."""
    page = browser.new_page(viewport={"width": figure.layout.width, "height": 800})
    page.set_content(
        f"<style>{STYLE} body {{ margin: 0 }} .ll-words {{ display: none }}</style><div id='figure'></div>"
    )
    page.add_script_tag(content=get_plotlyjs())
    draw = f"new Board(document.getElementById('figure'), Plotly, {json.dumps(CONFIG)}).draw({figure.to_json()});"
    page.add_script_tag(content=SCRIPTS + draw, type="module")
    page.wait_for_selector(".js-plotly-plot .main-svg", state="attached")
    page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(page.locator(".ll-board").screenshot())).convert("RGB")
    page.close()
    return picture


def few_colors(picture: Image.Image) -> Image.Image:
    """The picture in 128 colours, a third of the bytes, with those of the colour convention exact."""
    fixed = [*(state.color for state in STATES), CERTIFIED, UNPROVED, INK, "#FFFFFF"]
    exact = [tuple(int(color[k : k + 2], 16) for k in (1, 3, 5)) for color in fixed]
    chosen = picture.quantize(128 - len(exact)).getpalette() or []
    others = [tuple(chosen[k : k + 3]) for k in range(0, len(chosen), 3)]
    # A neighbour of a fixed colour would be taken in its place.
    far = [o for o in others if all(max(abs(a - b) for a, b in zip(o, e, strict=True)) > 12 for e in exact)]
    table = Image.new("P", (1, 1))
    table.putpalette([channel for color in [*exact, *far] for channel in color])
    return picture.quantize(palette=table, dither=Image.Dither.NONE)


def store(path: Path) -> None:
    """Run a notebook where it lies and keep counts everywhere, outputs only in the cells tagged keep_output."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=300, store_widget_state=False, resources={"metadata": {"path": path.parent}}
    ).execute()
    nbformat.write(notebook, path)
    subprocess.run([Path(sys.executable).with_name("nbstripout"), "--keep-count", path], check=True)


def write_solved(path: Path) -> Path:
    """Write the solved notebook of a tutorial; returns where it is."""
    to = path.parent / "solutions" / path.name
    to.parent.mkdir(exist_ok=True)
    nbformat.write(solutions.solved(nbformat.read(path, as_version=4)), to)
    return to


def main() -> None:
    """Everything, in order."""
    (NOTEBOOKS / "pictures").mkdir(exist_ok=True)
    with open_browser() as browser:
        draw(browser)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        print("running", path.name)
        store(path)
        store(write_solved(path))


if __name__ == "__main__":
    main()
