"""A notebook with every explorer, and a way through each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from explorers import Explorer
from lab import Lab
from playwright.sync_api import Page, expect

SETUP = """
import time
from pathlib import Path
import torch, lliptools as ll
digits, moons = ll.training.digits(), ll.training.moons()
net, plane = ll.nets.load("digits-clipped"), ll.nets.load("moons")
family = {kind: ll.nets.load(f"digits-0.5-{kind}") for kind in ("standard", "sparse")}
fold, x = ll.nets.fold(3, 2).double(), torch.tensor([[1.0, -2.0, 0.5], [2.0, 2.0, 2.0]]).double()


# Keeps the kernel busy with what a control has said, while there is a file; not for ever.
def wait(change):
    for _ in range(1000):
        if not Path("busy").exists():
            return
        time.sleep(0.02)
"""
MAKE = """
{name} = ll.teach.{make}
{name}.add_class("{name}")
for control in {name}.controls.values():
    control.observe(wait, names="value")
"""


@dataclass(frozen=True)
class Walk:
    """A way through an explorer.

    start: what its summary says first. main: the slider that is dragged, and moved to both ends. called: how the call
    that opens the view again gives the main slider's value. ends: what the summary says at the ends. moves: (control,
    keys, what the summary then says, what the call then says), from the start, with the reset button between them.
    """

    make: str
    start: str
    main: str
    called: Callable[[float], str]
    ends: tuple[str, str]
    moves: tuple[tuple[str, tuple[str, ...], str, str], ...]
    presses: int = 5


WALKS = {
    "neurons": Walk(
        "NeuronExplorer(net, digits.x_test, digits.y_test, index=3, eps=0.1, eps_max=0.4)",
        "ε = 0.1 ·",
        "ε",
        "eps={:g},".format,
        ("ε = 0 ·", "ε = 0.4 ·"),
        (
            ("ε", ("ArrowLeft",), "ε = 0.096 ·", "eps=0.096"),
            ("point", ("ArrowRight",), "ε = 0.1 ·", "index=4"),
            ("θ times", ("ArrowLeft",) * 4, "ε = 0.1 ·", "theta_scale=0.5,"),
        ),
    ),
    "margins": Walk(
        "MarginExplorer(plane, moons.x_test, moons.y_test, index=7)",
        "point (0.08, 0.2) · class 1, predicted 1",
        "x0",
        "point=({:g}, 0.2)".format,
        ("point (-1.32, 0.2)", "point (2.22, 0.2)"),
        (
            ("x1", ("End",), "class 0, predicted 0", "point=(0.08, "),
            ("class y", ("0",), "Class 0 loses to class 1 here: nothing to certify.", "label=0"),
            ("L from", ("local bound",), "local bound on the ball", "L='local'"),
            ("L from", ("exact",), "exact constant on the ball", "L='exact'"),
            ("assumed L", ("Home",), "refuted", "L=4"),
        ),
    ),
    "norms": Walk(
        "NormExplorer(ratio=0.9)",
        "iteration 5: power ≥ 0.97428",
        "iteration",
        "iteration={:g},".format,
        ("iteration 0:", "iteration 40:"),
        (
            ("σ₂/σ", ("ArrowLeft",), "σ₂/σ = 0.89", "ratio=0.89"),
            ("angle", ("End",), "power ≥ 0.9 (from below)", "angle=90"),
        ),
    ),
    "products": Walk(
        "ProductExplorer(ll.nets.fold(2, 8), depth=3)",
        "product of norms ≤ 8 ·",
        "depth",
        "depth={:g})".format,
        ("depth 0 of 8", "product of norms ≤ 256 · best sampled slope 1, from below"),
        (("depth", ("ArrowRight",), "product of norms ≤ 16 ·", "depth=4"),),
        presses=3,
    ),
    "clipping": Walk(
        "ClipExplorer(family, digits.x_test, digits.y_test, index=3, eps=0.2, eps_max=1.0)",
        "ε = 0.2 ·",
        "ε",
        "eps={:g},".format,
        ("ε = 0 ·", "ε = 1 ·"),
        (
            ("θ times", ("ArrowLeft",) * 4, "θ times 0.25", "theta_scale=0.25,"),
            ("network", ("sparse",), "ε = 0.2 ·", "network='sparse'"),
            ("point", ("ArrowRight",), "ε = 0.2 ·", "index=4"),
        ),
    ),
    "accuracies": Walk(
        "AccuracyExplorer(family, digits.x_test[:60], digits.y_test[:60], eps=0.3, eps_max=1.0)",
        "ε = 0.3 · certified by the local bound",
        "ε",
        "eps={:g},".format,
        ("ε = 0 ·", "ε = 1 ·"),
        (
            ("network", ("sparse",), "the points of sparse", "net='sparse'"),
            ("certified by", ("global",), "by the global bound", "method='global'"),
        ),
    ),
    "scales": Walk(
        "ConditionExplorer()",
        "q₂/q₁ = 1 ·",
        "log₂",
        lambda log_q: f"q={2**log_q:g},",
        ("q₂/q₁ = 0.25 ·", "q₂/q₁ = 4 ·"),
        (
            ("log₂", ("ArrowRight",), "q₂/q₁ = 1.035 ·", "q=1.03526"),
            ("matrix", ("eight columns",), "columns 1 and 2 of 8", "matrix='eight columns'"),
        ),
    ),
    "lattice": Walk(
        "LatticeExplorer(fold, x, torch.tensor([1, 1]), eps=0.3, eps_max=1.0)",
        "sampled ≥ 1",
        "ε",
        "eps={:g},".format,
        ("ε = 0 ·", "local ≤ 4 ·"),
        (("ε", ("ArrowRight",), "ε = 0.35 ·", "eps=0.35"), ("point", ("ArrowRight",), "sampled ≥ ", "index=1")),
    ),
    "training": Walk(
        "TrainingExplorer(epochs=200)",
        "nothing trained yet",
        "epochs",
        "epochs={:g},".format,
        ("nothing trained yet", "nothing trained yet"),
        (("seed", ("ArrowRight",), "nothing trained yet", "seed=1"),),
        presses=0,  # words stay as they are until there is a run
    ),
}


def notebook() -> list[str]:
    """The cells of a notebook with every explorer: what they share, then one each."""
    return [SETUP, *(MAKE.format(name=name, make=walk.make) + name for name, walk in WALKS.items())]


def opened(lab: Lab, page: Page, name: str) -> Explorer:
    """The explorer of this name, when its cell of that notebook has run."""
    lab.run(page, 1 + list(WALKS).index(name))
    explorer = Explorer(page, name)
    explorer.wait(WALKS[name].start)
    expect(explorer.summary).not_to_contain_text("…")
    return explorer


@contextmanager
def busy_kernel(lab: Lab) -> Iterator[None]:
    """The kernel stays with the first value that it gets, and goes on at the end."""
    (lab.root / "busy").touch()
    try:
        yield
    finally:
        (lab.root / "busy").unlink()
