"""The course in JupyterLab, from an installation without the repository: lliptools lab."""

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from lliptools.errors import InvalidInput

__all__ = ["bring", "lab", "shipped"]

FIRST = "00_start.ipynb"


def lab(folder: Path, port: int = 8888, *, browser: bool = True) -> int:
    """Bring the notebooks into the folder and open JupyterLab on the first; what the server's process returned."""
    bring(folder)
    flags = [f"--port={port}", *([] if browser else ["--no-browser"])]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--allow-root")
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(folder / FIRST), *flags])


def bring(folder: Path) -> list[Path]:
    """Copy the notebooks that the folder does not hold yet; what is there already, a student's work, stays as it is.

    The copies that are new. Raises InvalidInput where the folder cannot be one.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(
            expected="a folder for the notebooks",
            got=str(folder),
            cause="a file of that name",
            next_step="name another folder",
        )
    source, copies = shipped(), []
    for path in sorted(source.rglob("*")):
        copy = folder / path.relative_to(source)
        if path.suffix in {".ipynb", ".png"} and ".ipynb_checkpoints" not in path.parts and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            copies.append(copy)
    return copies


def shipped() -> Path:
    """Where the notebooks lie: in the package, or beside it in the repository."""
    package = Path(str(files("lliptools")))
    return next(place for place in (package / "notebooks", package.parent / "notebooks") if (place / FIRST).exists())
