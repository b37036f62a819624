"""Figures: results in, plotly Figure out, one function for every central figure. Nothing is computed here."""

from lliptools.teach.figures.accuracy import accuracy
from lliptools.teach.figures.clip import clipping
from lliptools.teach.figures.condition import condition
from lliptools.teach.figures.counter_example import counter_example
from lliptools.teach.figures.lattice import lattice
from lliptools.teach.figures.margin import margins
from lliptools.teach.figures.neuron import neurons
from lliptools.teach.figures.norm import norms
from lliptools.teach.figures.product import products
from lliptools.teach.figures.training import training

__all__ = [
    "accuracy",
    "clipping",
    "condition",
    "counter_example",
    "lattice",
    "margins",
    "neurons",
    "norms",
    "products",
    "training",
]
