"""What a figure shows, computed by the engine: the only room of teaching that calls it. No plotting here."""

from lliptools.teach.views.margin import ASSUMED, MarginView, Reach, margin_view
from lliptools.teach.views.neuron import (
    AT_THETA,
    AT_ZERO,
    ON,
    UNDECIDED,
    NeuronView,
    Plane,
    neuron_view,
    plane_view,
    scale_thresholds,
)
from lliptools.teach.views.norm import NormView, norm_view, stretching
from lliptools.teach.views.product import ProductView, above, product_view

__all__ = [
    "ASSUMED",
    "AT_THETA",
    "AT_ZERO",
    "ON",
    "UNDECIDED",
    "MarginView",
    "NeuronView",
    "NormView",
    "Plane",
    "ProductView",
    "Reach",
    "above",
    "margin_view",
    "neuron_view",
    "norm_view",
    "plane_view",
    "product_view",
    "scale_thresholds",
    "stretching",
]
