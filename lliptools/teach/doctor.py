"""The doctor: is this machine ready for the notebooks? Every fault comes with the command that mends it."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

__all__ = ["Finding", "examine", "main"]

LAB_EXTENSIONS = {"@jupyter-widgets/jupyterlab-manager": "jupyterlab_widgets", "anywidget": "anywidget"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; mend is the command for a fault, empty where all is well."""

    what: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        """One line, two for a fault."""
        mark = "FAULT" if self.mend else "ok"
        line = f"{mark:>5}  {self.what:<14} {self.found}"
        return f"{line}\n       {'':<14} mend it with: {self.mend}" if self.mend else line


def examine() -> list[Finding]:
    """Look at Python, the packages, the device, the widgets and the data folder."""
    return [*_python(), *_packages(), *_device(), *_widgets(), *_kernel(), *_data()]


def main() -> int:
    """Print the findings; 0 if all is well, 1 on a fault."""
    findings = examine()
    faults = sum(bool(finding.mend) for finding in findings)
    print(*findings, sep="\n")
    print("all is well" if not faults else f"{faults} fault{'s' if faults > 1 else ''}")
    return min(faults, 1)


def _pip(package: str) -> str:
    return f'"{sys.executable}" -m pip install "{package}"'


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    needed = sys.version_info >= (3, 11)
    yield Finding("python", found, "" if needed else "install Python 3.11 or newer, remove .venv, then: make lab")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    for text in requires("lliptools") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(requirement.name, "is not installed", _pip(text))
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        yield Finding(
            requirement.name, found if fits else f"{found}, needed {requirement.specifier}", "" if fits else _pip(text)
        )


def _device() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways, and each is a finding
        yield Finding("device", f"torch does not load: {error}", _pip("torch") + " --force-reinstall")
        return
    if torch.cuda.is_available():
        yield Finding("device", f"cuda: {torch.cuda.get_device_name()}")
    elif torch.backends.mps.is_available():
        yield Finding("device", "mps trains in float32; it has no float64, so certificates are computed on the cpu")
    else:
        yield Finding(
            "device", f"cpu, {torch.get_num_threads()} threads (no CUDA device; the notebooks do not need one)"
        )


def _jupyter_has(kind: str, name: str) -> bool:
    """Whether any folder in which Jupyter looks for such things has this one."""
    try:
        from jupyter_core.paths import jupyter_path
    except ImportError:  # named already: it comes with jupyterlab
        return False
    return any((Path(folder) / name).exists() for folder in jupyter_path(kind))


def _widgets() -> Iterator[Finding]:
    for extension, package in LAB_EXTENSIONS.items():
        if not _jupyter_has("labextensions", extension):
            yield Finding(
                "widgets", f"JupyterLab's extension {extension} is missing", _pip(package) + " --force-reinstall"
            )
            return
    try:
        from anywidget import AnyWidget  # what plotly's figure widget stands on, and loads a second faster

        AnyWidget()
    except Exception as error:  # anywidget and ipywidgets raise whatever they meet
        yield Finding("widgets", f"a widget cannot be made: {error}", _pip("anywidget") + ' "ipywidgets>=8"')
        return
    yield Finding("widgets", "will display in JupyterLab")


def _kernel() -> Iterator[Finding]:
    there = _jupyter_has("kernels", "python3/kernel.json")
    mend = f'"{sys.executable}" -m ipykernel install --sys-prefix'
    yield Finding("kernel", "python3" if there else "python3 is missing", "" if there else mend)


def _data() -> Iterator[Finding]:
    folder = os.environ.get("LLIPTOOLS_DATA", "")
    if not folder:
        yield Finding("data folder", "LLIPTOOLS_DATA is not set (digits and moons need none; the cache serves)")
    elif Path(folder).is_dir():
        sets = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
        yield Finding("data folder", f"{folder}: {', '.join(sets) or 'empty'}")
    else:
        yield Finding("data folder", f"{folder} is not a folder", f'mkdir -p "{folder}"   (or: unset LLIPTOOLS_DATA)')


if __name__ == "__main__":
    raise SystemExit(main())
