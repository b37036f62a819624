"""What the benchmarks share: networks to bound, what training costs, stop watches, runs that are kept, pages."""

import argparse
import json
import platform
import re
import statistics
import subprocess
import time
import timeit
from collections.abc import Callable, Iterable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.benchmark import timer

import lliptools as ll
from lliptools.training import Recipe, SharedNorm, Split

RESULTS = Path(__file__).parent / "results"
PLAIN = {
    "moons 2-32-32-2": ((2, 32, 32, 2), 5e-3, 3000),
    "moons 2-16-16-16-2": ((2, 16, 16, 16, 2), 5e-3, 3000),
    "digits 64-128-128-10": ((64, 128, 128, 10), 1e-3, 1500),
}


def plain_network(name: str) -> tuple[nn.Sequential, Tensor, Tensor]:
    """An unregularised ReLU net, trained here by Adam on cross-entropy with seed 0, and its held-out points."""
    sizes, rate, steps = PLAIN[name]
    data = ll.training.moons() if name.startswith("moons") else ll.training.digits()
    torch.manual_seed(0)
    net = ll.nets.mlp(*sizes).double()
    optimizer = torch.optim.Adam(net.parameters(), rate)
    for _ in range(steps):
        batch = torch.randint(len(data.x_train), (128,))
        loss = nn.functional.cross_entropy(net(data.x_train[batch]), data.y_train[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval(), data.x_test, data.y_test


def clocked(run: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    start = clock()
    return run(), clock() - start


def timed(run: Callable[[], object], times: int = 3, *, warm: int = 1) -> float:
    """Median seconds of a few runs after some that are not counted; a GPU has done what it was given."""
    return statistics.median(timeit.repeat(run, timer=timer, number=1, repeat=warm + times)[warm:])


def seconds_a_step(recipe: Recipe, data: Split, times: int = 30) -> float:
    """Least processor time of a whole training step, after the ramp."""
    torch.manual_seed(0)
    net, norm, spent = recipe.network().to(recipe.dtype), SharedNorm(recipe.norm_steps or 2), []
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4)
    for x, y in list(ll.training.batches(data.x_train[:8192], data.y_train[:8192], recipe.batch_size))[:times]:
        start = time.process_time()
        optimizer.zero_grad()
        recipe.objective(net, x.to(recipe.dtype), y, 1.0, norm).backward()
        optimizer.step()
        spent.append(time.process_time() - start)
    return min(spent)


def fitted(recipe: Recipe, seed: int, data: Split) -> tuple[nn.Sequential, float]:
    """A network trained from a seed, and the processor seconds that it took."""
    torch.manual_seed(seed)
    fit = partial(ll.training.fit, recipe.network().to(recipe.dtype), data, recipe)
    history, seconds = clocked(fit, time.process_time)
    return history.net, seconds


def families(said: str | None, known: Iterable[str], train: Callable[[str], None], page: Callable[[], None]) -> None:
    """The command line of families of networks: train those that are named, by default all; then write the page."""
    parser = argparse.ArgumentParser(description=said, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--page", action="store_true", help="train none that is not named")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.families or [*known] * (not options.page):
        train(name)
    page()


def kept(file: Path) -> list[Any]:
    """The runs that a file holds, one a line."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def keep(file: Path, run: Any) -> None:
    """Add a run to a file."""
    with file.open("a") as lines:
        lines.write(json.dumps(run, ensure_ascii=False) + "\n")


def once(file: Path, name: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
    """Measure the run of a name, print it and add it to a file, unless it is there."""
    if not any(name.items() <= run.items() for run in kept(file)):
        run = name | measure()
        keep(file, run)
        print(run, flush=True)


def spread(values: list[float], form: str = ".4f") -> str:
    """Mean ± standard error over the seeds."""
    error = f" ± {statistics.stdev(values) / len(values) ** 0.5:{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{error}"


def table(head: list[str], rows: list[list[object]]) -> str:
    """A markdown table; numbers in four digits."""
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(name: str, text: str) -> None:
    """Write a page of results, and print it."""
    (RESULTS / name).write_text(text)
    print(text)


def write_tables(name: str, tables: list[str], more: str = "") -> None:
    """Write tables in place of those of a page, and how they were made; all words beside them stay."""
    made = f"Made by `python benchmarks/{name.replace('.md', '.py')}` with {machine()}{more}."
    page = re.sub("^Made by .*$", made, (RESULTS / name).read_text(), flags=re.MULTILINE)
    words = re.split(r"(?:^\|.*\n)+", page, flags=re.MULTILINE)
    lines = [f"{each}\n" for each in tables] + [""]
    write(name, "".join(word + each for word, each in zip(words, lines, strict=True)))


def write_sections(name: str, sections: list[str]) -> None:
    """Write sections in place of those of a page, from the first of them on; what stands above, in words, stays."""
    opening = (RESULTS / name).read_text().split(sections[0].split("\n", 1)[0] + "\n", 1)[0]
    write(name, opening + "\n".join(sections))


def machine() -> str:
    """One line: what the numbers were measured with, of which commit, and when."""
    git = ["git", "-C", str(RESULTS), "describe", "--always", "--exclude=*"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    return (
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, Python {platform.python_version()}, "
        f"lliptools {ll.__version__} at {commit}, on {date.today()}"
    )
