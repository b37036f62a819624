"""The exercises of the notebooks, by name: `ll.check.NAME(answer)` and `ll.check.NAME.hint()`."""

from lliptools.teach.checks.neurons import ball_box, interval_box, local_product, one_undecided_unit
from lliptools.teach.checks.start import self_test

__all__ = ["ball_box", "interval_box", "local_product", "one_undecided_unit", "self_test"]
