"""How the learning rate changes over the epochs."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["HoldThenFall", "Schedule", "Triangle"]


class Schedule(Protocol):
    """(peak, epoch, epochs) -> the learning rate of that epoch, counted from 0."""

    def __call__(self, peak: float, epoch: int, epochs: int) -> float:
        """The learning rate."""


@dataclass(frozen=True)
class HoldThenFall:
    """Constant over the first half, then falling exponentially to `end`."""

    end: float

    def __call__(self, peak: float, epoch: int, epochs: int) -> float:
        """The learning rate."""
        return peak * float((self.end / peak) ** max(0.0, 2 * epoch / epochs - 1))


@dataclass(frozen=True)
class Triangle:
    """Rising linearly to the peak at `top` of the run, and falling linearly to 0."""

    top: float = 0.4

    def __call__(self, peak: float, epoch: int, epochs: int) -> float:
        """The learning rate, taken in the middle of the epoch."""
        at = (epoch + 0.5) / epochs
        return peak * min(at / self.top, (1 - at) / (1 - self.top))
