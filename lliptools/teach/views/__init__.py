"""What a figure shows, computed by the engine: the only room of teaching that calls it. No plotting here."""

from lliptools.teach.views.clip import ClipView, Member, Strips, ThetaCurve, clip_view, family, theta_curve
from lliptools.teach.views.efforts import Effort, Everywhere, effort, everywhere, scale_thresholds, typical_radius
from lliptools.teach.views.margin import ASSUMED, MarginView, Reach, margin_view
from lliptools.teach.views.neuron import NeuronView, neuron_view
from lliptools.teach.views.norm import NormView, norm_view, stretching
from lliptools.teach.views.plane import Plane, plane_view
from lliptools.teach.views.product import ProductView, above, product_view
from lliptools.teach.views.units import AT_THETA, AT_ZERO, ON, UNDECIDED, Station, constants, states, stations, unit_box
from lliptools.teach.views.weights import Struck, Weights

__all__ = [
    "ASSUMED",
    "AT_THETA",
    "AT_ZERO",
    "ON",
    "UNDECIDED",
    "ClipView",
    "Effort",
    "Everywhere",
    "MarginView",
    "Member",
    "NeuronView",
    "NormView",
    "Plane",
    "ProductView",
    "Reach",
    "Station",
    "Strips",
    "Struck",
    "ThetaCurve",
    "Weights",
    "above",
    "clip_view",
    "constants",
    "effort",
    "everywhere",
    "family",
    "margin_view",
    "neuron_view",
    "norm_view",
    "plane_view",
    "product_view",
    "scale_thresholds",
    "states",
    "stations",
    "stretching",
    "theta_curve",
    "typical_radius",
    "unit_box",
]
