"""The bounds of one network near one point, in order."""

from lliptools.teach.explorers.lattice.widget import LatticeExplorer
from lliptools.teach.shared.example import Example, labelled

QUESTION = "How far from the truth is each bound, and what does it cost?"


def _moons() -> LatticeExplorer:
    return LatticeExplorer(*labelled("moons", by_margin=True), index=90, eps_max=0.4)


EXAMPLES = {"lattice": Example(8, "The order of bounds", QUESTION, _moons, "eps", (0.02, 0.1, 0.4))}
