"""A network that is trained in the plane while certificates grow."""

from lliptools.teach.explorers.playground.widget import Playground
from lliptools.teach.shared.example import Example

QUESTION = "What grows while a network is trained: accuracy alone, or what can be certified too?"


def _sparse() -> Playground:
    return Playground(eps=0.2, sparsity=0.3, epochs=20, point=3)


EXAMPLES = {"playground": Example(6, "The Playground", QUESTION, _sparse, "", (5, 20, 80))}
