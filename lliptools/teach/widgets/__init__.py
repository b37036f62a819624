"""Widgets: state, a figure function and an update. They neither compute nor draw by themselves."""

from lliptools.teach.widgets.accuracy import AccuracyExplorer
from lliptools.teach.widgets.base import Explorer
from lliptools.teach.widgets.clip import ClipExplorer
from lliptools.teach.widgets.condition import ConditionExplorer
from lliptools.teach.widgets.figure import send_ahead
from lliptools.teach.widgets.lattice import LatticeExplorer
from lliptools.teach.widgets.margin import MarginExplorer
from lliptools.teach.widgets.neuron import NeuronExplorer
from lliptools.teach.widgets.norm import NormExplorer
from lliptools.teach.widgets.product import ProductExplorer
from lliptools.teach.widgets.training import TrainingExplorer

__all__ = [
    "AccuracyExplorer",
    "ClipExplorer",
    "ConditionExplorer",
    "Explorer",
    "LatticeExplorer",
    "MarginExplorer",
    "NeuronExplorer",
    "NormExplorer",
    "ProductExplorer",
    "TrainingExplorer",
]

send_ahead()
