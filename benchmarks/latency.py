"""How fast the explorers follow the hand, in a real JupyterLab and on the pages of the gallery.

    python benchmarks/latency.py    # benchmarks/results/latency.md; on a machine at rest, some ten minutes

Every row is kept in benchmarks/results/latency.jsonl and not measured again; take its line out to have it measured.

Key press to painted: from the event of the key to the first frame after figure and words have both followed, computing
included; with a rest of REST milliseconds before each, in which what is left for later is computed. Settle: from the
last of 60 moves a second to the last change. First display: from running the cell that makes the explorer to the first
frame with its figure, in a notebook whose imports are done.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / folder) for folder in ("tools", "tests/browser")]

from browser import open_browser  # noqa: E402
from common import RESULTS, clocked, keep, kept, table, timed, write_tables  # noqa: E402
from explorers import Explorer  # noqa: E402
from lab import Lab, running_lab  # noqa: E402
from playwright.sync_api import Browser  # noqa: E402

from lliptools.teach.explorers import EXAMPLES  # noqa: E402
from lliptools.teach.explorers.playground.view import Run, Settings  # noqa: E402
from lliptools.teach.publish import gallery  # noqa: E402

IMPORTS = """
import lliptools as ll

from lliptools.teach.explorers import EXAMPLES
ll.training.digits()
"""
# What a framed slider shows is made while the controls rest.
FRAMES = """
import asyncio
while explorer.framed and not explorer.screen.ready:
    await asyncio.sleep(0.1)
"""
# Runs the second cell and gives the milliseconds until its figure is painted.
FIRST = """
async () => {
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
  const start = performance.now();
  window.jupyterapp.commands.execute("notebook:run-cell");
  while (!document.querySelector(".js-plotly-plot .main-svg")) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}
"""
PAGE = """
async () => {
  const slider = document.getElementById("slider"), figure = document.querySelector(".ll-board"), times = [];
  for (let k = 1; k <= Math.min(40, Number(slider.max)); k++) {
    const drawn = new Promise(done => figure.addEventListener("drawn", done, {once: true}));
    const start = performance.now();
    slider.value = k;
    slider.dispatchEvent(new Event("input"));
    // Where a step changes nothing, nothing is drawn.
    if (await Promise.race([drawn, new Promise(done => setTimeout(done, 2000, "late"))]) === "late") continue;
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - start);
  }
  return times.sort((one, other) => one - other);
}
"""
# Starts the Playground, and after a second counts the epochs that are painted in ten.
PLAY = """
async () => {
  const said = document.querySelector(".ll-play .bar output");
  const epoch = () => Number(said.textContent.replace("epoch ", ""));
  [...document.querySelectorAll(".ll-play button")].find(({ textContent }) => textContent.includes("play")).click();
  await new Promise(done => setTimeout(done, 1000));
  const first = epoch(), start = performance.now();
  await new Promise(done => setTimeout(done, 10000));
  return (epoch() - first) / (performance.now() - start) * 1000;
}
"""
RUNS: dict[str, dict[str, Any]] = {
    "no bound, ReLU": {"bound": "none", "activation": "relu"},
    "global bound, ReLU": {"bound": "global", "activation": "relu"},
    "local bound, ReLU-θ, λ": {"sparsity": 0.3},
    "local bound, MaxMin": {"activation": "maxmin"},
}
REST = 700
LINES = RESULTS / "latency.jsonl"
GOALS = {"browser": "30 / 50", "kernel": "100 / 160"}


def in_lab(lab: Lab, name: str) -> list[object]:
    """A row of the table: an explorer in a notebook of its own."""
    example = EXAMPLES[name]
    made = example.make()
    control = made.controls[example.control]
    steps = len(control.options) if hasattr(control, "options") else round((control.max - control.min) / control.step)
    shown = f"explorer = EXAMPLES[{name!r}].make()\nexplorer.add_class('explorer')"
    page = lab.open(f"{name}.ipynb", [IMPORTS, shown, FRAMES])
    lab.run(page, 0)
    first: float = page.evaluate(FIRST)
    if name == "training":  # its sliders say how the next run is to be
        page.close()
        return [name, "kernel", "", "", "", "", first]
    explorer = Explorer(page, "explorer")
    lab.run(page, 2)
    explorer.press(control.description, "Home")
    page.wait_for_timeout(1000)
    latency = explorer.latency(control.description, presses=min(20, steps - 1), rest=REST)
    settle = explorer.drag(control.description, -0.3)
    page.close()
    who = "kernel" if made.framed is None else "browser"
    return [name, who, latency.median, latency.tail, GOALS[who], settle, first]


def played(lab: Lab, name: str) -> list[object]:
    """A row of the table: the Playground, 200 points, 2-16-16-2, five optimiser steps and all discs a frame."""
    run = Run(Settings(eps=0.2, **RUNS[name]))
    given = ", ".join(f"{key}={value!r}" for key, value in RUNS[name].items())
    own = 1000 * clocked(lambda: [run.epoch() for _ in range(20)], time.process_time)[1] / 20
    page = lab.open("playground.ipynb", [IMPORTS, f"ll.teach.Playground(eps=0.2, {given})"])
    lab.run(page, 0)
    lab.run(page, 1)
    page.wait_for_function("document.querySelector('.ll-play [role=status]')?.textContent.startsWith('Epoch')")
    rate: float = page.evaluate(PLAY)
    page.close()
    return [name, rate, "12", own, os.getloadavg()[0]]


def on_page(browser: Browser, folder: Path, name: str) -> list[object]:
    """A row of the table: a page of the gallery."""
    path = next(path for path in gallery.write(folder, [name]) if path.stem == name)
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#figure[data-ready]")
    times: list[float] = page.evaluate(PAGE)
    page.close()
    return [name, len(times), times[len(times) // 2], times[round(0.95 * (len(times) - 1))], path.stat().st_size / 1e6]


def measured(kind: str, name: str, measure: Callable[[], list[Any]]) -> list[Any]:
    """A row that has been measured, or is now."""
    for line in kept(LINES):
        if line[:2] == [kind, name]:
            return line[1:]
    row = measure()
    keep(LINES, [kind, *row])
    print(row, flush=True)
    return row


def main() -> None:
    """The page."""
    names = [name for name, example in EXAMPLES.items() if example.control]
    commands = ([sys.executable, "-c", code] for code in ("import torch", "import torch, lliptools"))
    torch_alone, both = (timed(partial(subprocess.run, command, check=True), times=5) for command in commands)
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser, running_lab(browser, Path(folder)) as lab:
        rows = [measured("explorer", name, partial(in_lab, lab, name)) for name in names]
        runs = [measured("playground", name, partial(played, lab, name)) for name in RUNS]
        there = Path(folder) / "gallery"
        pages = [measured("page", name, partial(on_page, browser, there, name)) for name in names]
    in_a_notebook = ["explorer", "follows in the", "key → painted, median", "95 %", "goal", "settle", "first display"]
    of_runs = ["loss and activation", "frames/s", "goal", "CPU of the kernel, ms a frame", "load afterwards"]
    of_pages = ["page", "moves", "slider → painted, median", "95 %", "MB beside plotly.js"]
    imports = table(
        ["`import torch`, s", "`import lliptools`, s more"], [[f"{torch_alone:.2f}", f"{both - torch_alone:.2f}"]]
    )
    tables = [table(in_a_notebook, rows), table(of_runs, runs), table(of_pages, pages), imports]
    write_tables("latency.md", tables)


if __name__ == "__main__":
    main()
