"""Which neurons of a network are fixed near a point."""

from functools import partial

from lliptools.teach.explorers.neurons.widget import NeuronExplorer, UnitExplorer
from lliptools.teach.shared.example import Example, labelled

STILL = (0.02, 0.1, 0.4)
DIGIT = "Which neurons are fixed in a ball around this digit, and what does that buy?"
PLANE = "Which of the lines along which the network bends does the disc reach?"
CONVOLUTIONS = "What is masked when a kernel looks at every place of a picture?"


def _of(name: str, *, by_margin: bool = False, index: int) -> NeuronExplorer:
    return NeuronExplorer(*labelled(name, by_margin=by_margin), index=index, eps_max=0.4)


_digit, _conv = partial(_of, "digits-clipped", index=3), partial(_of, "digits-conv", index=3)
_plane = partial(_of, "moons", by_margin=True, index=90)
UNITS = "Which units stand still while this digit moves?"


def _units() -> UnitExplorer:
    return UnitExplorer(*labelled("digits-clipped"), index=3, eps_max=0.4)


EXAMPLES = {
    "units-digits": Example(0, "Units near a digit", UNITS, _units, "eps", STILL),
    "neurons-digits": Example(4, "Neurons near a digit", DIGIT, _digit, "eps", STILL),
    "neurons-moons": Example(4, "Neurons in the plane", PLANE, _plane, "eps", STILL),
    "neurons-conv": Example(4, "Neurons of a convolutional network", CONVOLUTIONS, _conv, "eps", STILL, every=2),
}
