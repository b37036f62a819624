"""A framed slider in a real JupyterLab: the browser shows its pictures while the kernel is away, and gives back."""

import re

import pytest
from explorers import Explorer, scratch
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
GOAL_MEDIAN, GOAL_TAIL = 20, 40  # milliseconds; a test fails at three times these
LIGHT = """
import numpy as np
import plotly.graph_objects as go
from lliptools.teach.style import LAYOUT
from lliptools.teach.widgets.base import Explorer, slider


class Light(Explorer):
    framed = "t"

    def __init__(self):
        t = slider("t in units", "a number", 0.0, 1.0, 0.01, 0.0)
        super().__init__({"t": t, "a": slider("a in units", "another", 0, 5, 1, 1)}, [["t", "a"]], "")

    def _at(self, t):
        x = np.linspace(0, 1, 100)
        panels = {"xaxis": {"domain": [0, 0.6]}, "xaxis2": {"domain": [0.7, 1], "anchor": "y2"}}
        ranges = {"yaxis": {"range": [-1, 1]}, "yaxis2": {"range": [0, 1], "anchor": "x2"}}
        # The colour of the bars is that of t alone: the kernel has to say it again where the browser was elsewhere.
        look = {"color": "#009E73" if t < 0.5 else "#CC79A7"}
        bars = {"type": "bar", "x": ["a", "b"], "y": [t, 1 - t], "xaxis": "x2", "yaxis": "y2", "marker": look}
        text = {"text": f"t = {t:.2f}, a = {self.a.value}", "x": 0.5, "y": 1.1, "xref": "paper", "yref": "paper"}
        figure = go.Figure(
            [{"type": "scatter", "x": x, "y": np.sin(6 * x + self.a.value * t), "mode": "lines"}, bars],
            {**LAYOUT, "height": 360, **panels, **ranges, "annotations": [{**text, "showarrow": False}]},
        )
        return figure, (f"t = {t:.2f} · a = {self.a.value}",)

    def _figure(self, *, coarse):
        return self._at(self.t.value)[0]

    def _summary(self):
        return self._at(self.t.value)[1]

    def _keywords(self):
        return {"t": self.t.value, "a": self.a.value}

    def _frames(self):
        for t in self.frames.positions:
            yield self._at(t)


light = Light()
light
"""
# A line the kernel writes once the browser has what it needs, and then it is away for a while.
READY = """
import asyncio
while not light.frames.shown:
    await asyncio.sleep(0.05)
print("pictures are there")
"""
AWAY = "import time; time.sleep(20); print('back')"
RUN = """
code => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code}); }
"""
BARS = "figure => JSON.stringify([figure.data[1].y, figure.data[1].marker.color])"


@pytest.fixture(scope="module")
def explorer(lab):
    page = scratch(lab, "frames.ipynb", LIGHT, READY)
    page.on("dialog", lambda dialog: dialog.accept())
    explorer = Explorer(page)
    expect(page.get_by_text("pictures are there", exact=True)).to_be_visible()
    yield explorer
    page.close()


def bars(explorer):
    """Heights and colour of the bars, as plotly has them."""
    return explorer.figure.evaluate(BARS)


def test_the_slider_moves_while_the_kernel_is_away(explorer, artefacts):
    explorer.press("t", "Home")
    explorer.page.evaluate(RUN, AWAY)
    explorer.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="busy"]')
    for key, t, color in (("End", "1.00", "#CC79A7"), ("Home", "0.00", "#009E73"), ("ArrowRight", "0.01", "#009E73")):
        explorer.press("t", key)
        explorer.wait(f"t = {t} · a = 1")
        assert explorer.titles() == [f"t = {t}, a = 1"]
        assert color in bars(explorer)
    latency = explorer.latency("t")
    (artefacts / "latency_frames.txt").write_text(f"{latency}\n")
    assert latency.median <= 3 * GOAL_MEDIAN
    assert latency.tail <= 3 * GOAL_TAIL
    explorer.press("t", "End")
    # Still away: what only the kernel writes is where it was.
    assert "t=0," in explorer.page.locator(".widget-html code").text_content()
    assert explorer.page.locator('.jp-Notebook-ExecutionIndicator[data-status="busy"]').count()
    # Another control while it is away: its answer comes when it is back, for the values that are then there.
    explorer.press("a", "ArrowRight")
    explorer.press("t", "Home")
    explorer.press("t", "ArrowRight")
    explorer.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=60_000)
    explorer.wait("t = 0.01 · a = 2")
    assert explorer.titles() == ["t = 0.01, a = 2"]
    assert "#009E73" in bars(explorer)
    expect(explorer.page.locator(".widget-html code")).to_contain_text("t=0.01, a=2")


def test_a_control_there_and_back(explorer):
    """The kernel answers for where the control has been, and the browser may not take that for what is there now."""
    for _ in range(5):
        explorer.press("t", "End")
        explorer.press("a", "ArrowRight", "ArrowLeft")
        explorer.press("t", "Home")
        explorer.wait("t = 0.00 · a = 2")
        expect(explorer.page.locator(".widget-html code")).to_contain_text("t=0, a=2")
        explorer.page.wait_for_timeout(100)
        assert explorer.titles() == ["t = 0.00, a = 2"]
        assert re.search('"#009E73"', bars(explorer))


def test_a_drag_ends_on_the_exact_value(explorer):
    explorer.press("t", "Home")
    explorer.wait("t = 0.00")
    explorer.drag("t", 0.5)
    value = explorer.readout("t")
    assert 0.4 < float(value) < 0.6
    explorer.wait(f"t = {value} ·")
    assert explorer.titles()[0].startswith(f"t = {value},")
    expect(explorer.page.locator(".widget-html code")).to_contain_text(f"t={float(value):.6g},")


def test_offline_and_without_a_complaint(explorer, lab):
    explorer.press("t", "End")
    explorer.wait("t = 1.00")
    assert lab.outside == []
    assert lab.errors == []
