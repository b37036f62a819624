"""Was it the bound or the loss, once more: centred slopes, EMMA, annealing and two shells, three seeds.

    LLIPTOOLS_DATA=... python benchmarks/bound_or_loss.py              # every family that is not there, and the page
    LLIPTOOLS_DATA=... python benchmarks/bound_or_loss.py digits-0.3   # one of them
    python benchmarks/bound_or_loss.py --page                          # only the page, from what is there

Every run appends one line to benchmarks/results/bound_or_loss.jsonl, and one that is there is not repeated. All kinds
train the same plain ReLU network with the same steps and the loss at a low temperature; they differ in the bound, the
loss and the radius that is trained for. Each kind has as many epochs as the processor time of the first one allows, by
what a step of each costs; in "equal epochs" all have the same number.
"""

import itertools
import statistics
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from common import RESULTS, families, fitted, kept, once, seconds_a_step, spread, table, write_sections
from torch import Tensor, nn

import lliptools as ll
from lliptools.training import EMMA, Annealed, Certified, Recipe, Split

LINES = RESULTS / "bound_or_loss.jsonl"
TEMPERATURE = 0.25  # the margin loss
SEEDS = (0, 1, 2)
MEASURED = ("clean", "attacked", "local", "centred", "tightest")
EPS = 0.3
STEPS = 1  # of the norms, whose vectors go on from batch to batch; the first kind has those of its recipe
# Of every kind: loss, bound, and the radius that is trained for over EPS.
KINDS: dict[str, tuple[Any, str, float]] = {
    "as before": (Certified, "global", 1.0),
    "global": (Certified, "global", 1.2),
    "local": (Certified, "local", 1.2),
    "centred": (Certified, "centred", 1.2),
    "EMMA": (EMMA, "centred", 1.2),
    "annealed": (Annealed, "centred", 1.2),
    "shells": (Certified, "shells", 1.2),
}
# Of every family: epochs of the first kind, the kinds, and how many points are certified.
FAMILIES: dict[str, tuple[int, tuple[str, ...], int]] = {
    "digits-0.3": (95, tuple(KINDS), 360),
    "digits-0.3, equal epochs": (95, tuple(KINDS)[1:], 360),
    "mnist-mlp-0.3": (32, ("as before", "global", "centred"), 10_000),
    "mnist-mlp-0.3, equal epochs": (10, tuple(KINDS)[1:], 10_000),
    "mnist-small": (5, ("as before", "global", "centred"), 250),
    "mnist-small, equal epochs": (5, tuple(KINDS)[1:], 250),
}


def of_kind(family: str, kind: str, epochs: int) -> Recipe:
    """The recipe of a kind."""
    own = ll.training.recipe(f"{family.split(',')[0]}-global")
    loss, bound, radius = KINDS[kind]
    steps = own.norm_steps if kind == "as before" else STEPS
    trained_for = loss(radius * EPS, bound=bound, temperature=TEMPERATURE)
    return replace(own, name=kind, objective=trained_for, epochs=epochs, norm_steps=steps)


def certified(net: nn.Sequential, x: Tensor, y: Tensor) -> dict[str, float]:
    """Clean and attacked accuracy, and the share certified by stages and by the centred tightest bound."""
    net, x = net.double(), x.double()
    right = ll.attacks.is_correct(net, x, y)
    local, centred = torch.zeros_like(right), torch.zeros_like(right)
    for index in torch.arange(len(x)).split(500):
        local[index] = ll.certify_in_stages(net, x[index], y[index], EPS, centred=False).holds
        centred[index] = ll.certify_in_stages(net, x[index], y[index], EPS).holds | local[index]
    robust = right.clone()
    left = (right & ~centred).nonzero()[:, 0]
    broken = ll.attacks.pgd(net, x[left], y[left], EPS, steps=40, restarts=3)
    robust[left] = ll.attacks.is_correct(net, broken, y[left])
    tightest = centred.clone()
    for index in left[robust[left]].split(50):  # whatever is broken no bound can certify
        tightest[index] = ll.certify(net, x[index], y[index], EPS, bound=ll.tightest_bound).holds
    found = {"clean": right, "attacked": robust, "local": local, "centred": centred, "tightest": tightest}
    return {name: each.double().mean().item() for name, each in found.items()}


def measured(recipe: Recipe, seed: int, data: Split, points: int) -> dict[str, float]:
    """Train and measure."""
    net, seconds = fitted(recipe, seed, data)
    return {"seconds": seconds, **certified(net, data.x_test[:points], data.y_test[:points])}


def train(family: str) -> None:
    """All seeds and kinds of a family that are not there yet."""
    epochs, kinds, points = FAMILIES[family]
    data = of_kind(family, kinds[0], epochs).data()
    cost = {kind: 1000 * seconds_a_step(of_kind(family, kind, epochs), data) for kind in kinds}
    for seed, kind in itertools.product(SEEDS, kinds):
        count = epochs if "equal epochs" in family else max(1, round(epochs * cost[kinds[0]] / cost[kind]))
        known = {"epochs": count, "ms": cost[kind]}
        run = partial(measured, of_kind(family, kind, count), seed, data, points)
        once(LINES, {"family": family, "kind": kind, "seed": seed}, lambda: known | run())  # noqa: B023 - at once


def page() -> None:
    """The tables of the page; what stands above them stays."""
    parts = []
    for family, (_, kinds, points) in FAMILIES.items():
        rows: list[list[object]] = []
        for kind in kinds:
            lines = [line for line in kept(LINES) if (line["family"], line["kind"]) == (family, kind)]
            if lines:
                loss, bound, radius = KINDS[kind]
                mean = {name: statistics.mean(line[name] for line in lines) for name in ("epochs", "ms", "seconds")}
                rows.append([kind, loss.__name__, bound, radius * EPS, len(lines), *mean.values()])
                rows[-1] += [spread([line[name] for line in lines]) for name in MEASURED]
        head = ["kind", "loss", "bound", "trained for", "seeds", "epochs", "ms a step", "seconds", *MEASURED]
        if rows:
            parts.append(f"## {family}\n\nAt {EPS}, on {points} test points.\n\n{table(head, rows)}\n")
    write_sections("bound_or_loss.md", parts)


if __name__ == "__main__":
    families(__doc__, FAMILIES, train, page)
