"""An explorer in an open notebook or page, as a person at the keyboard and the mouse finds it."""

import os
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from browser import chromium
from lab import Lab
from PIL import Image
from playwright.sync_api import Locator, Page, expect

# 60 mouse moves a second along the slider, as fast as a hand that shakes it. Gives the milliseconds from the last move
# to the last change of the words.
DRAG = """
async ([from, to, y, explorer]) => {
  const event = (kind, x) => new MouseEvent(kind, {clientX: x, clientY: y, bubbles: true, buttons: 1});
  const fire = (kind, x, on) => on.dispatchEvent(event(kind, x));
  let changed = performance.now();
  const observer = new MutationObserver(() => { changed = performance.now(); });
  observer.observe(explorer, {childList: true, subtree: true, characterData: true});
  fire("mousedown", from, document.elementFromPoint(from, y));
  for (let k = 0; k <= 60; k++) {
    fire("mousemove", from + (to - from) * (k / 60), document.documentElement);
    await new Promise(r => setTimeout(r, 1000 / 60));
  }
  const start = performance.now();
  fire("mouseup", to, document.documentElement);
  while (performance.now() - Math.max(start, changed) < 500) await new Promise(r => setTimeout(r, 50));
  observer.disconnect();
  return Math.max(0, changed - start);
}
"""
# Milliseconds from a key press to the next frame after text and figure have both followed.
PRESS = """
async ([handle, key, figure, summary]) => {
  const followed = new Promise(done => {
    const observer = new MutationObserver(() => { observer.disconnect(); done(); });
    observer.observe(summary, {childList: true, subtree: true, characterData: true});
  });
  const drawn = new Promise(done => figure.once("plotly_update", done));
  const start = performance.now();
  handle.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  await Promise.all([followed, drawn]);
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}
"""
expect.set_options(timeout=60_000)  # for what has to be computed, on a machine that does other things
IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'


def missing_chromium() -> None:
    """Skip where there is no Chromium; where tests have to run, fail."""
    if chromium() is None:
        reason = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def scratch(lab: Lab, name: str, *cells: str) -> Page:
    """A new notebook with these code cells, open in the lab and running."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.root / name)
    return lab.open(name)


@dataclass
class Latency:
    """Milliseconds, sorted: how long a key press took to be painted."""

    times: list[float]

    @property
    def median(self) -> float:
        return self.times[len(self.times) // 2]

    @property
    def tail(self) -> float:
        """The 95th percentile."""
        return self.times[round(0.95 * (len(self.times) - 1))]

    def __str__(self) -> str:
        return f"median {self.median:.0f} ms, p95 {self.tail:.0f} ms"


class Explorer:
    """An explorer of an open page: by default the first. Sliders are named by how their description begins."""

    def __init__(self, page: Page, number: int = 0) -> None:
        self.page = page
        page.wait_for_selector(f":nth-match(.js-plotly-plot, {number + 1})", timeout=240_000)
        if page.locator(".jp-Notebook").count():
            page.wait_for_selector(IDLE, timeout=240_000)
        self.box = page.locator(".widget-vbox:has(.js-plotly-plot)").nth(number)
        self.summary = self.box.locator("[role=status]")
        self.figure = self.box.locator(".js-plotly-plot")
        self.figure.scroll_into_view_if_needed()

    def slider(self, name: str) -> Locator:
        """The slider whose description begins so."""
        sliders = self.box.locator(".widget-hslider")
        for slider in sliders.all():
            if (slider.locator(".widget-label").text_content() or "").startswith(name):
                return slider
        raise AssertionError(f"no slider {name!r} among {sliders.all_text_contents()}")

    def press(self, name: str, *keys: str) -> None:
        """Press keys on a slider."""
        self.slider(name).locator(".noUi-handle").focus()
        for key in keys:
            self.page.keyboard.press(key)

    def wait(self, text: str) -> None:
        """Wait until the summary says this."""
        expect(self.summary).to_contain_text(text)

    def readout(self, name: str) -> str:
        """What a slider says where it stands."""
        return self.slider(name).locator(".widget-readout").text_content() or ""

    def drag(self, name: str, length: float) -> float:
        """Drag a slider from where it stands by a part of its length, fast; milliseconds until all had followed."""
        handle = self.slider(name).locator(".noUi-handle").bounding_box()
        base = self.slider(name).locator(".noUi-base").bounding_box()
        assert handle is not None
        assert base is not None
        x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
        return self.page.evaluate(DRAG, [x, x + length * base["width"], y, self.box.element_handle()])

    def latency(self, name: str, key: str = "ArrowRight", presses: int = 40) -> Latency:
        """How long each of so many key presses takes to be painted."""
        handle = self.slider(name).locator(".noUi-handle").element_handle()
        figure, times = self.figure.element_handle(), []
        summary = self.box.locator(".widget-html:has([role=status])").element_handle()
        for _ in range(presses):
            times.append(self.page.evaluate(PRESS, [handle, key, figure, summary]))
        return Latency(sorted(times))

    def titles(self) -> list[str]:
        """The texts in the figure."""
        return self.figure.locator(".annotation-text").all_text_contents()

    def shoot(self, path: Path) -> Image.Image:
        """A picture of the figure, kept for a person to look at."""
        self.page.wait_for_timeout(400)
        self.figure.screenshot(path=path)
        return Image.open(path).convert("RGB")
