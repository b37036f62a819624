"""Everything that is to be known of a GPU, prepared for one call of nine minutes.

    LLIPTOOLS_DATA=... python benchmarks/gpu.py --pack    # some of CIFAR-10 into benchmarks/data/
    python benchmarks/gpu.py --minutes 4 --out FOLDER     # on a GPU: all of it, about 4 minutes of it training
    python benchmarks/gpu.py --toy --out FOLDER           # all of it in little on the CPU: the rehearsal
    python benchmarks/gpu.py --count                      # only the kernels of a step
    python benchmarks/gpu.py --page FOLDER                # benchmarks/results/gpu.md of what a run has found

A run prints as it goes, and writes FOLDER/gpu.json after every part, so that a cut loses only the rest. On a GPU it
writes the page too.
Needs torch, numpy, scipy, safetensors and tqdm; PYTHONPATH=. will do in place of an installation.
The tests marked gpu: pytest -m gpu --confcutdir=tests/gpu tests/gpu
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, machine
from gpu_parts.images import PACKED, pack
from gpu_parts.kernels import kernels
from gpu_parts.page import page
from gpu_parts.size import Size, sized
from gpu_parts.steps import graph_rows, steps
from gpu_parts.trained import certificates, epoch_on_mnist, training
from torch import nn

from lliptools.storage import replacing

PAGE = RESULTS / "gpu.md"
OUT = Path(__file__).parents[1] / "artefacts" / "gpu"


class Report:
    """What has been found, printed and on disk."""

    def __init__(self, folder: Path, size: Size) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.start = folder / "gpu.json", time.perf_counter()
        name = torch.cuda.get_device_name() if size.device.type == "cuda" else "CPU, the rehearsal"
        self.found: dict[str, Any] = {"device": name, "machine": machine(), "toy": size.toy}

    def seconds(self) -> float:
        """Since the run began."""
        return time.perf_counter() - self.start

    def part(self, name: str, run: Callable[[], Any]) -> None:
        """Run a part; what it returns, or why it failed, is printed and written."""
        begin = self.seconds()
        print(f"\n== {name} (at {begin:.0f} s)", flush=True)
        try:
            found = run()
        except Exception as error:  # a part that fails must not take the others with it
            found = {"failed": f"{type(error).__name__}: {str(error)[:2000]}"}
        found["seconds"] = round(self.seconds() - begin, 1)
        self.found[name] = found
        print(json.dumps(found, indent=1), flush=True)
        with replacing(self.path) as unfinished:
            unfinished.write_text(json.dumps(self.found, indent=1) + "\n")


def run(size: Size, folder: Path) -> int:
    """All parts; 0 where none has failed."""
    report, nets = Report(folder, size), dict[str, nn.Sequential]()
    report.part("kernels", kernels)
    report.part("steps", lambda: steps(size))
    report.part("epoch", lambda: epoch_on_mnist(size))
    report.part("training", lambda: training(report.seconds, size, nets))
    report.part("certificates", lambda: certificates(size, nets))
    if not size.toy:
        PAGE.write_text(page(report.found))
    print(f"\n{report.path}: done in {report.seconds():.0f} s")
    return int(any("failed" in found for found in report.found.values() if isinstance(found, dict)))


def main() -> int:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--pack", action="store_true", help="pack CIFAR-10 of LLIPTOOLS_DATA")
    one.add_argument("--count", action="store_true", help="count the kernels of a step")
    one.add_argument("--page", type=Path, metavar="FOLDER", help="write the page of the run in this folder")
    one.add_argument("--graphs", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--toy", action="store_true", help="all of it in little, on the CPU")
    parser.add_argument("--minutes", type=float, default=4.0, help="about how long to train on CIFAR-10")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where gpu.json is written")
    options = parser.parse_args()
    size = sized(options.toy, options.minutes)
    if size.toy:
        torch.set_num_threads(1)
    if options.pack:
        pack(PACKED)
    elif options.count:
        print(json.dumps(kernels(), indent=1))
    elif options.page:
        PAGE.write_text(page(json.loads((options.page / "gpu.json").read_text())))
    elif not (options.toy or torch.cuda.is_available()):
        parser.error("expected a CUDA device, got none: --toy rehearses on the CPU")
    elif options.graphs:
        for row in graph_rows(size):
            print(json.dumps(row), flush=True)
    else:
        return run(size, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
