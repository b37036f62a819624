"""The doctor: is this machine ready for the notebooks? Every fault comes with the command that fixes it."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

COURSE = ("", "widgets", "data", "lab")  # the extras of the notebooks
LAB_EXTENSIONS = {"@jupyter-widgets/jupyterlab-manager": "jupyterlab_widgets", "anywidget": "anywidget"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; fix is the command for a fault, empty where all is well."""

    what: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        """One line, two for a fault."""
        line = f"{'FAULT' if self.fix else 'ok':>5}  {self.what:<14} {self.found}"
        return f"{line}\n       {'':<14} fix it with: {self.fix}" if self.fix else line


def examine() -> list[Finding]:
    """Look at Python, the packages, the device, the widgets, the kernel and the data folder."""
    found, new = ".".join(map(str, sys.version_info[:3])), sys.version_info >= (3, 11)
    python = Finding("python", found, "" if new else "install Python 3.11 or newer, remove .venv, then: make lab")
    return [python, *_packages(), _device(), _widgets(), _kernel(), _data()]


def main() -> int:
    """Print the findings; 0 if all is well, 1 on a fault."""
    findings = examine()
    faults = sum(bool(finding.fix) for finding in findings)
    print(*findings, sep="\n")
    print("all is well" if not faults else f"{faults} fault{'s' if faults > 1 else ''}")
    return min(faults, 1)


def _pip(package: str) -> str:
    return f'"{sys.executable}" -m pip install "{package}"'


def _packages() -> Iterator[Finding]:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding("course", "the packages of the notebooks are not installed", _pip("lliptools[lab]"))
        return
    listed = (Requirement(text) for text in requires("lliptools") or [])
    needed = {  # by name, since what several extras need is listed several times
        each.name: each
        for each in listed
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in COURSE)
    }
    needed.pop("lliptools", None)
    for requirement in needed.values():
        fix = _pip(f"{requirement.name}{requirement.specifier}")
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(requirement.name, "is not installed", fix)
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding(requirement.name, found)
        else:
            yield Finding(requirement.name, f"{found}, needed {requirement.specifier}", fix)


def _device() -> Finding:
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways, and each is a finding
        return Finding("device", f"torch does not load: {error}", _pip("torch") + " --force-reinstall")
    if torch.cuda.is_available():
        return Finding("device", f"cuda: {torch.cuda.get_device_name()}")
    if torch.backends.mps.is_available():
        return Finding("device", "mps trains in float32; it has no float64, so certificates are computed on the cpu")
    count = torch.get_num_threads()
    return Finding("device", f"cpu, {count} threads (no CUDA device; the notebooks do not need one)")


def _jupyter_has(kind: str, name: str) -> bool:
    """Whether any folder in which Jupyter looks for such things has this one."""
    try:
        from jupyter_core.paths import jupyter_path
    except ImportError:  # named already: it comes with jupyterlab
        return False
    return any((Path(folder) / name).exists() for folder in jupyter_path(kind))


def _widgets() -> Finding:
    for extension, package in LAB_EXTENSIONS.items():
        if not _jupyter_has("labextensions", extension):
            missing = f"JupyterLab's extension {extension} is missing"
            return Finding("widgets", missing, _pip(package) + " --force-reinstall")
    try:
        from anywidget import AnyWidget  # what plotly's figure widget stands on, and loads a second faster

        AnyWidget()
    except Exception as error:  # anywidget and ipywidgets raise whatever they meet
        return Finding("widgets", f"a widget cannot be made: {error}", _pip("anywidget") + ' "ipywidgets>=8"')
    return Finding("widgets", "will display in JupyterLab")


def _kernel() -> Finding:
    if _jupyter_has("kernels", "python3/kernel.json"):
        return Finding("kernel", "python3")
    return Finding("kernel", "python3 is missing", f'"{sys.executable}" -m ipykernel install --sys-prefix')


def _data() -> Finding:
    folder = os.environ.get("LLIPTOOLS_DATA", "")
    if not folder:
        return Finding("data folder", "LLIPTOOLS_DATA is not set (digits and moons need none; the cache serves)")
    if not Path(folder).is_dir():
        fix = f'mkdir -p "{folder}"   (or: unset LLIPTOOLS_DATA)'
        return Finding("data folder", f"{folder} is not a folder", fix)
    sets = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
    return Finding("data folder", f"{folder}: {', '.join(sets) or 'empty'}")


if __name__ == "__main__":
    raise SystemExit(main())
