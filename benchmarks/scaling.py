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
from common import table, write_tables
from counted import Cost, cost
from torch import Tensor, nn

import lliptools as ll
from lliptools.bounds.merged import affordable

HERE = Path(__file__).parent
EPS = 0.02
BATCHES = (32, 64, 128, 192)  # of the memory section, on images of MNIST's side
LIMITS = (4, 8, 16)  # GiB
GIB = 2**30
PLAIN = "forward pass"
FIELDS = ("applications", "applied", "operations", "seconds")


@dataclass(frozen=True)
class Axis:
    """What grows: sizes, the network and the points of each, and the ranges over which exponents are fitted."""

    name: str
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


WIDTHS, DEPTHS = (32, 64, 128, 192, 256, 384, 512, 768, 1024), (2, 4, 8, 16, 32)
COUNTS, SIDES = (1, 8, 32, 64, 128, 256, 512), (8, 16, 20, 24, 28, 32)
AXES = (
    Axis(
        "width", WIDTHS, lambda width: ll.nets.mlp(64, width, width, 10), lambda _: digits(16), ((64, 256), (384, 1024))
    ),
    Axis("hidden layers", DEPTHS, lambda depth: ll.nets.mlp(64, *[64] * depth, 10), lambda _: digits(16), ((4, 32),)),
    Axis("batch", COUNTS, lambda _: ll.nets.mlp(64, 128, 128, 10), digits, ((32, 512),)),
    Axis("image side", SIDES, lambda side: ll.nets.cnn("2C1F", (1, side, side)), images, ((20, 32),)),
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
    return table([axis.name, "forward pass, ms", *(f"{name}, ms · forward passes" for name in names)], rows)


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


def where_memory_ends() -> list[str]:
    """Peak memory of 4C3F against the batch; by a line through it, the batches that would fill a machine."""
    found = []
    for batch in BATCHES:
        command = [sys.executable, "-c", f"from scaling import grown; grown({batch})"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
        found.append([float(number) for number in done.stdout.split()])
    before, more = found[0][0], [each[1] for each in found]
    line = statistics.linear_regression(BATCHES, more)
    full = [math.floor((limit - before - line.intercept) / line.slope) for limit in LIMITS]
    head = ["GiB before", "GiB of the line", "MiB a point", *(f"batch that fills {limit} GiB" for limit in LIMITS)]
    row = [f"{before:.2f}", f"{line.intercept:.2f}", f"{1024 * line.slope:.1f}", *full]
    return [
        table(["batch", "GiB more at most"], [[*row] for row in zip(BATCHES, more, strict=True)]),
        table(head, [row]),
    ]


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
    tables = [table(head, exponents), *(measured(axis, found[axis.name]) for axis in AXES), *ends]
    write_tables("scaling.md", tables, f", in {sum(os.times()[:4]):.0f} s of processor time")


if __name__ == "__main__":
    main()
