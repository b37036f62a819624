"""A real JupyterLab and a real Chromium, both offline."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from browser import open_browser
from playwright.sync_api import Browser, Page

TOKEN = "offline-test"
# A kernel that has only just started drops a run-all without a word: wait until it answers, then run.
RUN_ALL = """
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
  app.commands.execute("notebook:run-all-cells");
}
"""


@dataclass
class Lab:
    """A running JupyterLab: where it and its notebooks are, and what a page in it asked for and complained of."""

    port: int
    browser: Browser
    root: Path
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, notebook: str, width: int = 1280, height: int = 1400) -> Page:
        """A page with the notebook open and all its cells told to run."""
        page = self.browser.new_page(viewport={"width": width, "height": height})
        page.on("request", lambda request: self._note_request(request.url))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("response", lambda response: self._note_response(response.status, response.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-Notebook", timeout=60_000)
        page.evaluate(RUN_ALL)
        return page

    def _note_response(self, status: int, url: str) -> None:
        if status >= 400:
            self.errors.append(f"{status} {url}")

    def _note_request(self, url: str) -> None:
        if not url.startswith((f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}", "data:", "blob:")):
            self.outside.append(url)


@contextmanager
def running_lab(notebooks: Path, scratch: Path) -> Iterator[Lab]:
    """JupyterLab on a copy of the notebooks, with all its settings in a scratch folder."""
    root = scratch / "notebooks"
    shutil.copytree(notebooks, root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (scratch / "lab.log").open("w") as log:
        server = subprocess.Popen(_command(port, root), env=_environment(scratch), stdout=log, stderr=log)
        try:
            _wait(port, server, scratch / "lab.log")
            with open_browser() as browser:
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
