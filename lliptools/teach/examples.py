"""The explorers on networks that ship, in one list: for the app, the gallery and what is timed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lliptools.teach.widgets import Explorer

__all__ = ["EXAMPLES", "Example"]


@dataclass(frozen=True)
class Example:
    """An explorer, made when it is asked for. gallery: whether its framed slider makes a page there."""

    title: str
    question: str
    make: "Callable[[], Explorer]"
    gallery: bool = True


def _neurons(name: str, index: int) -> "Explorer":
    import lliptools as ll
    from lliptools.teach.widgets import NeuronExplorer

    data = ll.training.recipe(name).data()
    return NeuronExplorer(ll.nets.load(name), data.x_test, data.y_test, index=index, eps_max=0.4)


EXAMPLES: dict[str, Example] = {
    "neurons-digits": Example(
        "Neurons near a digit",
        "Which neurons are fixed in a ball around this digit, and what does that buy?",
        lambda: _neurons("digits-clipped", 3),
    ),
    "neurons-moons": Example(
        "Neurons in the plane",
        "Which of the lines along which the network bends does the disc reach?",
        lambda: _neurons("moons", 7),
    ),
}
