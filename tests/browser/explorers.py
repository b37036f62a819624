"""An explorer in an open notebook, as a person at the keyboard and the mouse finds it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, TimeoutError, expect

PATIENCE = 20  # seconds for what has to be computed, on a machine that does other things
expect.set_options(timeout=1000 * PATIENCE)
# 60 mouse moves a second along a slider, as fast as a hand that shakes it; ends when all has been still for half a
# second, and gives the milliseconds from the last move to the last change of the words.
DRAG = """
async ([from, to, y, explorer]) => {
  const event = (kind, x) => new MouseEvent(kind, {clientX: x, clientY: y, bubbles: true, buttons: 1});
  const fire = (kind, x, on) => on.dispatchEvent(event(kind, x));
  let changed = performance.now();
  const observer = new MutationObserver(() => { changed = performance.now(); });
  observer.observe(explorer, {childList: true, subtree: true, characterData: true});
  fire("mousedown", from, document.elementFromPoint(from, y));
  for (let k = 0; k <= 40; k++) {
    fire("mousemove", from + (to - from) * (k / 40), document.documentElement);
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
  const drawn = new Promise(done => figure.addEventListener("drawn", done, {once: true}));
  const late = new Promise((_, no) => setTimeout(() => no(`nothing followed ${key}`), 20000));
  const start = performance.now();
  handle.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  await Promise.race([Promise.all([followed, drawn]), late]);
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}
"""

# All that an explorer shows, when it has been the same for half a second.
STILL = """
async ([explorer, figure]) => {
  const shown = () => [explorer.textContent, (DRAWN)(figure)].join();
  let last = shown(), since = performance.now();
  while (performance.now() - since < 500) {
    await new Promise(r => setTimeout(r, 50));
    const now = shown();
    if (now !== last) [last, since] = [now, performance.now()];
  }
}
"""
# What plotly was told to show, as one text, in whatever order it was told; names with a _ are its own.
DRAWN = """
figure => JSON.stringify([figure.shown().data, figure.shown().layout.annotations], (key, value) => {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (!value || typeof value !== "object" || Array.isArray(value)) return value ?? undefined;
  const kept = Object.entries(value).filter(([name, inner]) => name !== "uid" && name[0] !== "_" && inner !== null);
  return Object.fromEntries(kept.sort());
})
"""


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


@dataclass
class Explorer:
    """The explorer of a page that carries this class; controls are named by how their description begins."""

    page: Page
    name: str
    box: Locator = field(init=False)

    def __post_init__(self) -> None:
        self.box = self.page.locator(f".{self.name}")
        self.figure = self.box.locator(".ll-board")
        self.summary = self.box.locator("[role=status]")
        self.call = self.box.locator("code")
        self.figure.locator(".main-svg").first.wait_for(state="attached", timeout=60_000)
        self.figure.scroll_into_view_if_needed()

    def control(self, name: str) -> Locator:
        """The slider whose description begins so."""
        label = self.page.locator(".widget-label").get_by_text(re.compile(f"^{re.escape(name)}"))
        return self.box.locator(".widget-hslider").filter(has=label)

    def handle(self, name: str) -> Locator:
        """What a hand or the keyboard takes hold of."""
        return self.control(name).locator(".noUi-handle")

    def press(self, name: str, *keys: str) -> None:
        """Press keys on a slider, or the buttons of a choice with these names."""
        if not self.control(name).count():
            for key in keys:
                self.press_button(key)
            return
        self.handle(name).focus()
        for key in keys:
            self.page.keyboard.press(key)

    def press_button(self, name: str) -> None:
        """Press a button by the keyboard."""
        self.button(name).focus()
        self.page.keyboard.press("Enter")

    def button(self, name: str) -> Locator:
        """The button with this name."""
        return self.box.get_by_role("button", name=name, exact=True)

    def wait(self, text: str) -> None:
        """Wait until the summary says this."""
        expect(self.summary).to_contain_text(text)

    def wait_call(self, text: str) -> None:
        """Wait until the call that opens this view says this."""
        expect(self.call).to_contain_text(text)

    def readout(self, name: str) -> str:
        """What a slider says where it stands."""
        return (self.control(name).locator(".widget-readout").text_content() or "").replace("−", "-")

    def drag(self, name: str, length: float) -> float:
        """Drag a slider from where it stands by a part of its length, fast; milliseconds until all had followed."""
        handle, base = self.handle(name).bounding_box(), self.control(name).locator(".noUi-base").bounding_box()
        assert handle is not None
        assert base is not None
        x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
        return self.page.evaluate(DRAG, [x, x + length * base["width"], y, self.box.element_handle()])

    def latency(self, name: str, key: str = "ArrowRight", presses: int = 40, rest: int = 0) -> Latency:
        """How long each of so many key presses takes to be painted, with so many milliseconds of rest before each."""
        handle, figure = self.handle(name).element_handle(), self.figure.element_handle()
        summary = self.summary.element_handle()
        times = []
        for _ in range(presses):
            self.page.wait_for_timeout(rest)
            times.append(self.page.evaluate(PRESS, [handle, key, figure, summary]))
        return Latency(sorted(times))

    def titles(self) -> list[str]:
        """The texts in the figure."""
        found = self.figure.locator(".ll-title, .annotation-text, .xtitle, .ytitle").all_text_contents()
        return [text for text in found if text]

    def drawn(self) -> str:
        """What plotly was told to show."""
        return self.figure.evaluate(DRAWN)

    def wait_drawn(self, text: str, *, other: bool = False) -> None:
        """Wait until plotly was told to show this; or something else."""
        found = f"([figure, text, other]) => (({DRAWN})(figure) !== text) === other"
        what = [self.figure.element_handle(), text, other]
        try:
            self.page.wait_for_function(found, arg=what, polling=100, timeout=1000 * PATIENCE)
        except TimeoutError:
            now = self.drawn()
            at = next((k for k, (a, b) in enumerate(zip(text, now, strict=False)) if a != b), 0)
            raise AssertionError(
                f"told {now[max(at - 200, 0) : at + 200]}, not {text[max(at - 200, 0) : at + 200]}; "
                f"{self.summary.text_content()} {self.call.text_content()}"
            ) from None

    def wait_still(self) -> None:
        """Wait until nothing has changed for half a second: a hand that then moves on finds all at rest."""
        what = [self.box.element_handle(), self.figure.element_handle()]
        self.page.evaluate(STILL.replace("DRAWN", DRAWN), what)

    def picture(self, path: Path) -> Image.Image:
        """The figure as it is painted, kept for a person to look at."""
        self.page.wait_for_timeout(200)
        self.figure.screenshot(path=path)
        return Image.open(path).convert("RGB")
