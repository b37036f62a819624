"""A framed slider in a real JupyterLab: the browser shows its pictures while the kernel is away, and gives back."""

import pytest
from explorers import Explorer
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LATE = 500  # milliseconds that a key press may take on a machine that does other things; ten are usual
LIGHT = """
import numpy as np
import plotly.graph_objects as go
from lliptools.teach.shared.style import LAYOUT
from lliptools.teach.shared.explorer import Explorer
from lliptools.teach.shared.controls import slider


class Light(Explorer):
    framed = "t"

    def __init__(self):
        t = slider("t in units", "a number", 0.0, 1.0, 0.01, 0.0)
        super().__init__([{"t": t, "a": slider("a in units", "another", 0, 5, 1, 1)}], "")

    def _show(self, at, coarse):
        t, a = at["t"], at["a"]
        x = np.linspace(0, 1, 100)
        panels = {"xaxis": {"domain": [0, 0.6]}, "xaxis2": {"domain": [0.7, 1], "anchor": "y2"}}
        ranges = {"yaxis": {"range": [-1, 1]}, "yaxis2": {"range": [0, 1], "anchor": "x2"}}
        # The colour of the bars is that of t alone: the kernel has to say it again where the browser was elsewhere.
        look = {"color": "#009E73" if t < 0.5 else "#CC79A7"}
        bars = {"type": "bar", "x": ["a", "b"], "y": [t, 1 - t], "xaxis": "x2", "yaxis": "y2", "marker": look}
        text = {"text": f"t = {t:.2f}, a = {a}", "x": 0.5, "y": 1.1, "xref": "paper", "yref": "paper"}
        figure = go.Figure(
            [{"type": "scatter", "x": x, "y": np.sin(6 * x + a * t), "mode": "lines"}, bars],
            {**LAYOUT, "height": 360, **panels, **ranges, "annotations": [{**text, "showarrow": False}]},
        )
        return None, lambda: figure, (f"t = {t:.2f} · a = {a}",)


light = Light()
light.add_class('light')
"""
# The end of a cell in which the browser has got what it needs.
READY = """
import asyncio
while not light.screen.ready:
    await asyncio.sleep(0.05)
"""
# The kernel is away until there is a file, and not for ever.
AWAY = """
import time
from pathlib import Path
for _ in range(1000):
    time.sleep(0.05)
    if Path("back").exists():
        break
Path("back").unlink()
"""
START = "code => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code}); }"
STATUS = '.jp-Notebook-ExecutionIndicator[data-status="{}"]'
# Keeps every title that is drawn, however slowly.
WATCH = """
() => {
  window.seen = new Set();
  const look = () => window.seen.add(document.querySelector(".light .annotation-text")?.textContent);
  const observer = new MutationObserver(look);
  observer.observe(document.querySelector(".light"), {childList: true, subtree: true, characterData: true});
}
"""
TWO = ("Home", "ArrowRight", "ArrowRight")  # brings a to 2
BARS = "figure => JSON.stringify([figure.shown().data[1].y, figure.shown().data[1].marker.color])"


@pytest.fixture(scope="module")
def explorer(lab):
    page = lab.open("frames.ipynb", [LIGHT, READY])
    lab.run(page, 0)
    lab.run(page, 1)
    yield Explorer(page, "light")
    page.close()


@pytest.fixture(autouse=True)
def _anew(request, lab, explorer):
    """A test that is run once more finds the explorer as it starts, not as the failure left it."""
    if getattr(request.node, "execution_count", 1) > 1:
        lab.run(explorer.page, 0)
        lab.run(explorer.page, 1)


def bars(explorer):
    """Heights and colour of the bars, as plotly has them."""
    return explorer.figure.evaluate(BARS)


def test_the_slider_moves_while_the_kernel_is_away(explorer, lab, artefacts):
    explorer.press("t", "Home")
    explorer.page.evaluate(START, AWAY)
    explorer.page.wait_for_selector(STATUS.format("busy"))
    for key, t, color in (("End", "1.00", "#CC79A7"), ("Home", "0.00", "#009E73"), ("ArrowRight", "0.01", "#009E73")):
        explorer.press("t", key)
        explorer.wait(f"t = {t} · a = 1")
        assert explorer.titles() == [f"t = {t}, a = 1"]
        assert color in bars(explorer)
    latency = explorer.latency("t")
    (artefacts / "latency_frames.txt").write_text(f"{latency}\n")
    assert latency.median < LATE
    explorer.press("t", "End")
    # Still away: what only the kernel writes is where it was.
    assert "t=0," in explorer.call.text_content()
    assert explorer.page.locator(STATUS.format("busy")).count()
    # Another control while it is away: its answer comes when it is back, for the values that are then there.
    explorer.press("a", "ArrowRight")
    explorer.press("t", "Home")
    explorer.press("t", "ArrowRight")
    (lab.root / "back").touch()
    explorer.wait("t = 0.01 · a = 2")
    assert explorer.titles() == ["t = 0.01, a = 2"]
    assert "#009E73" in bars(explorer)
    explorer.wait_call("t=0.01, a=2")


def test_a_leap_is_seen_as_a_movement(explorer, lab):
    explorer.press("t", "Home")
    explorer.press("a", *TWO)
    lab.run(explorer.page, 1)
    explorer.page.emulate_media(reduced_motion="no-preference")
    explorer.page.evaluate(WATCH)
    explorer.press("t", "End")
    expect(explorer.figure.locator(".annotation-text")).to_have_text("t = 1.00, a = 2")
    assert explorer.page.evaluate("window.seen.size") > 3
    explorer.press("t", "Home")
    explorer.press("a", "ArrowLeft", "ArrowRight")  # before the movement has ended
    explorer.wait_call("t=0, a=2")
    explorer.page.wait_for_timeout(400)
    assert explorer.titles() == ["t = 0.00, a = 2"]
    explorer.page.emulate_media(reduced_motion="reduce")


def test_a_control_there_and_back(explorer, lab):
    """The kernel answers for where the control has been, and the browser may not take that for what is there now."""
    explorer.press("t", "Home", "ArrowRight")
    explorer.press("a", *TWO)
    explorer.wait_call("t=0.01, a=2")  # none of what is waited for stands there already
    for t, keys in 3 * [("0.00", ["Home"]), ("0.01", ["Home", "ArrowRight"])]:
        explorer.press("t", "End")
        explorer.press("a", "ArrowRight", "ArrowLeft")
        explorer.press("t", *keys)
        explorer.wait_call(f"t={float(t):g}, a=2")
        explorer.wait(f"t = {t} · a = 2")
        expect(explorer.figure.locator(".annotation-text")).to_have_text(f"t = {t}, a = 2")
        explorer.page.wait_for_timeout(100)
        assert explorer.titles() == [f"t = {t}, a = 2"]
        assert '"#009E73"' in bars(explorer)
    # At rest it gets the same pictures as before, and shows them.
    lab.run(explorer.page, 1)
    explorer.press("a", "ArrowRight", "ArrowLeft")
    lab.run(explorer.page, 1)
    for key, t in (("End", "1.00"), ("Home", "0.00")):
        explorer.press("t", key)
        explorer.wait(f"t = {t} · a = 2")


def test_a_drag_ends_on_the_exact_value(explorer):
    explorer.press("t", "Home")
    explorer.wait("t = 0.00")
    explorer.drag("t", 0.5)
    value = explorer.readout("t")
    assert 0.4 < float(value) < 0.6
    explorer.wait(f"t = {value} ·")
    assert explorer.titles()[0].startswith(f"t = {value},")
    explorer.wait_call(f"t={float(value):.6g},")


def test_a_notebook_that_turns_dark(explorer, lab):
    """All at once, though JupyterLab hides itself meanwhile."""
    ticks, theme = (
        explorer.figure.locator(".xtick text"),
        "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})",
    )
    for name, color in (("Dark", "rgb(224, 224, 224)"), ("Light", "rgb(34, 34, 34)")):
        explorer.page.evaluate(theme, f"JupyterLab {name}")
        for tick in (ticks.first, ticks.last):
            expect(tick).to_have_css("fill", color)
        # Lab takes the sheet of the theme before away, and stumbles where the next one comes meanwhile.
        explorer.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=f"JupyterLab {name}")
        explorer.page.wait_for_timeout(2000)
    assert lab.complaints_of(explorer.page) == []


def test_a_cell_that_is_run_again(explorer, lab):
    """The pictures of the explorer before come when it is gone from the page: none is shown, and none complains."""
    lab.run(explorer.page, 0)
    lab.run(explorer.page, 0)
    lab.run(explorer.page, 1)
    explorer.wait("t = 0.00 · a = 1")
    explorer.press("t", "End")
    explorer.wait("t = 1.00 · a = 1")
    explorer.page.wait_for_timeout(500)
    assert lab.complaints_of(explorer.page) == []
