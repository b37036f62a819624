"""Widgets: state, a figure function and an update. They neither compute nor draw by themselves."""

from lliptools.teach.widgets.base import Explorer
from lliptools.teach.widgets.neuron import NeuronExplorer

__all__ = ["Explorer", "NeuronExplorer"]
