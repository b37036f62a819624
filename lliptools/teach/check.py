"""The exercises of the notebooks, by name: `ll.check.NAME(answer)` and `ll.check.NAME.hint()`."""

from lliptools.teach.checks.capstone import capstone
from lliptools.teach.checks.clipping import clipped_maxmin_mask, relu_theta_mask
from lliptools.teach.checks.lattice import new_bound
from lliptools.teach.checks.layers import aol_scale, eight_columns, q_of_sn
from lliptools.teach.checks.margins import pairwise_radius, scaled_pixels, why_sqrt2
from lliptools.teach.checks.neurons import ball_box, interval_box, local_product, one_undecided_unit
from lliptools.teach.checks.norms import break_spectral_norm, gram_iteration, power_iteration
from lliptools.teach.checks.products import fold_by_hand, product_bound, worst_pair
from lliptools.teach.checks.proofs import never_nan, sandwich
from lliptools.teach.checks.start import self_test
from lliptools.teach.checks.thresholds import sparsity_loss, theta_to_infinity
from lliptools.teach.checks.training import gloro_loss, local_loss

__all__ = [
    "aol_scale",
    "ball_box",
    "break_spectral_norm",
    "capstone",
    "clipped_maxmin_mask",
    "eight_columns",
    "fold_by_hand",
    "gloro_loss",
    "gram_iteration",
    "interval_box",
    "local_loss",
    "local_product",
    "never_nan",
    "new_bound",
    "one_undecided_unit",
    "pairwise_radius",
    "power_iteration",
    "product_bound",
    "q_of_sn",
    "relu_theta_mask",
    "sandwich",
    "scaled_pixels",
    "self_test",
    "sparsity_loss",
    "theta_to_infinity",
    "why_sqrt2",
    "worst_pair",
]
