"""What a figure shows, computed by the engine: the only room of teaching that calls it. No plotting here."""

from lliptools.teach.views.accuracy import (
    CERTIFIED_POINT,
    MISCLASSIFIED,
    REFUTED_POINT,
    UNKNOWN,
    UNPROVED_POINT,
    AccuracyView,
    broken_at,
    certified_radii,
    pictures,
)
from lliptools.teach.views.clip import ClipView, Member, Strips, ThetaCurve, clip_view, family, theta_curve
from lliptools.teach.views.condition import ConditionView, Section, condition_view
from lliptools.teach.views.efforts import Effort, Everywhere, effort, everywhere, scale_thresholds, typical_radius
from lliptools.teach.views.lattice import RUNGS, THEOREMS, LatticeRow, LatticeView, lattice_row, theorem_holds
from lliptools.teach.views.margin import ASSUMED, MarginView, Reach, margin_view
from lliptools.teach.views.neuron import NeuronView, neuron_view
from lliptools.teach.views.norm import NormView, norm_view, stretching
from lliptools.teach.views.pair import Pair, pair_of, steepest_pair
from lliptools.teach.views.plane import Plane, plane_view
from lliptools.teach.views.product import ProductView, above, product_view
from lliptools.teach.views.units import AT_THETA, AT_ZERO, ON, UNDECIDED, Station, constants, states, stations, unit_box
from lliptools.teach.views.weights import Struck, Weights

__all__ = [
    "ASSUMED",
    "AT_THETA",
    "AT_ZERO",
    "CERTIFIED_POINT",
    "MISCLASSIFIED",
    "ON",
    "REFUTED_POINT",
    "RUNGS",
    "THEOREMS",
    "UNDECIDED",
    "UNKNOWN",
    "UNPROVED_POINT",
    "AccuracyView",
    "ClipView",
    "ConditionView",
    "Effort",
    "Everywhere",
    "LatticeRow",
    "LatticeView",
    "MarginView",
    "Member",
    "NeuronView",
    "NormView",
    "Pair",
    "Plane",
    "ProductView",
    "Reach",
    "Section",
    "Station",
    "Strips",
    "Struck",
    "ThetaCurve",
    "Weights",
    "above",
    "broken_at",
    "certified_radii",
    "clip_view",
    "condition_view",
    "constants",
    "effort",
    "everywhere",
    "family",
    "lattice_row",
    "margin_view",
    "neuron_view",
    "norm_view",
    "pair_of",
    "pictures",
    "plane_view",
    "product_view",
    "scale_thresholds",
    "states",
    "stations",
    "steepest_pair",
    "stretching",
    "theorem_holds",
    "theta_curve",
    "typical_radius",
    "unit_box",
]
