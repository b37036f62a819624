"""Draw the static pictures, run every notebook and its solved twin, and store the outputs of key cells only.

Run as `make notebooks` after a change to a notebook, a figure or a shipped network.
"""

import base64
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import plotly.graph_objects as go
from browser import open_browser
from nbclient import NotebookClient
from PIL import Image
from playwright.sync_api import Browser
from plotly.offline import get_plotlyjs
from solved import solved

from lliptools.teach.explorers import EXAMPLES
from lliptools.teach.publish import gallery, story
from lliptools.teach.shared.example import Example
from lliptools.teach.shared.shown import PLOTLY
from lliptools.teach.shared.style import CERTIFIED, CONFIG, INK, REFUTED, STATES, UNPROVED
from lliptools.teach.shared.transport import SCRIPTS, STYLE

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
EXPLORER = re.compile(r"ll\.teach\.(\w+Explorer|Playground)\(")
PLOT = re.compile(r"ll\.teach\.(plot|show_attack)\(")  # what draws and cannot be moved
PREDICTION = "ll.teach.Prediction("
FIRST = {"lattice": "low", "neurons-conv": "low"}  # what a prediction shows where the middle picture tells the answer
# Run last: figure and words of each prediction with covers, by the count of its cell, before there is an answer.
ASKED = """\
import json as _json
_asked = {k: one.explorer for k, one in Out.items() if getattr(one, "covers", ())}
_ = [each.finish() for each in _asked.values()]
print(_json.dumps({k: [one.screen.figure.to_json(), one.screen.lines] for k, one in _asked.items()}))"""
LARGEST = 50_000  # bytes of a picture


def draw(browser: Browser) -> None:
    """The static twins of the explorers: low, middle and high on the control that tells the story of each."""
    for name, example in EXAMPLES.items():
        if not example.control:
            continue
        print("drawing", name)
        for where, (figure, lines) in zip(("low", "middle", "high"), still(name, example), strict=True):
            picture = smallest(partial(screenshot, browser, figure, lines))
            (NOTEBOOKS / "pictures" / f"{name}_{where}.png").write_bytes(picture)
    with tempfile.TemporaryDirectory() as folder:
        path = gallery.write(Path(folder), ["playground"])[1]
        for where, epoch in (("low", 5), ("middle", 20), ("high", story.EPOCHS)):
            picture = smallest(partial(runs, browser, path, epoch))
            (NOTEBOOKS / "pictures" / f"playground_{where}.png").write_bytes(picture)


def still(name: str, example: Example) -> list[tuple[go.Figure, tuple[str, ...]]]:
    """The three pictures of an explorer, with their words."""
    if name == "training":  # nothing is moved there: one run, epoch by epoch
        every = list(gallery.strip(name)[1])
        return [every[position - 1][1:] for position in example.still]
    return [(figure, lines) for _, figure, lines in example.pictures(example.make(), still=True)]


def smallest(shoot: Callable[[float], Image.Image]) -> bytes:
    """What is shot as a PNG of at most LARGEST bytes, as sharp as that allows."""
    found = b""
    for sharpness, colors in ((2.0, 192), (1.5, 192), (2.0, 96), (1.5, 96), (1.0, 96), (0.8, 64)):
        file = io.BytesIO()
        few_colors(shoot(sharpness), colors).save(file, "PNG", optimize=True)
        if len(found := file.getvalue()) <= LARGEST:
            break
    return found


def screenshot(browser: Browser, figure: go.Figure, lines: tuple[str, ...], sharpness: float) -> Image.Image:
    """A figure and its sentence, as an explorer shows them."""
    page = browser.new_page(viewport={"width": 848, "height": 700}, device_scale_factor=sharpness)
    page.set_content(f"<style>body {{ margin: 4px; color: {INK}; }} {STYLE}</style><div id='at'></div>")
    page.add_script_tag(content=get_plotlyjs())
    shown = f"board.say({json.dumps(lines)}); board.draw({figure.to_json()});"
    made = f"const board = new Board(document.getElementById('at'), Plotly, {json.dumps(CONFIG)});"
    page.add_script_tag(content=f"{SCRIPTS}\n{made} {shown} window.done = true;", type="module")
    page.wait_for_function("window.done")
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.locator(".ll-board").screenshot())).convert("RGB")
    page.close()
    return picture


def runs(browser: Browser, path: Path, epoch: int, sharpness: float) -> Image.Image:
    """The planes of the three runs of the Playground after an epoch."""
    page = browser.new_page(viewport={"width": 848, "height": 700}, device_scale_factor=sharpness)
    page.goto(path.as_uri())
    page.wait_for_selector("#runs[data-ready]")
    page.add_style_tag(content="#runs section > div:last-child { display: none }")
    page.evaluate("epoch => { slider.value = epoch; slider.dispatchEvent(new Event('input')); }", epoch)
    page.wait_for_timeout(600)
    picture = Image.open(io.BytesIO(page.locator("#runs").screenshot())).convert("RGB")
    page.close()
    return picture


def few_colors(picture: Image.Image, count: int) -> Image.Image:
    """The picture in so many colours, a third of the bytes: those of the colour convention and a scale of greys exact.

    So no pixel of a digit has a tint.
    """
    greys = ["#" + 3 * f"{round(17 + k * 238 / 32):02X}" for k in range(32)]
    states = [color for state in STATES for color in (state.color, state.fill)]
    fixed = dict.fromkeys([*states, CERTIFIED, UNPROVED, REFUTED, INK, "#FFFFFF", *greys])
    exact = [tuple(int(color[k : k + 2], 16) for k in (1, 3, 5)) for color in fixed]
    chosen = picture.quantize(count - len(exact)).getpalette() or []
    others = [tuple(chosen[k : k + 3]) for k in range(0, len(chosen), 3)]
    # A neighbour of a fixed colour would be taken in its place.
    far = [o for o in others if all(max(abs(a - b) for a, b in zip(o, e, strict=True)) > 12 for e in exact)]
    table = Image.new("P", (1, 1))
    table.putpalette([channel for color in [*exact, *far] for channel in color])
    return picture.quantize(palette=table, dither=Image.Dither.NONE)


def store(path: Path) -> None:
    """Run a notebook where it lies and keep counts everywhere, outputs only in the cells tagged keep_output."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(ASKED))
    NotebookClient(
        notebook, timeout=300, store_widget_state=False, resources={"metadata": {"path": path.parent}}
    ).execute()
    asked = json.loads(notebook.cells.pop().outputs[0].text)
    plots = pictures(notebook, asked if path.parent == NOTEBOOKS else {})
    nbformat.write(notebook, path)
    subprocess.run([Path(sys.executable).with_name("nbstripout"), "--keep-count", path], check=True)
    stored = with_pictures(nbformat.read(path, as_version=4))
    for index, outputs in plots.items():
        stored.cells[index].outputs = outputs
    nbformat.write(stored, path)


def pictures(notebook: nbformat.NotebookNode, asked: dict[str, Any]) -> dict[int, list[nbformat.NotebookNode]]:
    """Of what cannot be moved, or not yet, a picture each, by the number of its cell."""
    found = {}
    with open_browser() as browser:
        for k, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            said, lines = "run the cell to move it", ("",)
            if str(cell.execution_count) in asked:
                shown, lines = asked[str(cell.execution_count)]
                figure = go.Figure(json.loads(shown))
            elif PLOT.search(cell.source):
                (data,) = (output.data for output in cell.outputs if PLOTLY in output.get("data", {}))
                figure, said = go.Figure({name: data[PLOTLY][name] for name in ("data", "layout")}), data["text/plain"]
            else:
                continue
            picture = base64.b64encode(smallest(partial(screenshot, browser, figure, tuple(lines)))).decode()
            found[k] = [output_of(picture, said)]
    return found


def output_of(picture: str, said: str) -> nbformat.NotebookNode:
    """A picture as a cell's output."""
    return nbformat.v4.new_output("display_data", {"image/png": picture, "text/plain": said})


def with_pictures(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with the middle picture of each explorer as its output, for reading without a kernel."""
    for cell, after in pairwise(notebook.cells):
        named = re.search(r"\]\((?:\.\./)?(pictures/[\w-]+_middle\.png)\)", after.source)
        if cell.cell_type == "code" and EXPLORER.search(cell.source) and named:
            name = named[1].removeprefix("pictures/").removesuffix("_middle.png")
            where = FIRST.get(name, "middle") if PREDICTION in cell.source else "middle"
            picture = base64.b64encode((NOTEBOOKS / "pictures" / f"{name}_{where}.png").read_bytes()).decode()
            cell.outputs = [output_of(picture, "run the cell to move it")]
    return notebook


def write_solved(path: Path) -> Path:
    """Write the solved notebook of a tutorial; returns where it is."""
    to = path.parent / "solutions" / path.name
    to.parent.mkdir(exist_ok=True)
    nbformat.write(solved(nbformat.read(path, as_version=4)), to)
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
