"""Which neurons of a network are fixed near a point."""

from lliptools.teach.explorers.neurons.widget import NeuronExplorer
from lliptools.teach.shared.example import Example, labelled

__all__ = ["EXAMPLES", "NeuronExplorer"]

STILL = (0.02, 0.1, 0.4)

EXAMPLES = {
    "neurons-digits": Example(
        4,
        "Neurons near a digit",
        "Which neurons are fixed in a ball around this digit, and what does that buy?",
        make=lambda: NeuronExplorer(*labelled("digits-clipped"), index=3, eps_max=0.4),
        control="eps",
        still=STILL,
    ),
    "neurons-moons": Example(
        4,
        "Neurons in the plane",
        "Which of the lines along which the network bends does the disc reach?",
        make=lambda: NeuronExplorer(*labelled("moons", by_margin=True), index=60, eps_max=0.4),
        control="eps",
        still=STILL,
    ),
    "neurons-conv": Example(
        4,
        "Neurons of a convolutional network",
        "What is masked when a kernel looks at every place of a picture?",
        make=lambda: NeuronExplorer(*labelled("digits-conv"), index=3, eps_max=0.4),
        control="eps",
        still=STILL,
        every=2,
    ),
}
