"""The networks that ship, one table a data set: clean, attacked, and certified by bounds between any two points of the
ball, as before there were centred slopes, and by those with them, without and with linear bounds of the margin.

LLIPTOOLS_DATA=... python benchmarks/shipped.py    # writes benchmarks/results/shipped.md; about a quarter of an hour
"""

from typing import Any

import torch
from common import machine, table, write
from torch import Tensor, nn

import lliptools as ll
from lliptools.certificates.accuracy import accuracy_by_bound

BOUNDS = ("global", "local", "tightest")
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {  # bound and options of certify
    "local, any two points": ("local", {"centred": False}),
    "tightest, any two points": ("tightest", {"centred": False}),
    "local, linear": ("local", {"linear": True}),
}
POINTS = {"digits": 360, "mnist": 200}
# Huang et al. (NeurIPS 2021), tables 1 to 3: architecture, clean / attacked by PGD / certified, in per cent.
PUBLISHED = {
    "mnist": (
        "On MNIST at eps = 1.58, 4C3F: standard 99.0 / 45.4 / 0.0, LMT 86.5 / 53.6 / 40.5, CAP 88.1 / 67.9 / 44.5, "
        "BCP 92.4 / 65.8 / 47.9, GloRo 92.9 / 68.9 / 50.1, local bound with GloRo 96.3 / 78.2 / 55.8, with BCP 93.0 / "
        "66.7 / 48.7."
    )
}


def share(net: nn.Module, x: Tensor, y: Tensor, eps: float, way: str) -> float:
    """Certified accuracy in one of the other ways."""
    bound, options = OTHERS[way]
    parts = zip(x.split(50), y.split(50), strict=True)
    return (
        torch.cat([ll.certify(net, *part, eps, ll.BOUNDS[bound], **options).holds for part in parts])
        .double()
        .mean()
        .item()
    )


def rows(name: str, data: ll.training.Split, points: int) -> list[list[object]]:
    """One row a radius of a network."""
    recipe, net = ll.training.recipe(name), ll.nets.load(name)
    x, y = data.x_test[:points], data.y_test[:points]
    found = accuracy_by_bound(net, x, y, recipe.radii, {bound: ll.BOUNDS[bound] for bound in BOUNDS})
    each = []
    for same in zip(*found.values(), strict=True):
        certified = [accuracy.certified for accuracy in same]
        assert certified == sorted(certified)
        assert certified[-1] <= same[0].attacked <= same[0].clean
        others = [share(net, x, y, same[0].eps, way) for way in OTHERS]
        assert max(others) <= same[0].attacked
        each.append([name, f"{same[0].eps:.3g}", same[0].clean, same[0].attacked, *certified, *others])
    return each


def main() -> None:
    """The page."""
    torch.set_num_threads(1)
    parts = [
        "# The networks that ship\n\n"
        f"Made by `python benchmarks/shipped.py` with {machine()}. How each network was trained: its recipe, seed and "
        "command are in lliptools/nets/weights/provenance.json. Attacked: PGD as in `ll.certified_accuracy`.\n"
    ]
    names = {name: ll.training.recipe(name).data for name in ll.nets.available()}
    for source in dict.fromkeys(names.values()):
        data, kind = source(), source.__name__
        points = min(POINTS.get(kind, len(data.x_test)), len(data.x_test))
        found = []
        for name in (name for name in names if names[name] is source):
            found += rows(name, data, points)
            print(found[-1], flush=True)
        head = ["network", "eps", "clean", "attacked", *(f"certified, {way}" for way in (*BOUNDS, *OTHERS))]
        parts.append(f"## {kind}, {points} test points\n\n{table(head, found)}\n")
        if kind in PUBLISHED:
            parts.append(f"Published: {PUBLISHED[kind]}\n")
    write("shipped.md", "\n".join(parts))


if __name__ == "__main__":
    main()
