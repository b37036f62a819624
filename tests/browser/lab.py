"""A real JupyterLab and a real Chromium, both offline."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Page

TOKEN = "offline-test"
# A kernel that has only just started drops what it is told to run without a word: wait until it answers.
READY = """
async () => {
  const app = window.jupyterapp;
  await app.restored;
  let panel = app.shell.currentWidget;
  while (!panel || !panel.sessionContext || !panel.content.model) {
    await new Promise(r => setTimeout(r, 100));
    panel = app.shell.currentWidget;
  }
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await panel.sessionContext.session.kernel.requestExecute({code: "pass", silent: true}).done;
}
"""
RUN = """
async (number) => {
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = number;
  await window.jupyterapp.commands.execute("notebook:run-cell");
}
"""
SAVE = "window.jupyterapp.commands.execute('docmanager:save')"
KEPT = "Run the cell to move it."  # stands below the picture of an explorer in a notebook
COMPLAINTS = ".jp-OutputArea-output[data-mime-type*='error'], .jp-OutputArea-output[data-mime-type*='stderr']"


@dataclass
class Lab:
    """A running JupyterLab: where it and its notebooks are, and what its pages complained of or asked for outside."""

    port: int
    browser: Browser
    root: Path
    complaints: list[str] = field(default_factory=list)

    def open(self, name: str, cells: Sequence[str]) -> Page:
        """A page with a new notebook of these code cells, as wide as a student's and as high as the tallest figure."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        # Without a kernel's name Lab asks for one.
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.root / name)
        page = self.browser.new_page(viewport={"width": 1280, "height": 1100}, reduced_motion="reduce")
        page.on("dialog", lambda dialog: dialog.accept())
        page.on("request", lambda request: self._note_request(request.url))
        page.on("console", lambda message: self._note_message(message.type, message.text))
        page.on("response", lambda response: self._note_response(response.status, response.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{self.port}/lab/tree/{name}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-Notebook", timeout=60_000)
        page.evaluate(READY)
        return page

    def run(self, page: Page, number: int) -> None:
        """Run a cell of the open notebook, and wait for its end."""
        page.evaluate(RUN, number)

    def save(self, page: Page, name: str, pictures: int) -> str:
        """The open notebook as its file has it, with so many pictures of explorers: they are taken at rest."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            page.evaluate(SAVE)
            if (saved := (self.root / name).read_text()).count(KEPT) == pictures:
                return saved
            page.wait_for_timeout(200)
        raise AssertionError(f"expected {pictures} pictures in {name}, got {saved.count(KEPT)}")

    def complaints_of(self, page: Page) -> list[str]:
        """What was complained of until now, on the page's outputs too: errors, and what was written to stderr."""
        return self.complaints + page.locator(COMPLAINTS).all_text_contents()

    def _note_message(self, kind: str, text: str) -> None:
        # What Lab itself asks a kernel for, in its debugger and for a second thread: one that stops answers no more.
        if kind == "error" and not re.search("Canceled future for (debug|create_subshell)_request", text):
            self.complaints.append(text)

    def _note_response(self, status: int, url: str) -> None:
        if status >= 400:
            self.complaints.append(f"{status} {url}")

    def _note_request(self, url: str) -> None:
        if not url.startswith((f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}", "data:", "blob:")):
            self.complaints.append(url)


@contextmanager
def running_lab(browser: Browser, scratch: Path) -> Iterator[Lab]:
    """JupyterLab with its notebooks and all its settings in a scratch folder."""
    root = scratch / "notebooks"
    root.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (scratch / "lab.log").open("w") as log:
        server = subprocess.Popen(_command(port, root), env=_environment(scratch), stdout=log, stderr=log)
        try:
            _wait(port, server, scratch / "lab.log")
            yield Lab(port, browser, root)
        finally:
            server.terminate()
            server.wait(timeout=30)


def _command(port: int, root: Path) -> list[str]:
    options = {
        "--ServerApp.ip": "127.0.0.1",
        "--ServerApp.port": port,
        "--ServerApp.port_retries": 0,
        "--IdentityProvider.token": TOKEN,
        "--ServerApp.root_dir": root,
    }
    flags = ["--no-browser", "--allow-root", "--expose-app-in-browser"]
    return [sys.executable, "-m", "jupyter", "lab", *flags, *(f"{name}={value}" for name, value in options.items())]


def _environment(scratch: Path) -> dict[str, str]:
    """The environment with every folder that Jupyter writes to in the scratch folder, and its news popup off."""
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    folders = {f"JUPYTER_{name}": str(scratch / name.lower()) for name in names}
    folders |= {f"JUPYTERLAB_{name}": str(scratch / name.lower()) for name in ("SETTINGS_DIR", "WORKSPACES_DIR")}
    overrides = scratch / "config_dir" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    overrides.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": quiet}))
    return {**os.environ, "HOME": str(scratch), **folders}


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={TOKEN}", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
