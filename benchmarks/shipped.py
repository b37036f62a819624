"""The networks that ship, one table a data set: clean, attacked, and certified by bounds between any two points of the
ball, as before there were centred slopes, and by those with them, without and with linear bounds of the margin.

A bound is asked only of points that no looser one certifies and no attack breaks; it would certify the others as well.

LLIPTOOLS_DATA=... python benchmarks/shipped.py [NETWORK ...]    # shipped.jsonl keeps what is done; then the page
"""

import sys
from functools import partial
from typing import Any

import torch
from common import RESULTS, kept, machine, once, table, write
from torch import Tensor, nn

import lliptools as ll

LINES = RESULTS / "shipped.jsonl"
WAYS: dict[str, tuple[tuple[str, ...], str, dict[str, Any]]] = {  # looser ways, bound, options of certify
    "global": ((), "global", {}),
    "local, any two points": (("global",), "local", {"centred": False}),
    "local": (("local, any two points",), "local", {}),
    "local, linear": (("local",), "local", {"linear": True}),
    "tightest, any two points": (("local, any two points",), "tightest", {"centred": False}),
    "tightest": (("local", "tightest, any two points"), "tightest", {}),
}
POINTS = {"digits": 360, "mnist": 200}
# Huang et al. (NeurIPS 2021), tables 1 to 3: architecture, clean / attacked by PGD / certified, in per cent.
PUBLISHED = """
Published: On MNIST at eps = 1.58, 4C3F: standard 99.0 / 45.4 / 0.0, LMT 86.5 / 53.6 / 40.5, CAP 88.1 / 67.9 / \
44.5, BCP 92.4 / 65.8 / 47.9, GloRo 92.9 / 68.9 / 50.1, local bound with GloRo 96.3 / 78.2 / 55.8, with BCP \
93.0 / 66.7 / 48.7.
"""


def measured(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> dict[str, float]:
    """Clean, attacked and certified accuracies."""
    right = ll.attacks.is_correct(net, x, y)
    parts = zip(x.split(50), y.split(50), strict=True)
    robust = torch.cat([ll.attacks.is_correct(net, ll.attacks.pgd(net, *part, eps), part[1]) for part in parts])
    found = {"clean": right, "attacked": robust}
    for way, (looser, bound, options) in WAYS.items():
        holds = torch.stack([torch.zeros_like(right), *(found[name] for name in looser)]).any(dim=0)
        assert not (holds & ~robust).any()  # a certified point that an attack breaks
        left = (robust & ~holds).nonzero()[:, 0]
        for index in left.split(50) if len(left) else ():
            holds[index] = ll.certify(net, x[index], y[index], eps, ll.BOUNDS[bound], **options).holds
        found[way] = holds
    return {name: each.double().mean().item() for name, each in found.items()}


def page() -> None:
    """The tables of what is measured."""
    made = (
        f"Made by `python benchmarks/shipped.py` with {machine()}. How each network was trained: its recipe, seed and"
    )
    made += " command are in lliptools/nets/weights/provenance.json. Attacked: PGD as in `ll.certified_accuracy`."
    parts, lines = [f"# The networks that ship\n\n{made}\n"], kept(LINES)
    for kind, points in dict.fromkeys((line["data"], line["points"]) for line in lines):
        of_kind = [line for line in lines if line["data"] == kind]
        columns = ["clean", "attacked", *WAYS]
        found = [[line["network"], f"{line['eps']:.3g}", *(line[name] for name in columns)] for line in of_kind]
        head = ["network", "eps", "clean", "attacked", *(f"certified, {way}" for way in WAYS)]
        rows = table(head, sorted(found, key=lambda row: str(row[0])))
        parts.append(f"## {kind}, {points} test points\n\n{rows}\n{PUBLISHED * (kind == 'mnist')}")
    write("shipped.md", "\n".join(parts))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ll.nets.available():
        recipe, net = ll.training.recipe(name), ll.nets.load(name)
        data, kind = recipe.data(), recipe.data.__name__
        points = min(POINTS.get(kind, len(data.x_test)), len(data.x_test))
        x, y = data.x_test[:points], data.y_test[:points]
        for eps in recipe.radii:
            known = {"network": name, "data": kind, "points": points, "eps": eps}
            once(LINES, known, partial(measured, net, x, y, eps))
    page()
