"""A fresh machine: clone, wheel, installation, and how long each takes.

    python benchmarks/release.py            # some five minutes
    python benchmarks/release.py --test     # also `make test` in the clone

Writes benchmarks/results/release.md. Fails where the wheel does not do in an empty environment, far from any
repository, what the README says. Times depend on pip's cache and on how near its index is.
"""

import argparse
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from common import table

ROOT = Path(__file__).parents[1]
CODE = """
import sys, time
start = time.perf_counter(); import torch; torch_s = time.perf_counter() - start
start = time.perf_counter(); import lliptools as ll; ll.local_bound; ll.nets; own_s = time.perf_counter() - start
net, digits = ll.nets.load("digits-clipped"), ll.training.digits()
assert ll.certify(net, digits.x_test[3:4], digits.y_test[3:4], eps=0.1).holds.item()
assert sys.argv[1] in ll.__file__, ll.__file__
print(torch_s, own_s)
"""


def took(command: Sequence[str | Path], folder: Path, **more: str) -> float:
    """Seconds of a command that has to succeed."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, env=environment | more)
    return time.perf_counter() - start


def answers(command: Sequence[str | Path], folder: Path) -> float:
    """Seconds until the JupyterLab that a command starts serves the first notebook."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    server = subprocess.Popen(
        [str(part).format(port=port) for part in command],
        cwd=folder,
        start_new_session=True,
        env=os.environ | {"JUPYTER_TOKEN": "t"},
    )
    try:
        while True:
            assert server.poll() is None, "the server has ended"
            assert time.perf_counter() < start + 300, "no server within five minutes"
            try:
                address = f"http://127.0.0.1:{port}/api/contents/notebooks/00_start.ipynb?content=0&token=t"
                urllib.request.urlopen(address, timeout=5).close()
                return time.perf_counter() - start
            except OSError:
                time.sleep(0.05)
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


def main(*, test: bool) -> None:
    """Measure, and write the page."""
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clone, empty, tools = folder / "clone", folder / "empty", folder / "tools"
        took(["git", "clone", "--quiet", ROOT, clone], folder)
        lab = ["make", "lab", "BROWSER=no", "PORT={port}"]
        rows.append(["`make lab` in a fresh clone, until JupyterLab serves the first notebook", answers(lab, clone)])
        rows.append(["the same again", answers(lab, clone)])
        if test:
            rows.append(["`make test` after it", took(["make", "test"], clone)])
        took([sys.executable, "-m", "venv", tools], folder)
        took([tools / "bin/pip", "install", "--quiet", "build"], folder)
        rows.append(["building sdist and wheel", took([tools / "bin/python", "-m", "build", clone], folder)])
        (wheel,), (source,) = (clone / "dist").glob("*.whl"), (clone / "dist").glob("*.tar.gz")
        took([sys.executable, "-m", "venv", empty], folder)
        install = [empty / "bin/pip", "install", "--quiet", "--constraint", clone / "constraints.txt", wheel]
        rows.append(["installing the wheel with all it needs into an empty environment", took(install, folder)])
        away = folder / "away"
        away.mkdir()
        took([empty / "bin/lliptools", "doctor"], away)
        serve = [empty / "bin/lliptools", "lab", "course", "--port", "{port}", "--no-browser"]
        rows.append(["`lliptools lab course` from the wheel, until the first notebook is served", answers(serve, away)])
        code = [empty / "bin/python", "-c", CODE, empty]
        seconds = [subprocess.check_output(code, cwd=away, text=True).split() for _ in range(3)]
        torch_s, own_s = (min(float(each[k]) for each in seconds) for k in range(2))
        rows.append(["import torch", torch_s])
        rows.append(["import lliptools with nets and bounds, after torch", own_s])
        sizes = [["wheel", wheel.stat().st_size / 1e6], ["sdist", source.stat().st_size / 1e6]]
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    text = (
        "# On a fresh machine\n\n"
        f"Made by `python benchmarks/release.py{' --test' if test else ''}` at {commit}: Python "
        f"{platform.python_version()}, {os.cpu_count()} CPU cores. In the environment of the wheel `lliptools doctor` "
        "found no fault, and a certificate was computed.\n\n"
        f"{table(['what', 'seconds'], rows)}\n\n{table(['file', 'MB'], sizes)}\n"
    )
    (ROOT / "benchmarks" / "results" / "release.md").write_text(text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", action="store_true", help="also make test, a quarter of an hour")
    main(test=parser.parse_args().test)
