"""How it is bounded: every rung is a function (net, x, eps) -> Bound that says which way it errs."""

from lliptools.bounds.boxes import ball_box, interval_and_ball, interval_box
from lliptools.bounds.norms import exact_norm
from lliptools.bounds.product import global_bound, local_bound
from lliptools.bounds.record import BlockBound, Bound, Box, errs, round_up

BOUNDS = {"global": global_bound, "local": local_bound}

__all__ = [
    "BOUNDS",
    "BlockBound",
    "Bound",
    "Box",
    "ball_box",
    "errs",
    "exact_norm",
    "global_bound",
    "interval_and_ball",
    "interval_box",
    "local_bound",
    "round_up",
]
