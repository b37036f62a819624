"""A search for what certifies more: sparsity weight, thresholds, schedules, losses with margins, other norms.

    LLIPTOOLS_DATA=... python benchmarks/search.py              # every search, and benchmarks/results/search.md
    LLIPTOOLS_DATA=... python benchmarks/search.py mnist-mlp    # one of them
    LLIPTOOLS_DATA=... python benchmarks/search.py --page       # only the page, from what is there

Every run trains one seed on all training points but 5,000 and is measured on 2,000 of those: the test points have no
say in what is chosen. It appends one line to benchmarks/results/search.jsonl; one that is there is not repeated.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import machine, table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import lliptools as ll
from lliptools.bounds import light_boxes
from lliptools.training import SharedNorm, as_float
from lliptools.training.objectives import ramped

LINES = Path(__file__).parent / "results" / "search.jsonl"
HELD_OUT, MEASURED, SEED = 5000, 2000, 0


@dataclass(frozen=True)
class Trial:
    """One setting: what differs from the family's own recipe.

    bound: of the loss. sparsity: λ. at_theta: s. theta: where thresholds start. stretch: eps in the loss over the
    radius that is certified. temperature: τ in τ·CE(worst/τ). global_until: so much of the run is trained by the global
    bound, before the local one takes over.
    """

    bound: str = "local"
    activation: str = "clipped_relu"
    sparsity: float = 1.0
    at_theta: float = 0.1
    theta: float = 0.1
    stretch: float = 1.0
    temperature: float = 1.0
    global_until: float = 0.0
    epochs: int = 10
    norm_steps: int = 6

    def __str__(self) -> str:
        own, usual = asdict(self), asdict(Trial())
        return ", ".join(f"{key} {own[key]}" for key in own if own[key] != usual[key]) or "as the family has it"


@dataclass(frozen=True)
class Searched:
    """Certified of lliptools.training, with what a trial changes."""

    trial: Trial
    eps: float

    def __call__(
        self, net: nn.Sequential, x: Tensor, y: Tensor, progress: float, norm: SharedNorm | None = None
    ) -> Tensor:
        """The loss of a batch."""
        trial, share, tau = self.trial, ramped(progress, 0.0, 0.5), self.trial.temperature
        if share == 0:
            return tau * cross_entropy(net(x) / tau, y)
        eps = share * self.eps * trial.stretch
        if trial.bound == "global" or progress < trial.global_until:
            logits = net(x)
            bound = ll.global_bound(net, x, eps, norm=norm, dtype=x.dtype, differentiable="norms")
            sparsity = x.new_zeros(())
        else:
            bound = ll.local_bound(
                net, x, eps, boxes=light_boxes, norm=norm, dtype=x.dtype, differentiable=bool(trial.sparsity) or "norms"
            )
            logits = bound.outputs
            sparsity = x.new_zeros(())
            if trial.sparsity:
                sparsity = trial.sparsity * ll.training.sparsity_loss(net, bound, at_theta=trial.at_theta)
        worst = ll.training.worst_logits(logits, bound.pairwise(y), bound.eps, y)
        certified = tau * cross_entropy(worst / tau, y) + sparsity
        return (1 - share) * tau * cross_entropy(logits / tau, y) + share * certified


def mlp_trials() -> list[Trial]:
    """The multi-layer perceptron: one thing at a time, and the global twin with the same losses."""
    whole = {"bound": "global", "activation": "relu", "sparsity": 0.0}
    return [
        Trial(**whole),
        Trial(),
        *(Trial(sparsity=weight) for weight in (0.3, 3.0)),
        *(Trial(at_theta=weight) for weight in (0.0, 0.3)),
        Trial(theta=0.3),
        *(Trial(sparsity=weight, at_theta=0.0, temperature=0.25) for weight in (1.0, 0.3)),
        Trial(at_theta=0.03, temperature=0.25, stretch=1.1),
        *(Trial(stretch=stretch) for stretch in (1.1, 1.25)),
        *(Trial(temperature=tau) for tau in (0.5, 0.25)),
        *(Trial(global_until=0.5, epochs=epochs) for epochs in (10, 14)),
        Trial(**whole, epochs=28),
        *(Trial(**whole, epochs=28, temperature=tau) for tau in (0.5, 0.25)),
    ]


def maxmin_trials() -> list[Trial]:
    """MaxMin, clipped MaxMin by threshold and sparsity."""
    clipped = partial(Trial, activation="clipped_maxmin")
    return [
        Trial("global", "maxmin", sparsity=0.0),
        Trial("local", "maxmin", sparsity=0.0),
        Trial("global", "maxmin", sparsity=0.0, stretch=0.333),
        *(clipped(theta=0.1, sparsity=weight, stretch=0.333) for weight in (0.0, 0.3)),
        *(clipped(theta=theta, sparsity=0.0) for theta in (0.1, 0.3)),
        *(clipped(theta=theta, sparsity=weight) for theta in (0.1, 0.3) for weight in (0.1, 1.0)),
        Trial("global", "maxmin", sparsity=0.0, epochs=40),
    ]


def conv_trials(epochs: int) -> list[Trial]:
    """Two convolutions and a dense layer."""
    own = partial(Trial, theta=0.2, epochs=epochs)
    whole = partial(own, bound="global", activation="relu", sparsity=0.0)
    return [
        whole(),
        own(),
        own(activation="relu", sparsity=0.0),
        *(own(sparsity=weight) for weight in (0.3, 3.0)),
        own(theta=0.05),
        *(own(theta=1.0, sparsity=weight) for weight in (0.0, 0.1)),
        *(own(theta=1.0, sparsity=weight, at_theta=0.0) for weight in (0.1, 1.0)),
        whole(epochs=6 * epochs),
    ]


SEARCHES = {
    "mnist-mlp": ("mnist-mlp-0.3-sparse", mlp_trials()),
    "mnist-maxmin": ("mnist-mlp-0.3-sparse", maxmin_trials()),
    "mnist-small": ("mnist-small-sparse", conv_trials(3)),
    "cifar10-small": ("cifar10-small-sparse", conv_trials(3)),
}


def runs() -> list[dict[str, Any]]:
    """What has been measured."""
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def measured(name: str, trial: Trial) -> dict[str, Any]:
    """Train, and measure on points held out from training."""
    own = ll.training.recipe(name)
    data = own.data().hold_out(HELD_OUT)
    network = partial(own.network, activation=trial.activation, theta=trial.theta)
    recipe = replace(
        own, objective=Searched(trial, own.objective.eps), epochs=trial.epochs, norm_steps=trial.norm_steps
    )
    torch.manual_seed(SEED)
    history = ll.training.fit(network().to(own.dtype), replace(data, x_validation=None, y_validation=None), recipe)
    net, x, y = history.net, as_float(data.x_validation[:MEASURED], own.dtype), data.y_validation[:MEASURED]
    found: dict[str, Any] = {"seconds": round(sum(history["seconds"]), 1)}
    found["clean"] = (net(x).argmax(dim=1) == y).double().mean().item()
    for eps in (own.objective.eps / 3, own.objective.eps):
        parts = [ll.certify_in_stages(net, *part, eps) for part in zip(x.split(500), y.split(500), strict=True)]
        found[f"{eps:.3g}"] = sum(int(part.holds.sum()) for part in parts) / len(x)
    bound, whole = ll.local_bound(net, x[:200], own.objective.eps), ll.global_bound(net, x[:200])
    found["local over global"] = (bound.value / whole.value).mean().item()
    return found


def search(name: str) -> None:
    """The trials that are not there yet."""
    recipe, trials = SEARCHES[name]
    for trial in trials:
        if any((line["search"], line["trial"]) == (name, str(trial)) for line in runs()):
            continue
        line = {"search": name, "trial": str(trial), **measured(recipe, trial)}
        with LINES.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


def page() -> None:
    """The markdown page."""
    parts = []
    for name, (recipe, _) in SEARCHES.items():
        lines = [line for line in runs() if line["search"] == name]
        if not lines:
            continue
        eps = ll.training.recipe(recipe).objective.eps
        radii = [f"{radius:.3g}" for radius in (eps / 3, eps)]
        head = ["what differs", "seconds", "clean", *(f"certified {radius}" for radius in radii)]
        rows = [
            [line["trial"], line["seconds"], line["clean"], *(line[radius] for radius in radii), line[KEY]]
            for line in lines
        ]
        parts.append(f"## {name}, trained as `{recipe}` for eps = {eps:.3g}\n\n{table([*head, KEY], rows)}\n")
    text = (
        "# A search for what certifies more\n\n"
        "Made by `python benchmarks/search.py` for every search and `python benchmarks/search.py --page`, with "
        f"{machine()}. One seed, {MEASURED} points held out from the training points (a standard error is about half a "
        "point), certified by the local bound.\n\n"
    )
    (LINES.parent / "search.md").write_text(text + "\n".join(parts))
    print(text + "\n".join(parts))


KEY = "local over global"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("searches", nargs="*", choices=[*SEARCHES, []])
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for each in options.searches or [*SEARCHES] * (not options.page):
        search(each)
    if options.page or not options.searches:
        page()
