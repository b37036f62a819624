"""Figures: results in, plotly Figure out, one function for every central figure. Nothing is computed here."""

from lliptools.teach.figures.neuron import neurons
from lliptools.teach.figures.training import training

__all__ = ["neurons", "training"]
