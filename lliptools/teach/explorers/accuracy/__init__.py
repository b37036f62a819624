"""Certified, attacked and clean accuracy of several networks."""

from lliptools import nets, training
from lliptools.teach.explorers.accuracy.widget import AccuracyExplorer
from lliptools.teach.shared.example import Example

QUESTION = "How many points does each network classify correctly, and keep correct however they are moved by ε?"


def _digits() -> AccuracyExplorer:
    """Networks on the digits, identical except for how they were trained."""
    kinds = ("standard", "global", "local", "clipped", "sparse")
    known = {kind: nets.load(f"digits-0.5-{kind}") for kind in kinds}
    data = training.digits()
    return AccuracyExplorer(known, data.x_test[:120], data.y_test[:120], net="sparse", eps_max=1.0)


EXAMPLES = {"accuracy": Example(6, "Certified accuracy", QUESTION, _digits, "eps", (0.1, 0.3, 0.6))}
