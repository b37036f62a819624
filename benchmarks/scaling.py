"""What bounds cost as networks, batches and images grow: seconds, applications of operators, memory; and the exponents.

    python benchmarks/scaling.py    # writes benchmarks/results/scaling.md; some eight minutes

Every time is processor time on one core, the least of several runs. Operations: additions and multiplications, as torch
counts them in products and convolutions, and by formula in factorisations.
"""

import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from common import machine, table, write
from counted import Cost, cost
from torch import Tensor, nn

import lliptools as ll
from lliptools.bounds.merged import affordable

HERE = Path(__file__).parent
EPS = 0.02
BATCHES = (32, 64, 128, 192)  # of the memory section, on images of MNIST's side
GIB = 2**30
PLAIN = "forward pass"
FIELDS = ("applications", "applied", "operations", "seconds")


@dataclass(frozen=True)
class Axis:
    """What grows: sizes, the network and the points of each, and the ranges over which exponents are fitted."""

    name: str
    setting: str
    sizes: tuple[int, ...]
    network: Callable[[int], nn.Sequential]
    points: Callable[[int], Tensor]
    ranges: tuple[tuple[int, int], ...]


def images(side: int) -> Tensor:
    """Eight random images, (8, 1, side, side)."""
    return torch.rand(8, 1, side, side, dtype=torch.float64)


def digits(count: int) -> Tensor:
    """Handwritten digits, (count, 64)."""
    data = ll.training.digits()
    return torch.cat([data.x_test, data.x_train])[:count]


def wide(width: int) -> nn.Sequential:
    """Two hidden layers of a width."""
    return ll.nets.mlp(64, width, width, 10)


def deep(depth: int) -> nn.Sequential:
    """So many hidden layers of 64 units."""
    return ll.nets.mlp(64, *[64] * depth, 10)


def for_images(side: int) -> nn.Sequential:
    """2C1F for images of a side."""
    return ll.nets.cnn("2C1F", (1, side, side))


WIDTHS, DEPTHS = (32, 64, 128, 192, 256, 384, 512, 768, 1024), (2, 4, 8, 16, 32)
COUNTS, SIDES = (1, 8, 32, 64, 128, 256, 512), (8, 16, 20, 24, 28, 32)
AXES = (
    Axis("width", "64-w-w-10, 16 digits", WIDTHS, wide, lambda _: digits(16), ((64, 256), (384, 1024))),
    Axis("hidden layers", "64-64-…-64-10, 16 digits", DEPTHS, deep, lambda _: digits(16), ((4, 32),)),
    Axis("batch", "64-128-128-10", COUNTS, lambda _: wide(128), digits, ((32, 512),)),
    Axis("image side", "2C1F, 8 random images of one channel", SIDES, for_images, images, ((20, 32),)),
)


def costs(axis: Axis, size: int) -> dict[str, Cost]:
    """Of everything that is compared, at one size."""
    torch.manual_seed(0)
    net, x = axis.network(size).double().eval(), axis.points(size)
    y = net(x).argmax(dim=1)
    radius = ll.certified_radius(net, x, y, bound=ll.global_bound).median().item()
    forward = torch.no_grad()(lambda: net(x))
    few = affordable(ll.tightest_bound(net, x, EPS)).all()  # otherwise it is the local bound
    return {
        PLAIN: cost(forward),
        "global": cost(lambda: ll.global_bound(net, x)),
        "local": cost(lambda: ll.local_bound(net, x, EPS)),
        **({"tightest": cost(lambda: ll.tightest_bound(net, x, EPS))} if few else {}),
        "in stages": cost(lambda: ll.certify_in_stages(net, x, y, radius)),
    }


Found = dict[int, dict[str, Cost]]  # by size and name


def power(found: Found, ends: tuple[int, int], name: str, field: str) -> str:
    """The exponent of one field of the costs over a range of sizes, by least squares; empty where it is 0 somewhere."""
    low, high = ends
    values = {size: getattr(each[name], field) for size, each in found.items() if low <= size <= high}
    if not all(values.values()):
        return ""
    logarithms = ([math.log(value) for value in each] for each in (values, values.values()))
    return f"{statistics.linear_regression(*logarithms).slope:.2f}"


def fitted(axis: Axis, found: Found) -> list[list[object]]:
    """A row for every range and whatever is there at all of its sizes: applications at its ends, and the exponents."""
    rows: list[list[object]] = []
    for low, high in axis.ranges:
        for name in found[axis.sizes[0]]:
            if all(name in each for size, each in found.items() if low <= size <= high):
                ends = f"{found[low][name].applications} → {found[high][name].applications}"
                powers = [power(found, (low, high), name, field) for field in FIELDS]
                rows.append([axis.name, f"{low} to {high}", name, "" if name == PLAIN else ends, *powers])
    return rows


def measured(axis: Axis, found: Found) -> str:
    """The table of one axis: milliseconds, and forward passes."""
    names = [name for name in found[axis.sizes[0]] if name != PLAIN]
    rows: list[list[object]] = []
    for size, each in found.items():
        plain = each[PLAIN].seconds
        seconds = [each[name].seconds if name in each else None for name in names]
        cells = [f"{1e3 * spent:.3g} · {spent / plain:.3g}" if spent else "" for spent in seconds]
        rows.append([size, f"{1e3 * plain:.3g}", *cells])
    head = [axis.name, "forward pass, ms", *(f"{name}, ms · forward passes" for name in names)]
    return f"## {axis.name.capitalize()}\n\n{axis.setting}.\n\n{table(head, rows)}\n"


def high_water() -> int:
    """The most bytes that this process has held. (ru_maxrss would start at what its parent held.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def grown(batch: int) -> None:
    """Print the GiB held before the local bound of 4C3F, and what it added to them at most; for a new process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, x = ll.nets.cnn("4C3F", (1, 28, 28)).double().eval(), torch.rand(batch, 1, 28, 28, dtype=torch.float64)
    before = high_water()
    ll.local_bound(net, x, 0.1)
    print(before / GIB, (high_water() - before) / GIB)


def where_memory_ends() -> str:
    """Peak memory of 4C3F against the batch, and the batches that would fill a machine."""
    found = []
    for batch in BATCHES:
        command = [sys.executable, "-c", f"from scaling import grown; grown({batch})"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
        found.append([float(number) for number in done.stdout.split()])
    before, more = found[0][0], [each[1] for each in found]
    line = statistics.linear_regression(BATCHES, more)
    full = [[f"{limit} GiB", math.floor((limit - before - line.intercept) / line.slope)] for limit in (4, 8, 16)]
    return f"""## Where memory ends

`ll.local_bound` at 0.1 of random images (1, 28, 28) on 4C3F with ReLU. Each row in a process of its own: the most
that it held, less what it held before the bound was asked for ({before:.2f} GiB, most of it torch).

{table(["batch", "GiB more at most"], [list(row) for row in zip(BATCHES, more, strict=True)])}

The largest batch that would fit, an extrapolation, not measured: by the line {line.intercept:.2f} GiB +
{1024 * line.slope:.1f} MiB a point, fitted over the batches above.

{table(["memory of the process", "batch that fills it, extrapolated"], full)}
"""


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    ends = where_memory_ends()
    found: dict[str, Found] = {axis.name: {} for axis in AXES}
    for axis in AXES:
        for size in axis.sizes:
            found[axis.name][size] = costs(axis, size)
            print(axis.name, size, sum(os.times()[:4]), flush=True)
    head = ["what grows", "from, to", "bound", "applications at the ends", "exponent of applications"]
    head += ["of their operations", "of all operations", "of the time"]
    exponents = [row for axis in AXES for row in fitted(axis, found[axis.name])]
    text = f"""# How cost grows

Made by `python benchmarks/scaling.py` with {machine()}, float64, in {sum(os.times()[:4]):.0f} s of processor
time, which all times here are. Random weights, seed 0. Local and tightest bound at {EPS:g}; certificates in stages at
the radius at which the global bound certifies half of the points, so that something is left for the later stages.

## Exponents

Least squares in log-log over the sizes of the tables below that lie in the range. An application: one vector that goes
through the linear part of one layer, its transpose, or its entrywise |W|, W∘W or pattern; the exponent of their
operations is what the count predicts for the time. All operations: with Gram matrices, eigenvalues, factors. Counts
repeat, but for random starts; times on a machine that others use do not: from one run to another their exponents moved
by up to 0.4, and by 1 that of the forward pass of images, which takes less than a millisecond.

{table(head, exponents)}

{"".join(measured(axis, found[axis.name]) + chr(10) for axis in AXES)}{ends}"""
    write("scaling.md", text)


if __name__ == "__main__":
    main()
