"""What a training step costs with every loss, in plain forward passes, and how close the estimated norms are.

    LLIPTOOLS_DATA=... python benchmarks/training.py     # written to benchmarks/results/training.md

One thread, float32, Adam, random points. Steps are timed in turn, and the least processor time of many repeats counts.
"""

import itertools
import time
from collections.abc import Callable
from functools import partial

import torch
from common import clocked, table, write_tables
from torch import Tensor, nn

import lliptools as ll
from lliptools.bounds import exact_norm
from lliptools.training import Certified, Clean, GloRo, Objective, SharedNorm

STEPS = (1, 2)  # of the norms
REPEATS = 4
EPS = 0.1
SIZE = 32  # of the batches whose norms are compared
PASSES = 30  # after which the vectors have settled
LOSSES: dict[str, Objective] = {
    "cross-entropy": Clean(),
    "GloRo, global bound": GloRo(EPS, bound="global"),
    "GloRo, local bound": GloRo(EPS),
    "GloRo, local bound, and sparsity loss": GloRo(EPS, sparsity=1.0),
    "BCP, local bound": Certified(EPS),
    "BCP, centred slopes": Certified(EPS, bound="centred"),
    "BCP, two shells": Certified(EPS, bound="shells"),
}


def costs(net: nn.Sequential, x: Tensor, y: Tensor) -> list[list[object]]:
    """A training step of every loss, in forward passes and in steps of two other losses."""
    jobs: dict[str, Callable[[], object]] = {"forward": torch.no_grad()(lambda: net(x))}
    # The step does not move the weights, so that all work on the same network.
    optimizer = torch.optim.Adam(net.parameters(), 0.0)

    def step(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for steps, (name, objective) in itertools.product(STEPS, LOSSES.items()):
        norm = SharedNorm(steps)
        jobs[f"{name} | {steps}"] = partial(lambda run, norm: step(run(net, x, y, 1.0, norm)), objective, norm)
    repeats = [{name: clocked(job, time.process_time)[1] for name, job in jobs.items()} for _ in range(REPEATS + 1)]
    least = {name: min(each[name] for each in repeats[1:]) for name in jobs}
    forward, plain = least.pop("forward"), least["cross-entropy | 1"]
    whole = {steps: least[f"GloRo, global bound | {steps}"] for steps in STEPS}
    return [
        [*name.split(" | "), seconds / forward, seconds / plain, seconds / whole[int(name[-1])], 1000 * seconds]
        for name, seconds in least.items()
    ]


def tightness(name: str, x: Tensor, y: Tensor, eps: float) -> list[list[object]]:
    """Estimate over exact norm with the same slopes, layer by layer: mean and least over the points."""
    net, rows = ll.nets.load(name).to(x.dtype), list[list[object]]()
    for steps, in_classes in itertools.product((*STEPS, 6), (False, True)):
        torch.manual_seed(0)
        norm, ratios = SharedNorm(steps), list[Tensor]()

        def found(linear: ll.nets.LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
            truth = exact_norm(linear, row_slope, column_slope)
            ratios.append(norm(linear, row_slope, column_slope) / truth)  # noqa: B023 - called before the next round
            return truth

        for _ in range(PASSES):
            batch = torch.randperm(len(x))[:SIZE]
            groups = (torch.arange(10)[:, None] == y[batch]).to(x) if in_classes else None
            ll.training.estimated_bound(net, x[batch], eps, norm, groups=groups)
        found.begin = lambda blocks: norm.begin(blocks, groups) and found  # type: ignore[attr-defined]  # noqa: B023
        ll.local_bound(net, x[batch], eps, norm=found)
        cells = [f"{each.nanmean():.4f} / {each.nan_to_num(nan=1.0).min():.3f}" for each in ratios]
        product = torch.stack(ratios).nan_to_num(nan=1.0).prod(dim=0).mean().item()
        rows.append([name, eps, steps, "class" if in_classes else "sample", ", ".join(cells), product])
    return rows


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    head = ["loss", "steps", "forward passes", "steps with cross-entropy", "steps with the global bound", "ms"]
    net = ll.nets.cnn("6C2F", (3, 32, 32), activation="clipped_relu")
    images = costs(net, torch.rand(32, 3, 32, 32), torch.randint(10, (32,)))
    digits, mnist = ll.training.digits(), ll.training.mnist()
    small = ll.nets.mlp(64, 128, 128, 10, activation="clipped_relu", theta=0.3)
    flat = costs(small, digits.x_train[:128].float(), digits.y_train[:128])
    close = tightness("digits-clipped", digits.x_test, digits.y_test, 0.1)
    close += tightness("mnist-mlp-0.3-local", mnist.x_test[:256].float(), mnist.y_test[:256], 0.3)
    of_norms = ["network", "eps", "steps", "slopes of the", "layer by layer", "product"]
    write_tables("training.md", [table(head, images), table(head, flat), table(of_norms, close)])


if __name__ == "__main__":
    main()
