"""Networks trained in the time that there is, as the paper's, and what is certified of them."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import lliptools as ll
from gpu_parts.images import loaded
from gpu_parts.size import EPS, Size
from lliptools.certificates.attacks import is_correct, pgd
from lliptools.training import Clean, GloRo, Objective, Split, changed

WHOLE = 525.0  # seconds that a run may take, the command's start included
EVALUATION = 75.0  # seconds that are kept for what follows the training
LAST = 15.0  # of them, for the certificates in a second
WINDOW = 250  # points that are certified at a time

# What the paper reports for 6C2F after 800 epochs: clean / PGD / certified at 36/255, in percent (Huang et al., 2021).
PUBLISHED = {"global, equal epochs": "65.7 / 60.8 / 51.3 (BCP)", "local": "70.7 / 64.8 / 54.3 (Local + BCP)"}


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


def by_local(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Which points the local bound certifies, its norms to 1 %, (batch,) bool."""
    return ll.certify_in_stages(net, x, y, EPS, tolerance=1e-2).holds


def evaluated(net: nn.Sequential, x: Tensor, y: Tensor, until: float) -> dict[str, Any]:
    """Clean, PGD (50 steps) and certified accuracy at 36/255 on as many points as there is time for."""
    counts: Counter[str] = Counter()
    for points, labels in zip(x.split(WINDOW), y.split(WINDOW), strict=True):
        held = {
            "clean": is_correct(net, points, labels),
            "PGD": is_correct(net, pgd(net, points, labels, EPS, restarts=1), labels),
            "certified, global": ll.certify(net, points, labels, EPS, bound=ll.global_bound).holds,
            "certified, local": by_local(net, points, labels),
        }
        counts.update({name: int(each.sum()) for name, each in held.items()} | {"points": len(points)})
        if time.perf_counter() > until:
            break
    seen = counts.pop("points")
    return {name: count / seen for name, count in counts.items()} | {"points": seen}


def training(clock: Callable[[], float], size: Size, nets: dict[str, nn.Sequential]) -> dict[str, Any]:
    """6C2F on CIFAR-10 by BCP: local and global, in equal epochs and in equal time."""
    data = loaded(size)
    (images, labels), few = data.stored("train"), 20 * size.batch
    x, y = data.x_test[: size.test], data.y_test[: size.test]
    some, pace = Split(images[:few], labels[:few], *data.stored("test")), dict[str, float]()
    for bound in ("local", "global"):
        pace[bound] = trained(size, some, bound, 4)[1]["s"] / 4 * len(images) / len(some.y_train)
    left = WHOLE - EVALUATION - clock()
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
        share = (WHOLE - LAST - clock()) / (len(rows) - place)
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
    found, start = list[bool](), time.perf_counter()
    for points, labels in zip(x.split(WINDOW), y.split(WINDOW), strict=True):
        found += by_local(nets["local"], points, labels).tolist()
        if time.perf_counter() - start > LAST:
            break
    rate = len(found) / (time.perf_counter() - start)
    return {"rows": [{"points": len(found), "certified": sum(found) / len(found), "certificates per second": rate}]}
