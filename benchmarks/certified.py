"""What each ingredient of certified training buys: families of networks identical except for one thing, three seeds.

    LLIPTOOLS_DATA=... python benchmarks/certified.py               # every family, and the page
    LLIPTOOLS_DATA=... python benchmarks/certified.py digits-0.5    # one of them
    LLIPTOOLS_DATA=... python benchmarks/certified.py --page        # only the page, from what is there

Every run appends one line to benchmarks/results/certified.jsonl, and one that is there already is not repeated.
"global, equal time" trains the global twin for as many epochs as take the processor time of the sparse run, by what a
step of each costs. "margin loss" is the same loss at a low temperature, where only points count that are not certified
with room to spare. Seconds are processor time on one core.
"""

import statistics
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from common import RESULTS, families, fitted, kept, once, seconds_a_step, spread, table, write_sections

import lliptools as ll
from lliptools.training import Recipe

LINES = RESULTS / "certified.jsonl"
FAMILIES = (
    *("digits-0.5", "digits-0.3", "digits-0.1", "mnist-mlp-0.1", "mnist-mlp-0.3", "mnist-mlp-1.58"),
    *("mnist-maxmin", "mnist-small"),
)
KINDS = ("standard", "global", "local", "clipped", "sparse", "global, equal time")
MARGIN_KINDS = ("global, margin loss", "sparse, margin loss", "global, equal time, margin loss")
COMPARED = (  # by the page, each kind with another
    *(("global", "standard"), ("local", "global"), ("clipped", "local"), ("sparse", "clipped"), ("sparse", "global")),
    *(("sparse", "global, equal time"), ("global, margin loss", "global"), ("sparse, margin loss", "sparse")),
    *(("global, equal time, margin loss", "global, equal time"), ("sparse, margin loss", "global, margin loss")),
    ("sparse, margin loss", "global, equal time, margin loss"),
)
BOUND_OR_LOSS = ("digits-0.3", "mnist-mlp-0.3")  # the families that are trained by both losses
TEMPERATURE = 0.25
SEEDS = (0, 1, 2)
ATTACKED = 500  # test points that are attacked


def certified(net: torch.nn.Sequential, x: torch.Tensor, y: torch.Tensor, eps: float, bound: Any) -> float:
    """Certified accuracy, a thousand points at a time; by the local bound in stages, which answer alike."""
    certify: Any = ll.certify_in_stages if bound is ll.local_bound else partial(ll.certify, bound=bound)
    parts = zip(x.split(1000), y.split(1000), strict=True)
    return torch.cat([certify(net, *part, eps).holds for part in parts]).double().mean().item()


def of_kind(family: str, kind: str) -> Recipe:
    """The recipe of a kind."""
    recipe = ll.training.recipe(f"{family}-{kind.split(',')[0]}")
    if "equal time" in kind:
        data, sparse = recipe.data(), ll.training.recipe(f"{family}-sparse")
        ratio = seconds_a_step(sparse, data) / seconds_a_step(recipe, data)
        recipe = replace(recipe, epochs=max(recipe.epochs, round(ratio * recipe.epochs)))
    if "margin loss" in kind:
        recipe = replace(recipe, objective=replace(recipe.objective, temperature=TEMPERATURE))  # type: ignore[type-var]
    return recipe


def measured(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train and measure; a network that ships is not trained again, nor is its time known here."""
    data = recipe.data()
    if seed == 0 and recipe.name in ll.nets.available() and recipe == ll.training.recipe(recipe.name):
        net, seconds = ll.nets.load(recipe.name).to(recipe.dtype), None
    else:
        net, seconds = fitted(recipe, seed, data)
    x, y = data.x_test.to(recipe.dtype), data.y_test
    count = len(x) if len(recipe.network()) < 8 else 250  # convolutions cost more
    found: dict[str, Any] = {"seconds": seconds and round(seconds, 1), "epochs": recipe.epochs, "points": count}
    found["clean"] = (net(x).argmax(dim=1) == y).double().mean().item()
    x, y = x[:count], y[:count]
    for eps in recipe.radii:
        rows = {name: certified(net, x, y, eps, ll.BOUNDS[name]) for name in ("local", "global")}
        broken = ll.attacks.pgd(net, x[:ATTACKED], y[:ATTACKED], eps, steps=30, restarts=2)
        rows["attacked"] = ll.attacks.is_correct(net, broken, y[:ATTACKED]).double().mean().item()
        rows["certified of those attacked"] = certified(net, x[:ATTACKED], y[:ATTACKED], eps, ll.local_bound)
        found[str(eps)] = rows
    bound, whole = ll.local_bound(net, x[:200], recipe.radii[0]), ll.global_bound(net, x[:200])
    found["local over global"] = (bound.value / whole.value).mean().item()
    bends = [block.slope for block in bound.blocks if block.activation is not None]
    found["constant units"] = [(slope == 0).double().mean().item() for slope in bends]
    return found


def train(family: str) -> None:
    """All kinds and seeds of a family that are not there yet."""
    for seed in SEEDS:
        for kind in KINDS + (MARGIN_KINDS if family in BOUND_OR_LOSS else ()):
            name = {"family": family, "kind": kind, "seed": seed}
            once(LINES, name, lambda: measured(of_kind(family, kind), seed))  # noqa: B023 - called at once


def nearest(recipe: Recipe) -> float:
    """The measured radius next to the one that is trained for."""
    return min(recipe.radii, key=lambda radius: abs(radius - recipe.objective.eps))  # type: ignore[attr-defined]


def gains(found: list[dict[str, Any]], family: str) -> str:
    """What each kind certifies more than the one that it differs from by one thing, seed by seed, in points."""
    eps = str(nearest(ll.training.recipe(f"{family}-sparse")))
    reached = {(line["kind"], line["seed"]): 100 * line[eps]["local"] for line in found if line["family"] == family}
    lines = []
    for kind, other in COMPARED:
        both = [seed for seed in SEEDS if {(kind, seed), (other, seed)} <= {*reached}]
        more = [reached[kind, seed] - reached[other, seed] for seed in both]
        if more:
            lines.append(f"- {kind} over {other}: {spread(more, '+.2f')}{' (one seed)' * (len(more) == 1)}")
    return "\n".join(lines)


def page() -> None:
    """The tables of the page; what stands above them stays."""
    found = kept(LINES)
    parts = []
    for family in dict.fromkeys(line["family"] for line in found):
        recipe = ll.training.recipe(f"{family}-sparse")
        radii, names = [str(eps) for eps in recipe.radii], [f"{eps:.3g}" for eps in recipe.radii]
        rows: list[list[object]] = []
        for kind in KINDS + MARGIN_KINDS:
            lines = [line for line in found if (line["family"], line["kind"]) == (family, kind)]
            if not lines:
                continue
            times = [line["seconds"] for line in lines if line["seconds"] is not None]
            row: list[object] = [kind, len(lines), lines[0]["epochs"], statistics.mean(times) if times else ""]
            row += [spread([line["clean"] for line in lines])]
            row += [spread([line[eps]["local"] for line in lines]) for eps in radii]
            # The last two are of the same points: certified ≤ attacked.
            for column, form in {"global": ".4f", "attacked": ".3f", "certified of those attacked": ".3f"}.items():
                means = [statistics.mean(line[eps][column] for line in lines) for eps in radii]
                row.append(" / ".join(f"{mean:{form}}" for mean in means))
            row.append(f"{statistics.mean(line['local over global'] for line in lines):.3f}")
            units = map(statistics.mean, zip(*(line["constant units"] for line in lines), strict=True))
            rows.append([*row, " / ".join(f"{share:.2f}" for share in units)])
        head = ["trained", "seeds", "epochs", "seconds", "clean", *(f"certified {eps}, local" for eps in names)]
        head += ["certified, global", "attacked", "certified of those attacked"]
        head += [f"local/global at {names[0]}", f"constant units at {names[0]}"]
        points = next(line["points"] for line in found if line["family"] == family)
        trained_for: float = recipe.objective.eps  # type: ignore[attr-defined]
        parts.append(
            f"## {family}\n\nTrained for eps = {trained_for:.4g}; certified on {points} test points, attacked "
            f"{min(ATTACKED, points)} of them.\n\n{table(head, rows)}\n\n"
            f"Certified at {nearest(recipe):.3g} by the local bound, in points:\n\n"
            f"{gains(found, family)}\n"
        )
    write_sections("certified.md", parts)


if __name__ == "__main__":
    families(__doc__, FAMILIES, train, page)
