"""The course in JupyterLab, with or without the repository: lliptools lab."""

import os
import re
import subprocess
import sys
from base64 import b64encode
from importlib.resources import files
from pathlib import Path

from lliptools.storage import replacing

FIRST = "notebooks/00_start.ipynb"
NOTEBOOKS = ("notebooks/*.ipynb", "notebooks/solutions/*.ipynb", "notebooks/pictures/*.png")
PARTS = (*NOTEBOOKS, "docs/*.md", "benchmarks/results/*.md")


def lab(folder: Path, port: int = 8888, *, browser: bool = True) -> int:
    """Bring the course into the folder and become JupyterLab, which opens and prints the address of notebook 00."""
    bring(folder)
    return serve(command(folder, port, browser=browser))


def serve(command: list[str]) -> int:
    """Become a server, so that every signal reaches it. Windows cannot: there, run it and return its exit code."""
    sys.stdout.flush()
    if sys.platform == "win32":
        with subprocess.Popen(command) as server:
            while True:
                try:
                    return server.wait()
                except KeyboardInterrupt:
                    continue
    os.execv(command[0], command)


def command(folder: Path, port: int, *, browser: bool) -> list[str]:
    """The command that serves the folder. Root, as in many containers, has to allow it explicitly."""
    flags = [f"--ServerApp.root_dir={folder.resolve()}", f"--LabApp.default_url=/lab/tree/{FIRST}", f"--port={port}"]
    if not browser:
        flags.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", *flags]


def bring(folder: Path) -> list[Path]:
    """Copy the notebooks, and the pages that they link, into the folder; returns the new copies.

    A file that is there already, a student's work, stays as it is.
    """
    copies = []
    for source in (path for part in PARTS for path in sorted(_course().glob(part))):
        copy = folder / source.relative_to(_course())
        if not os.path.lexists(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with replacing(copy) as unfinished:
                unfinished.write_bytes(_whole(source))
            copies.append(copy)
    return copies


def _whole(source: Path) -> bytes:
    """The content of a file of the course, with the pictures for which hatch_build.py left names in a wheel."""

    def picture(name: re.Match[bytes]) -> bytes:
        return b'"%s"' % b64encode((notebooks() / name[1].decode()).read_bytes())

    content = source.read_bytes()
    return re.sub(rb'"(pictures/[\w-]+\.png)"', picture, content) if source.suffix == ".ipynb" else content


def notebooks() -> Path:
    """The folder of the course's notebooks."""
    return _course() / "notebooks"


def _course() -> Path:
    """Where the course lies: in the package when it was installed from a wheel, in a repository around it."""
    package = Path(str(files("lliptools")))
    return package / "course" if (package / "course").exists() else package.parent
