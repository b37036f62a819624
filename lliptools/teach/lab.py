"""The course in JupyterLab, with or without the repository: lliptools lab."""

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from lliptools.errors import InvalidInput

__all__ = ["bring", "command", "lab", "notebooks", "serve"]

FIRST = "notebooks/00_start.ipynb"
PARTS = (
    *("notebooks/*.ipynb", "notebooks/solutions/*.ipynb", "notebooks/pictures/*.png"),
    *("docs/*.md", "benchmarks/results/*.md"),
)


def lab(folder: Path, port: int = 8888, *, browser: bool = True) -> int:
    """Bring the course into the folder and open JupyterLab on its first notebook. Returns its exit code."""
    bring(folder)
    return serve(command(folder, port, browser=browser))


def serve(command: list[str]) -> int:
    """Run a server until it has ended, and not only been interrupted: it asks back, and shuts its kernels down."""
    with subprocess.Popen(command) as server:
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:
                continue


def command(folder: Path, port: int, *, browser: bool) -> list[str]:
    """The command that serves the folder; as root, as in many containers, it has to be told that this is meant."""
    flags = [f"--ServerApp.root_dir={folder.resolve()}", f"--port={port}", *([] if browser else ["--no-browser"])]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", str(folder.resolve() / FIRST), *flags]


def bring(folder: Path) -> list[Path]:
    """Copy the notebooks, and the pages that they link, into the folder: those it does not hold yet.

    What is there already, a student's work, stays as it is. Returns the new copies. Raises InvalidInput where they
    cannot be written.
    """
    copies = []
    try:
        for source in (path for part in PARTS for path in sorted(_course().glob(part))):
            copy = folder / source.relative_to(_course())
            if not os.path.lexists(copy):
                copy.parent.mkdir(parents=True, exist_ok=True)
                unfinished = copy.with_name(f".{copy.name}.unfinished")
                unfinished.write_bytes(source.read_bytes())
                unfinished.replace(copy)
                copies.append(copy)
    except OSError as error:
        raise InvalidInput(
            expected="a folder for the notebooks that can be written to",
            got=f"{folder}: {error}",
            cause="a file in its place, or a folder of somebody else's",
            next_step="name another folder",
        ) from error
    return copies


def notebooks() -> Path:
    """The folder of the course's notebooks."""
    return _course() / "notebooks"


def _course() -> Path:
    """Where the course lies: in the package when it was installed from a wheel, in a repository around it."""
    package = Path(str(files("lliptools")))
    return package / "course" if (package / "course").exists() else package.parent
