"""An abstract domain: what is known of the units at one place of the network, and how it moves on."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol, Self

from torch import Tensor

from lliptools.domains.block import BlockBound, Box
from lliptools.domains.center import Center
from lliptools.nets.linear import LinearMap


class Start(Protocol):
    """Where a pass starts: start(center, eps) is what is known of the inputs, (batch, features) and (batch,)."""

    def start(self, center: Tensor, eps: Tensor) -> Domain:
        """What is known of the inputs in the ball."""


class _Combines(ABCMeta):
    """Classes of domains combine as their objects do: (Interval & Ball).start(center, eps)."""

    def __and__(cls, other: Any) -> Intersection:
        return _both(cls, other)


class Domain(metaclass=_Combines):
    """What is known of the units at one place of the network, for a batch of balls around their centres.

    To write one: derive from it, say by the decorator lliptools.bounds.errs("upper") that its boxes contain every value
    that the units take on the ball, and give it the abstract methods below. Combine it by `&` with others.
    """

    @classmethod
    @abstractmethod
    def start(cls, center: Tensor, eps: Tensor) -> Domain:
        """What is known of the inputs in the ball: center (batch, features), eps (batch,)."""
        return cls()  # which says what is missing

    @abstractmethod
    def linear(self, linear: LinearMap) -> Self:
        """What is known of the units after a linear map."""

    @abstractmethod
    def box(self, center: Center) -> Box:
        """The box of the units; center: their values at the centre."""

    @abstractmethod
    def after(self, block: BlockBound, radius: Tensor) -> Self:
        """What is known after the activation of a block; radius: (batch,) of the ball of its outputs."""

    @abstractmethod
    def add(self, earlier: Self) -> Self:
        """What is known of a sum: of g(h) and, earlier, of h, or of the second branch and, earlier, of the first."""

    def beside(self, other: Self) -> Self:
        """The same, where a branch of a sum starts; other: what was known here, or where the other branch ended."""
        return self

    def within(self, radius: Tensor) -> Self:
        """What is known once the units are known to stay in the ball of a radius (batch,) around the centre."""
        return self

    def __and__(self, other: Any) -> Intersection:
        return _both(self, other)


@dataclass(frozen=True, eq=False)
class Intersection(Domain):
    """Several domains of the same units: all of them hold. Before a pass starts, the parts may be classes."""

    parts: tuple[Any, ...]

    def start(self, center: Tensor, eps: Tensor) -> Intersection:  # type: ignore[override]
        return Intersection(tuple(part.start(center, eps) for part in self.parts))

    def linear(self, linear: LinearMap) -> Intersection:
        return Intersection(tuple(part.linear(linear) for part in self.parts))

    def box(self, center: Center) -> Box:
        return reduce(Box.intersect, (part.box(center) for part in self.parts))

    def after(self, block: BlockBound, radius: Tensor) -> Intersection:
        return Intersection(tuple(part.after(block, radius) for part in self.parts))

    def add(self, earlier: Intersection) -> Intersection:
        return Intersection(tuple(one.add(other) for one, other in zip(self.parts, earlier.parts, strict=True)))

    def beside(self, other: Intersection) -> Intersection:
        return Intersection(tuple(one.beside(each) for one, each in zip(self.parts, other.parts, strict=True)))

    def within(self, radius: Tensor) -> Intersection:
        return Intersection(tuple(part.within(radius) for part in self.parts))

    def part(self, kind: type) -> Any:
        """The part that is of a class, or None."""
        return next((part for part in self.parts if isinstance(part, kind)), None)


def _both(one: Any, other: Any) -> Intersection:
    return Intersection(tuple(part for each in (one, other) for part in getattr(each, "parts", (each,))))
