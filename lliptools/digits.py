"""Numbers as text that still holds: bounds from above rounded up, bounds from below rounded down."""

import math
from decimal import ROUND_CEILING, Decimal


def round_up(value: float, digits: int = 4) -> str:
    """Value in at most so many significant digits, never below it: what is printed of an upper bound still holds."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exact = Decimal(value)
    last = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    return f"{float(exact.quantize(last, rounding=ROUND_CEILING)):.{digits}g}"


def round_down(value: float, digits: int = 4) -> str:
    """Value in at most so many significant digits, never above it: what is printed of a lower bound still holds."""
    above = round_up(-value, digits)
    if value > 0:
        return above.removeprefix("-")
    return f"-{above}" if value < 0 else f"{value:g}"


def radius_text(eps: float, digits: int = 4) -> str:
    """A radius that was given, in at most so many significant digits, as a float never above it: 0.3 stays 0.3."""
    nearest = f"{eps:.{digits}g}"
    return nearest if float(nearest) <= eps else round_down(eps, digits)
