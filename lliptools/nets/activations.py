"""What an activation is for the bounds: its values, the image of a box, its slopes over a box."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from lliptools.errors import InvalidInput

Shape = tuple[int, ...]
Limits = tuple[Tensor, Tensor]  # ends of the intervals in which the units at the centre lie, the same tensor if exact


class Activation(nn.Module, ABC):
    """An activation that the bounds can read: a module with three methods.

    An own elementwise activation derives from this class (or from Monotone, which knows the image) and defines forward,
    image and slopes in that one class; networks that contain it are then bounded like all others. Boxes may reach to
    ±inf; what image and slopes return is in the precision of the box, or whole numbers. What a few points of the box
    show to be false is refused (checked.Checked); for the rest the author answers.
    """

    @property
    def elementwise(self) -> bool:
        """Whether every output depends on one input. A property, so that no object can say otherwise than its class."""
        return True

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Value at the pre-activations z, shape (batch, *units)."""

    @abstractmethod
    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """A box that contains the outputs over [lower, upper]; each (batch, *units), possibly infinite."""

    @abstractmethod
    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest slope between any two points of [lower, upper], each (batch, *units).

        (0, 0) says that the output is provably constant there, (1, 1) that the unit passes its input on.
        """

    def secants(self, z: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest secant from z into [lower, upper], (batch, *units); by default slopes: these and more."""
        return self.slopes(lower, upper)

    def ranges(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> tuple[Tensor, Tensor]:
        """The slopes between any two points of [lower, upper], or the secants from a point in `center` to them.

        center: the ends of an interval in which the point lies, (batch, *units) each. A secant to a fixed point is
        steepest where its other end is an end of the interval, or where it equals a slope inside.
        """
        if center is None:
            return self.slopes(lower, upper)
        low, high = center
        found = [self.secants(low, lower, upper)]
        if high is not low:
            found += [self.secants(high, lower, upper), self.slopes(low, high)]
        return (
            torch.stack([least.to(lower) for least, _ in found]).amin(dim=0),
            torch.stack([greatest.to(lower) for _, greatest in found]).amax(dim=0),
        )

    def slope(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> Tensor:
        """Largest |slope|, or |secant| from the centre, (batch, *units): what scales the next columns."""
        least, greatest = self.ranges(lower, upper, center)
        return torch.maximum(least.abs(), greatest.abs()).to(lower.dtype)

    def row_slope(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> Tensor:
        """What scales the rows before the activation: the same, since every input feeds one output."""
        return self.slope(lower, upper, center)

    def pieces(self, shape: torch.Size) -> tuple[Tensor, Tensor] | None:
        """Where an elementwise, piecewise linear activation bends, for units of this shape; None for all others.

        Breakpoints (k, *shape), ascending, and slopes (k + 1, *shape) before, between and after them.
        """
        return None

    def piece(self, z: Tensor) -> Tensor:
        """The number of the linear piece that every unit is on at z, same shape; 0 for a smooth activation."""
        pieces = self.pieces(z.shape[1:])
        bends = z.new_empty(0, *z.shape[1:]) if pieces is None else pieces[0].to(z)
        return (z > bends[:, None]).sum(dim=0, dtype=torch.uint8)

    def thresholds(self, z: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Where units are clipped from below and above, ±inf if not: numbers, or tensors that broadcast over them."""
        return -torch.inf, torch.inf

    def clipped_from(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The box of what is clipped at the thresholds, (batch, *units) each: the inputs themselves."""
        return lower, upper

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of a sample behind the activation."""
        return shape

    def relax(self, form: Any, lower: Tensor, upper: Tensor) -> Any:
        """The form after the activation, whose inputs lie in [lower, upper], (batch, *units) each.

        form: what is known of units over a ball, with bent, compared, picked and box as domains.Zonotope has.
        """
        return form.bent(self, lower, upper)

    def values(self, center: Limits) -> Limits:
        """Ends of the values of what lies between two ends; one tensor where that is one value."""
        low, high = center
        return ((value := self(low)), value) if low is high else self.image(low, high)

    def check_shape(self, name: str, shape: Shape) -> None:
        """Raise InvalidInput, naming the layer, unless the activation applies to samples of this shape."""
        for which, tensor in (*self.named_parameters(), *self.named_buffers()):
            try:
                tensor.expand(shape)
            except RuntimeError as error:
                why = "a layer of another width", "one number, one per unit, or (channels, 1, 1)"
                expected = f"{which} of {name} that broadcasts over {shape}"
                raise InvalidInput(expected, f"{tuple(tensor.shape)}", *why) from error


class Monotone(Activation):
    """A nondecreasing activation: the image of a box lies between the values at its ends."""

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        return self(lower), self(upper)


class _Function(nn.Module):
    """A function of z, with tensors that are buffers."""

    def __init__(self, function: Callable[..., Tensor], tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.function = function
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.clone())

    def forward(self, z: Tensor) -> Tensor:
        return self.function(z, **dict(self.named_buffers()))


def traced(function: Callable[..., Tensor], **tensors: Tensor) -> nn.Module:
    """A layer that computes function(z, **tensors) with torch's own operations, with copies of the tensors."""
    return fx.symbolic_trace(_Function(function, tensors))


def ulp(like: Tensor) -> float:
    """More than the relative error of an elementary function, or of a product of two: twice 4 was never exceeded."""
    return 16 * torch.finfo(like.dtype).eps


def tiny(like: Tensor) -> float:
    """More than underflow takes from a number."""
    return torch.finfo(like.dtype).tiny


def stepped(values: Tensor, far: float) -> Tensor:
    """The next number towards far, ± infinity; gradients pass, as by torch.nextafter from torch 2.13 on."""
    moved = values.clone()
    moved.detach().nextafter_(values.new_full((), far))
    return moved


def outward(low: Tensor, high: Tensor, relative: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Computed ends of an image, moved outward by the error of a function, or by so many times that."""
    error = ulp(low) * relative
    return low - error * low.abs() - tiny(low), high + error * high.abs() + tiny(low)
