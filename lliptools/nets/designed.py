"""Layers whose weights are made from their parameters so that a Lipschitz bound holds by construction."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Shape


class Guarantee(float):
    """A Lipschitz constant that a layer guarantees in exact arithmetic, and for which inputs, in words."""

    holds: str

    def __new__(cls, value: float, holds: str) -> "Guarantee":
        """The value, and for which inputs it holds."""
        found = super().__new__(cls, value)
        found.holds = holds
        return found

    def __reduce__(self) -> tuple[type["Guarantee"], tuple[float, str]]:
        return Guarantee, (float(self), self.holds)

    def __str__(self) -> str:
        return f"{float(self):.6g} {self.holds}"


@dataclass(frozen=True, eq=False)
class Chain:
    """A layer spelled out: affine maps and activations one after the other, added to the layer's input if skip is True.

    rounding: what float64 may have added, relatively, to the constant that the layer guarantees.
    """

    steps: tuple[LinearMap | nn.Module, ...]
    skip: bool = False
    rounding: float = 0.0


class Designed(nn.Module, ABC):
    """A layer that says what it computes as a chain of plain steps, and what Lipschitz constant it guarantees.

    The bounds, lliptools.layers.export and forward itself all read the chain, so that they cannot disagree. A class
    states its guarantee itself: one that inherits lipschitz_bound is refused, as it may compute otherwise.
    """

    axes: int = 1  # of a sample: 1 for features, 3 for channels and an image's size

    @abstractmethod
    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        """What the layer does to samples of a shape, with the weights as they are now, in a precision.

        Weights are derived in float64, with gradients to the parameters. Raises InvalidInput for another shape.
        """

    @abstractmethod
    def lipschitz_bound(self) -> Guarantee:
        """The constant that holds whatever the parameters are, for every input. Raises UnsupportedLayer where none."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) -> (batch, *shape); as torch's own layers, also for other or no axes of a batch."""
        shape = tuple(x.shape[-self.axes :])
        h = x.reshape(-1, *shape)
        chain = self.chain(shape, x.dtype)
        y = h
        for step in chain.steps:
            y = (step.to(x.device) if isinstance(step, LinearMap) else step)(y)
        y = h + y if chain.skip else y
        return y.reshape(*x.shape[: -self.axes], *y.shape[1:])


def states_its_guarantee(layer: Designed) -> bool:
    """Whether the layer's own class states what it guarantees, and forward and chain are of one class, not replaced."""
    kind = type(layer)
    if any(callable(getattr(kind, name, None)) for name in vars(layer) if name != "forward"):
        return False
    owner = {name: next(c for c in kind.__mro__ if name in vars(c)) for name in ("forward", "chain")}
    return "lipschitz_bound" in vars(kind) and owner["forward"] in {Designed, owner["chain"]}
