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
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import lliptools as ll
from lliptools.certificates.attacks import is_correct, pgd
from lliptools.training import Certified, Clean, GloRo, Objective, SharedNorm, Split, changed
from lliptools.training.loop import SMALLEST_THETA

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKED = HERE / "data" / "cifar10.npz"
PAGE = HERE / "results" / "gpu.md"
OUT = ROOT / "artefacts" / "gpu"

EPS = 36 / 255
STEPS = 2  # of the norms, as the paper's code has them
WHOLE = 525.0  # seconds that a run may take, the command's start included
EVALUATION = 75.0  # seconds that are kept for what follows the training
LAST = 15.0  # of them, for the certificates in a second
TRAINED = 12_000  # images that are packed to train on
WINDOW = 250  # points that are certified at a time

LOSSES: dict[str, Objective] = {
    "cross-entropy": Clean(),
    "global": Certified(EPS, bound="global"),
    "local": Certified(EPS),
    "local + sparsity": Certified(EPS, sparsity=0.1),
}

# What the paper reports for 6C2F after 800 epochs: clean / PGD / certified at 36/255, in percent (Huang et al., 2021).
PUBLISHED = {"global, equal epochs": "65.7 / 60.8 / 51.3 (BCP)", "local": "70.7 / 64.8 / 54.3 (Local + BCP)"}
COUNTED = ("forward", "backward", "together", "looks")


@dataclass(frozen=True)
class Size:
    """How large everything is: for a GPU, or for the rehearsal."""

    device: torch.device
    network: str
    batch: int
    repeats: int
    images: int  # of the epoch on MNIST
    test: int
    minutes: float
    toy: bool

    def build(self, shape: tuple[int, int, int] = (3, 32, 32), name: str | None = None) -> nn.Sequential:
        """The clipped network for images of a shape, on the device; the same weights each time."""
        torch.manual_seed(0)
        theta = 2.0 if shape[0] == 3 else 1.0
        net = ll.nets.cnn(name or self.network, shape, activation="clipped_relu", theta=theta)
        return net.to(self.device)


def sized(toy: bool, minutes: float) -> Size:
    """The sizes of a run."""
    if toy:
        return Size(torch.device("cpu"), "2C1F", 4, 2, 32, 8, minutes, True)
    return Size(torch.device("cuda"), "6C2F", 256, 20, 60_000, 1000, minutes, False)


class Report:
    """What has been found, printed and on disk."""

    def __init__(self, folder: Path, size: Size) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.start = folder / "gpu.json", time.perf_counter()
        name = torch.cuda.get_device_name() if size.device.type == "cuda" else "CPU, the rehearsal"
        self.found: dict[str, Any] = {"device": name, "machine": machine(), "toy": size.toy}

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.perf_counter() - self.start

    def part(self, name: str, run: Callable[[], Any]) -> None:
        """Run a part; what it returns, or why it failed, is printed and written."""
        begin = time.perf_counter()
        print(f"\n== {name} (at {self.seconds:.0f} s)", flush=True)
        try:
            found = run()
        except Exception as error:  # a part that fails must not take the others with it
            found = {"failed": f"{type(error).__name__}: {str(error)[:2000]}"}
        found["seconds"] = round(time.perf_counter() - begin, 1)
        self.found[name] = found
        print(json.dumps(found, indent=1), flush=True)
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text(json.dumps(self.found, indent=1) + "\n")
        os.replace(unfinished, self.path)


# Kernels


class Launches(TorchDispatchMode):
    """Counts what would launch a kernel: every operation that is no view and no empty tensor; and what would wait."""

    FREE = ("empty", "new_empty", "detach", "lift_fresh", "alias", "_unsafe_view", "_record_function", "profiler")
    LOOKS = ("_local_scalar_dense", "_linalg_check_errors", "nonzero", "equal", "masked_select", "_unique")

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.looks: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        if name.startswith(self.LOOKS):
            self.looks[name] += 1
        elif not (function.is_view or name.startswith(self.FREE)):
            self.kernels[name] += 1
        return function(*args, **(kwargs or {}))


def kernels() -> dict[str, Any]:
    """What a step of 6C2F launches: loss and backward pass, without the optimizer. The same on every device."""
    size, found = sized(True, 0.0), {}
    net = size.build(name="6C2F")
    x, y = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    for name, objective in LOSSES.items():
        norm = SharedNorm(STEPS)
        objective(net, x, y, 0.75, norm)  # the vectors of the norms are there
        with Launches() as forward:
            loss = objective(net, x, y, 0.75, norm)
        with Launches() as backward:
            loss.backward()
        counts = forward.kernels.total(), backward.kernels.total()
        looks = forward.looks.total() + backward.looks.total()
        found[name] = dict(zip(COUNTED, (*counts, sum(counts), looks), strict=True))
    return found


# Steps


class Step:
    """A training step on batches of one size; captured as a CUDA graph, anew after each `begin`, where it is asked for.

    A graph holds radius and learning rate as they are when it is captured, so that each epoch has its own.
    """

    def __init__(self, net: nn.Sequential, objective: Objective, *, captured: bool, steps: int = STEPS) -> None:
        self.net, self.objective, self.norm = net, objective, SharedNorm(steps)
        self.captured = captured and next(net.parameters()).is_cuda
        self.optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.0, capturable=self.captured)
        self.thresholds = [layer.theta for layer in net if isinstance(layer, ll.nets.ClippedReLU)]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm = False

    def begin(self, progress: float, rate: float) -> None:
        """What the next batches are trained with."""
        self.progress, self.graph = progress, None
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on a batch; the loss before it, 0-dim, good until the next call."""
        if not self.captured:
            return self._step(x, y)
        if self.graph is None:
            self._capture(x, y)
        self.x.copy_(x)
        self.y.copy_(y)
        assert self.graph is not None
        self.graph.replay()
        return self.loss

    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.net, x, y, self.progress, self.norm)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for theta in self.thresholds:
                theta.clamp_(min=SMALLEST_THETA)
        return loss.detach()

    def _capture(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x.clone(), y.clone()
        if not self.warm:  # once, on a stream of its own: what libraries set up must not be captured
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    self._step(self.x, self.y)
            torch.cuda.current_stream().wait_stream(aside)
            self.warm = True
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss = self._step(self.x, self.y)
        self.graph = graph


def waited(device: torch.device) -> None:
    """All that was begun is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def milliseconds(run: Callable[[], object], size: Size) -> float:
    """The median of some runs, after three that are not counted."""
    for _ in range(3):
        run()
    found = []
    for _ in range(size.repeats):
        waited(size.device)
        start = time.perf_counter()
        run()
        waited(size.device)
        found.append(1000 * (time.perf_counter() - start))
    return sorted(found)[len(found) // 2]


def batch(size: Size) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    torch.manual_seed(1)
    return torch.rand(size.batch, 3, 32, 32, device=size.device), torch.randint(10, (size.batch,), device=size.device)


def one_step(size: Size, loss: str, *, captured: bool = False) -> Callable[[], Tensor]:
    """A step that can be repeated: its learning rate is 0."""
    step, (x, y) = Step(size.build(), LOSSES[loss], captured=captured), batch(size)
    step.begin(1.0, 0.0)
    return lambda: step(x, y)


def eager_rows(size: Size) -> Iterator[dict[str, Any]]:
    """Steps as torch runs them line by line."""
    net, (x, _) = size.build(), batch(size)
    yield {"loss": "forward pass", "way": "eager", "ms": milliseconds(torch.no_grad()(lambda: net(x)), size)}
    for name in LOSSES:
        yield {"loss": name, "way": "eager", "ms": milliseconds(one_step(size, name), size)}


def graph_rows(size: Size) -> Iterator[dict[str, Any]]:
    """Steps replayed as a CUDA graph, and whether that computes what the eager step does."""
    if not size.toy:
        net, (x, _) = size.build(), batch(size)
        graph = torch.cuda.CUDAGraph()
        with torch.no_grad():
            net(x)
            waited(size.device)
            with torch.cuda.graph(graph):
                net(x)
        yield {"loss": "forward pass", "way": "CUDA graph", "ms": milliseconds(graph.replay, size)}
    for name in LOSSES:
        row: dict[str, Any] = {"loss": name, "way": "eager, for a CUDA graph" if size.toy else "CUDA graph"}
        try:
            captured, eager = one_step(size, name, captured=True), one_step(size, name)
            for _ in range(3):  # the captured one has done three steps to warm up
                eager()
            row["ms"] = milliseconds(captured, size)
            for _ in range(size.repeats + 4):
                expected = eager()
            row["differs"] = abs(float(captured()) - float(expected)) / abs(float(expected))
        except Exception as error:
            row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
        yield row


def in_a_process(size: Size, limit: float) -> list[dict[str, Any]]:
    """graph_rows as a process of its own prints them: neither a crash nor a wait without end takes the run with it."""
    command = [sys.executable, str(Path(__file__)), "--graphs", *(["--toy"] if size.toy else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as error:
        printed = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        failed = {"loss": "all", "way": "CUDA graph", "failed": f"not done after {limit:.0f} s"}
        return [*map(json.loads, printed.splitlines()), failed]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        rows.append({"loss": "all", "way": "CUDA graph", "failed": done.stderr[-600:]})
    return rows


def steps(size: Size) -> dict[str, Any]:
    """What a step costs, in milliseconds and in plain forward passes."""
    rows = list(eager_rows(size))
    for row in rows:
        print(row, flush=True)
    rows += in_a_process(size, 90.0)
    forward = rows[0]["ms"]
    return {"rows": [{**row, "forward passes": row["ms"] / forward} if "ms" in row else row for row in rows]}


# Training


def epoch_on_mnist(size: Size) -> dict[str, Any]:
    """An epoch of mnist-4c3f with the local bound over a plain one, by `fit`; random images."""
    recipe = replace(ll.training.recipe("mnist-4c3f"), epochs=3, batch_size=256 if not size.toy else 8)
    torch.manual_seed(0)
    x = torch.randint(256, (size.images, 1, 28, 28), dtype=torch.uint8)
    data = Split(x, torch.randint(10, (size.images,)), x[:1], torch.zeros(1, dtype=torch.int64))
    found = {}
    objectives: dict[str, Objective] = {"plain": Clean(), "local": GloRo(1.75, ramp=0.0)}
    for name, objective in objectives.items():
        trained = replace(recipe, objective=objective, norm_steps=recipe.norm_steps if name == "local" else None)
        net = size.build((1, 28, 28), "2C1F" if size.toy else "4C3F")
        # The first epoch has radius 0, and is not counted.
        found[f"{name}, s"] = min(ll.training.fit(net, data, trained)["seconds"][1:])
    return {"rows": [{**found, "local over plain": found["local, s"] / found["plain, s"]}]}


def trained(size: Size, data: Split, bound: str, epochs: int) -> tuple[nn.Sequential, dict[str, Any]]:
    """A network trained as the paper's, its schedule compressed to so many epochs."""
    recipe = ll.training.recipe("cifar10-6c2f")
    recipe = replace(recipe, objective=changed(recipe.objective, bound=bound), epochs=epochs, batch_size=size.batch)
    history = ll.training.fit(size.build(), data, recipe)
    print(history, flush=True)
    return history.net, {"epochs": epochs, "s": round(sum(history["seconds"]), 1)}


def by_global(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Which points the global bound certifies, (batch,) bool."""
    return ll.certify(net, x, y, EPS, bound=ll.global_bound).holds


def by_local(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Which points the local bound certifies, its norms to 1 %, (batch,) bool."""
    return ll.certify_in_stages(net, x, y, EPS, tolerance=1e-2).holds


# How networks are evaluated. A certificate by shells joins them here when there is one.
CERTIFIED_BY = {"global": by_global, "local": by_local}


def evaluated(net: nn.Sequential, x: Tensor, y: Tensor, until: float) -> dict[str, Any]:
    """Clean, PGD (50 steps) and certified accuracy at 36/255 on as many points as there is time for."""
    counts: Counter[str] = Counter()
    for points, labels in zip(x.split(WINDOW), y.split(WINDOW), strict=True):
        counts["points"] += len(points)
        counts["clean"] += int(is_correct(net, points, labels).sum())
        counts["PGD"] += int(is_correct(net, pgd(net, points, labels, EPS, restarts=1), labels).sum())
        for name, holds in CERTIFIED_BY.items():
            counts[f"certified, {name}"] += int(holds(net, points, labels).sum())
        if time.perf_counter() > until:
            break
    shares = {name: count / counts["points"] for name, count in counts.items() if name != "points"}
    return {**shares, "points": counts["points"]}


@cache
def loaded(size: Size) -> Split:
    """CIFAR-10 on the device, as packed or from LLIPTOOLS_DATA; noise in the rehearsal."""
    if size.toy:
        torch.manual_seed(0)
        x, y = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (16,))
        return Split(x, y, x[: size.test], y[: size.test])
    return (unpacked(PACKED) if PACKED.exists() else ll.training.cifar10()).to(size.device)


def training(report: Report, size: Size, nets: dict[str, nn.Sequential]) -> dict[str, Any]:
    """6C2F on CIFAR-10 by BCP: local and global, in equal epochs and in equal time."""
    data = loaded(size)
    (images, labels), few = data.stored("train"), 20 * size.batch
    x, y = data.x_test[: size.test], data.y_test[: size.test]
    some, pace = Split(images[:few], labels[:few], *data.stored("test")), dict[str, float]()
    for bound in ("local", "global"):
        pace[bound] = trained(size, some, bound, 4)[1]["s"] / 4 * len(images) / len(some.y_train)
    left = WHOLE - EVALUATION - report.seconds
    room = 0.9 * min(60 * size.minutes, left)
    epochs = 2 if size.toy else int(room / (2 * pace["local"] + pace["global"]))
    if epochs < 1:
        return {"left out": f"{left:.0f} s left, and an epoch takes {pace}"}
    as_long = 3 if size.toy else max(1, int(epochs * pace["local"] / pace["global"]))
    print(f"an epoch takes {pace} s: {epochs} epochs, and {as_long} of the global bound in equal time", flush=True)
    rows: list[dict[str, Any]] = []
    counts = {"local": epochs, "global, equal epochs": epochs, "global, equal time": as_long}
    for name, count in counts.items():
        nets[name], found = trained(size, data, name.split(",")[0], count)
        rows.append({"run": name, **found})
    for place, row in enumerate(rows):
        share = (WHOLE - LAST - report.seconds) / (len(rows) - place)
        row |= evaluated(nets[row["run"]], x, y, time.perf_counter() + share)
        row["paper, 800 epochs"] = PUBLISHED.get(row["run"], "")
        print(row, flush=True)
    return {"images": len(labels), "rows": rows}


def certificates(size: Size, nets: dict[str, nn.Sequential]) -> dict[str, Any]:
    """How many certificates a second certify_in_stages gives for the network trained with the local bound."""
    if "local" not in nets:
        return {"left out": "no network was trained"}
    data = loaded(size)
    x, y = data.x_test[: size.test], data.y_test[: size.test]
    by_local(nets["local"], x[:2], y[:2])
    held, count, start = 0, 0, time.perf_counter()
    for points, labels in zip(x.split(WINDOW), y.split(WINDOW), strict=True):
        held, count = held + int(by_local(nets["local"], points, labels).sum()), count + len(points)
        if time.perf_counter() - start > LAST:
            break
    rate = count / (time.perf_counter() - start)
    return {"rows": [{"points": count, "certified": held / count, "certificates per second": rate}]}


# Data


def pack(path: Path) -> None:
    """The first images of CIFAR-10 of LLIPTOOLS_DATA in one file."""
    data, parts = ll.training.cifar10(), []
    for part, count in (("train", TRAINED), ("test", sized(False, 0.0).test)):
        parts += [each[:count].numpy() for each in data.stored(part)]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, *parts)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MB")


def unpacked(path: Path) -> Split:
    """What pack wrote."""
    with np.load(path) as found:
        return Split(*(torch.from_numpy(found[name]) for name in found.files))


# The run and its page


def run(size: Size, folder: Path) -> int:
    """All parts; 0 where none has failed."""
    report, nets = Report(folder, size), dict[str, nn.Sequential]()
    report.part("kernels", kernels)
    report.part("steps", lambda: steps(size))
    report.part("epoch", lambda: epoch_on_mnist(size))
    report.part("training", lambda: training(report, size, nets))
    report.part("certificates", lambda: certificates(size, nets))
    if not size.toy:
        PAGE.write_text(page(report.found))
    print(f"\n{report.path}: done in {report.seconds:.0f} s")
    parts = [found for found in report.found.values() if isinstance(found, dict)]
    return int(any("failed" in found for found in parts))


def shown(part: dict[str, Any] | None) -> str:
    """The rows of a part, or why there are none."""
    if part is None:
        return "Not reached."
    if "rows" not in part:
        return f"Failed: `{part['failed']}`" if "failed" in part else f"Left out: {part['left out']}"
    head = list(dict.fromkeys(key for row in part["rows"] for key in row))
    rows: list[list[object]] = [[_short(row.get(key, "")) for key in head] for row in part["rows"]]
    return table(head, rows)


def _short(cell: object) -> object:
    return " ".join(cell.split())[:160] if isinstance(cell, str) else cell


def page(found: dict[str, Any]) -> str:
    """benchmarks/results/gpu.md."""
    toy = found["toy"]
    opening = (
        "**Not yet run on a GPU.** What stands below is the rehearsal on the CPU, with a small network and a few noisy "
        "images: it shows that every part runs, and its numbers mean nothing but for the kernels, which are counted."
        if toy
        else f"One {found['device']}. The schedule of 800 epochs is compressed to those that fit, and packed images "
        "are a part of CIFAR-10 only: nothing to quote beside a published figure."
    )
    many = found.get("training", {}).get("images", 0)
    images = "2C1F, noise in place of the images" if toy else f"6C2F, {many:,} images to train"
    kernels = {"rows": [{"loss": name, **row} for name, row in found["kernels"].items() if name in LOSSES]}
    return f"""# On a GPU

Made by `python benchmarks/gpu.py {"--toy" if toy else "--minutes N"} --out FOLDER` and `--page FOLDER`, with
{found["machine"]}.

{opening}

## Kernels of a step

6C2F with clipped ReLU, norms by `SharedNorm({STEPS})`, loss and backward pass without the optimizer: operations that
are no views (`--count`). A look at a value makes a GPU wait, and ends the capture of a CUDA graph.

{shown(kernels)}

## A step

{"2C1F, batch 4" if toy else "6C2F, batch 256"}, after the ramp, AdamW. The loss of a captured step is compared with
that of the eager one after as many steps.

{shown(found.get("steps"))}

## An epoch of mnist-4c3f

GloRo with the local bound over cross-entropy, {"32" if toy else "60,000"} random images; the goal is 5 at most.

{shown(found.get("epoch"))}

## CIFAR-10

BCP, radius 36/255, {images}; shares of the test points.

{shown(found.get("training"))}

## Certificates in stages

{shown(found.get("certificates"))}
"""


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
