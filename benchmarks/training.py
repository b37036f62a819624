"""What a training step costs with every loss, in plain forward passes, and how close the estimated norms are.

    LLIPTOOLS_DATA=... python benchmarks/training.py     # written to benchmarks/results/training.md

One thread, float32, Adam, random points. Steps are timed in turn, and the least of many repeats counts.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import machine, table
from torch import Tensor, nn

import lliptools as ll
from lliptools.bounds import exact_norm
from lliptools.training import Certified, Clean, GloRo, Objective, SharedNorm

HERE = Path(__file__).parent
STEPS = 2
REPEATS = 15
EPS = 0.1
POINTS = 24
PASSES = 30  # over batches of 32 points, after which the vectors have settled
LOSSES: dict[str, Objective] = {
    "cross-entropy": Clean(),
    "GloRo, global bound": GloRo(EPS, bound="global"),
    "GloRo, local bound": GloRo(EPS),
    "GloRo, local bound, and sparsity loss": GloRo(EPS, sparsity=1.0),
    "BCP, local bound": Certified(EPS),
    "BCP, local bound, and sparsity loss": Certified(EPS, sparsity=1.0),
}


def costs(net: nn.Sequential, x: Tensor, y: Tensor) -> list[list[object]]:
    """A training step of every loss, in forward passes and in steps with cross-entropy."""
    jobs: dict[str, Callable[[], object]] = {"forward": torch.no_grad()(lambda: net(x))}
    # The step does not move the weights, so that all work on the same network.
    optimizer = torch.optim.Adam(net.parameters(), 0.0)

    def step(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for name, objective in LOSSES.items():
        norm = SharedNorm(STEPS)
        jobs[name] = lambda objective=objective, norm=norm: step(objective(net, x, y, 1.0, norm))  # type: ignore[misc]
    least = dict.fromkeys(jobs, float("inf"))
    for repeat in range(REPEATS + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if repeat:
                least[name] = min(least[name], time.perf_counter() - start)
    forward, plain = least.pop("forward"), least["cross-entropy"]
    return [[name, seconds / forward, seconds / plain, 1000 * seconds] for name, seconds in least.items()]


def tightness(name: str, net: nn.Sequential, x: Tensor, eps: float) -> list[list[object]]:
    """Estimate over exact norm with the same slopes, layer by layer: mean and least over the points."""
    rows: list[list[object]] = []
    for steps in (STEPS, 6):
        torch.manual_seed(0)
        norm, ratios = SharedNorm(steps), []

        def both(linear: ll.nets.LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
            truth = exact_norm(linear, row_slope, column_slope)
            ratios.append(norm(linear, row_slope, column_slope) / truth)  # noqa: B023 - called before the next round
            return truth

        both.begin = lambda blocks: norm.begin(blocks) and both  # type: ignore[attr-defined]  # noqa: B023
        for _ in range(PASSES):
            ll.local_bound(net, x[torch.randperm(len(x))[:32]], eps, norm=norm)
        ll.local_bound(net, x[:POINTS], eps, norm=both)
        cells = [f"{each.nanmean():.4f} / {each.nan_to_num(nan=1.0).min():.3f}" for each in ratios]
        product = torch.stack(ratios).nan_to_num(nan=1.0).prod(dim=0).mean().item()
        rows.append([name, eps, steps, ", ".join(cells), product])
    return rows


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    head = ["loss", "in forward passes", "in steps with cross-entropy", "ms"]
    images = costs(
        ll.nets.cnn("6C2F", (3, 32, 32), activation="clipped_relu"), torch.rand(32, 3, 32, 32), torch.randint(10, (32,))
    )
    digits = ll.training.digits()
    flat = costs(
        ll.nets.mlp(64, 128, 128, 10, activation="clipped_relu", theta=0.3),
        digits.x_train[:128].float(),
        digits.y_train[:128],
    )
    mnist = ll.training.mnist().x_test[:256].float()
    close = [
        row
        for name, net, x, eps in (
            ("digits-clipped", ll.nets.load("digits-clipped"), digits.x_test, 0.1),
            ("digits-clipped", ll.nets.load("digits-clipped"), digits.x_test, 0.3),
            ("mnist-small-local", ll.nets.load("mnist-small-local").float(), mnist, 0.3),
        )
        for row in tightness(name, net, x, eps)
    ]
    text = f"""# Training

Made by `python benchmarks/training.py` with {machine()}.

## Step

A whole step: logits, bound, loss, backward pass, Adam. Norms by `SharedNorm({STEPS})`, eps = {EPS}, after the ramp.

6C2F with clipped ReLU on 3×32×32 images, batch 32:

{table(head, images)}

64-128-128-10 with clipped ReLU, batch 128:

{table(head, flat)}

## How close the estimated norms are

`SharedNorm(steps)` over the exact norm of the same masked layer, mean / least of {POINTS} points, after {PASSES} passes
over random batches of 32 points. The last column: the mean of the products.

{table(["network", "eps", "steps", "layer by layer", "product"], close)}
"""
    (HERE / "results" / "training.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
