"""What the benchmarks share: ordinary networks to bound, a stop watch, a table."""

import platform
import time
from collections.abc import Callable
from datetime import date

import torch
from torch import Tensor, nn

import lliptools as ll

__all__ = ["machine", "plain_network", "table", "timed"]

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


def timed(run: Callable[[], object], times: int = 3) -> float:
    """Median seconds of a few runs after one that is not counted."""
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def table(head: list[str], rows: list[list[object]]) -> str:
    """A markdown table; numbers in four digits."""
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """One line: what the numbers were measured with, and when."""
    return (
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, Python {platform.python_version()}, "
        f"lliptools {ll.__version__}, on {date.today()}"
    )
