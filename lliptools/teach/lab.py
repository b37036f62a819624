"""The course in JupyterLab, with or without the repository: lliptools lab."""

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from lliptools.errors import InvalidInput

__all__ = ["bring", "command", "lab", "notebooks"]

FIRST = "notebooks/00_start.ipynb"
PARTS = (
    *("notebooks/*.ipynb", "notebooks/solutions/*.ipynb", "notebooks/pictures/*.png"),
    *("docs/*.md", "benchmarks/results/*.md"),
)


def lab(folder: Path, port: int = 8888, *, browser: bool = True) -> int:
    """Bring the course into the folder and open JupyterLab on its first notebook. Returns its exit code."""
    bring(folder)
    return subprocess.call(command(folder, port, browser=browser))


def command(folder: Path, port: int, *, browser: bool) -> list[str]:
    """The command that serves the folder; as root, as in many containers, it has to be told that this is meant."""
    flags = [f"--ServerApp.root_dir={folder.resolve()}", f"--port={port}", *([] if browser else ["--no-browser"])]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", str(folder.resolve() / FIRST), *flags]


def bring(folder: Path) -> list[Path]:
    """Copy the notebooks, and the pages that they link, into the folder: those it does not hold yet.

    What is there already, a student's work, stays as it is. Returns the new copies. Raises InvalidInput where the
    folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(
            expected="a folder for the notebooks",
            got=str(folder),
            cause="a file of that name",
            next_step="name another folder",
        )
    copies = []
    for source in (path for part in PARTS for path in sorted(_course().glob(part))):
        copy = folder / source.relative_to(_course())
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            copies.append(copy)
    return copies


def notebooks() -> Path:
    """The folder of the course's notebooks."""
    return _course() / "notebooks"


def _course() -> Path:
    """Where the course lies: in the package when it was installed from a wheel, in a repository around it."""
    package = Path(str(files("lliptools")))
    return package / "course" if (package / "course").exists() else package.parent
