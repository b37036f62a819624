"""How the learning rate changes over the epochs."""

from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """(peak, epoch, epochs) -> the learning rate of that epoch, counted from 0."""

    def __call__(self, peak: float, epoch: int, epochs: int) -> float:
        """The learning rate."""


@dataclass(frozen=True)
class HoldThenFall:
    """Constant up to the fraction `hold` of the run, then falling exponentially to `end`."""

    end: float
    hold: float = 0.5

    def __call__(self, peak: float, epoch: int, epochs: int) -> float:
        return peak * float((self.end / peak) ** max(0.0, (epoch / epochs - self.hold) / (1 - self.hold)))


@dataclass(frozen=True)
class Triangle:
    """Rising linearly to the peak at `top` of the run, and falling linearly to 0."""

    top: float = 0.4

    def __call__(self, peak: float, epoch: int, epochs: int) -> float:
        """The learning rate, taken in the middle of the epoch."""
        at = (epoch + 0.5) / epochs
        return peak * min(at / self.top, (1 - at) / (1 - self.top))
