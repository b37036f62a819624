"""What a figure shows, computed by the engine: the only room of teaching that calls it. No plotting here."""

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

__all__ = [
    "AT_THETA",
    "AT_ZERO",
    "ON",
    "UNDECIDED",
    "NeuronView",
    "Plane",
    "neuron_view",
    "plane_view",
    "scale_thresholds",
]
