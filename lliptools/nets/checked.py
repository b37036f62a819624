"""An activation of one's own, checked wherever its image and slopes are used."""

from typing import Any

import torch
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.nets.activations import Activation, outward, tiny, ulp

WIDEST = 1e3  # how far into an infinite box is looked
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a box, at which the rule is held against the function


class Checked(Activation):
    """The rule of an activation that derives from Activation; what a few points show to be false is refused.

    Image and slopes have the shape of the box, no NaN, and lower <= upper; they are true at five points of the box; the
    function takes units one by one. Ends that are not whole numbers are moved outward by the error of a function.
    """

    def __init__(self, layer: Activation) -> None:
        super().__init__()
        self.layer = layer
        self.stated = class_numbers(type(layer))  # a copy of the object would follow its class

    def forward(self, z: Tensor) -> Tensor:
        """The values of the layer, same shape as z. Raises InvalidInput for another shape or a lower precision."""
        with torch.inference_mode(False):
            given = z.clone()
        before = given._version
        found = self.layer(given)
        # x + block(x) would add what block has written over x; what is written through z.data moves no version.
        if given._version != before or not ((given == z) | (given.isnan() & z.isnan())).all():
            raise self._false("forward(z) that leaves z as it is", "values that were written over those of z")
        if not isinstance(found, Tensor) or found.shape != z.shape or not _as_precise(found, z):
            raise self._false(f"forward(z) of z's shape {tuple(z.shape)} and precision {z.dtype}", _said(found))
        return found.to(z.dtype)

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The image that the layer states, (batch, *units) each. Raises InvalidInput where a value lies outside."""
        lower, upper = _ascending(lower, upper)
        low, high = outward(*self._ends("image", self.layer.image(lower, upper), lower))
        with torch.no_grad():
            values = self._at(_places(lower, upper))
            slack = 16 * ulp(low) * values.abs() + tiny(low)
            inside = (low <= values + slack) & (values - slack <= high)
        if not (inside | values.isnan()).all():
            raise self._false("image(lower, upper) around the values over [lower, upper]", "a value outside of it")
        return low, high

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The slopes that the layer states, (batch, *units) each. Raises InvalidInput where a secant is steeper."""
        lower, upper = _ascending(lower, upper)
        least, greatest = self._ends("slopes", self.layer.slopes(lower, upper), lower)
        with torch.no_grad():
            z = _places(lower, upper)
            values = self._at(z)
            self._check_units(z, values)
            step, rise = z.diff(dim=0), values.diff(dim=0)
            size = values.abs() + torch.maximum(least.abs(), greatest.abs()) * z.abs()
            slack = 16 * ulp(least) * (size[1:] + size[:-1]) + tiny(least)
            between = (least * step - slack <= rise) & (rise <= greatest * step + slack)
            known = rise.isfinite() & slack.isfinite()
        if not (between | ~known).all():
            raise self._false("slopes(lower, upper) of any two points in [lower, upper]", "two points with another")
        whole = [slope == slope.round() for slope in (least, greatest)]
        return (
            torch.where(whole[0], least, least - ulp(least) * least.abs()),
            torch.where(whole[1], greatest, greatest + ulp(greatest) * greatest.abs()),
        )

    def pieces(self, shape: torch.Size) -> tuple[Tensor, Tensor] | None:
        found = self.layer.pieces(shape)
        if found is None:
            return None
        bends, slopes = (part.double() for part in found)
        count = len(bends)
        if bends.shape != (count, *shape) or slopes.shape != (count + 1, *shape) or not (bends.diff(dim=0) >= 0).all():
            raise self._false("pieces(shape) as ascending bends (k, *shape), slopes (k + 1, *shape)", _said(bends))
        with torch.no_grad():
            ends = torch.cat([bends[:1] - 1, bends, bends[-1:] + 1]) if count else bends.new_tensor([[-1.0], [1.0]])
            ends = ends.expand(-1, *shape) if count else ends.reshape(2, *[1] * len(shape)).expand(2, *shape)
            middle = (ends[1:] + ends[:-1]) / 2
            for one, other in ((ends[:-1], middle), (middle, ends[1:])):
                low, high = self(one), self(other)
                size = low.abs() + high.abs() + slopes.abs() * (one.abs() + other.abs())
                fits = (high - low - slopes * (other - one)).abs() <= 16 * ulp(low) * size
                if not (fits | ((one.isinf() | other.isinf()) & slopes.isfinite())).all():
                    raise self._false("pieces(shape) between which the function is linear", "another function")
        return bends, slopes

    def _at(self, points: Tensor) -> Tensor:
        """Values at (places, batch, *units)."""
        return self(points.flatten(0, 1)).reshape(points.shape)

    def _ends(self, name: str, found: object, like: Tensor) -> tuple[Tensor, Tensor]:
        """Two tensors of the shape and precision of the box."""
        expected = f"{name}(lower, upper) as two tensors of the box's shape {tuple(like.shape)} and {like.dtype}"
        if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(end, Tensor) for end in found):
            raise self._false(expected, _said(found))
        ends = []
        for end in found:
            fits = end.shape == like.shape and not end.is_complex()
            converted = end.to(like.dtype) if fits else like
            if not fits or not (_as_precise(end, like) or (converted == converted.round()).all()):
                raise self._false(expected, _said(end))
            ends.append(converted)
        if not (ends[0] <= ends[1]).all():
            got = "NaN" if ends[0].isnan().any() or ends[1].isnan().any() else "lower ends above upper ends"
            raise self._false(f"{name}(lower, upper) as lower and upper ends", got)
        return ends[0], ends[1]

    def _check_units(self, z: Tensor, values: Tensor) -> None:
        """Every other unit changed, the rest keep their values."""
        odd = torch.arange(z[0].numel(), device=z.device).reshape(z[0].shape) % 2 == 1
        mixed, wanted = self(torch.where(odd, z[0], z[-1])), torch.where(odd, values[0], values[-1])
        same = (mixed - wanted).abs() <= 16 * ulp(z) * wanted.abs() + tiny(z)
        if not (same | (mixed == wanted) | (mixed.isnan() & wanted.isnan())).all():
            raise self._false("a function of every unit by itself", "units that change the values of others")

    def _false(self, expected: str, got: str) -> InvalidInput:
        why = "a rule for another function, or for finite boxes only", "test image and slopes at ±inf and around bends"
        return InvalidInput(f"of {type(self.layer).__name__}: {expected}", got, *why)


def class_numbers(kind: type) -> dict[str, Any]:
    """The numbers that a class of activations states beside its methods, those it inherits included."""
    own = [vars(each) for each in reversed(kind.__mro__[: kind.__mro__.index(Activation)])]
    stated = {name: it for part in own for name, it in part.items() if isinstance(it, int | float | tuple | Tensor)}
    return {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in stated.items()}


def _as_precise(found: Tensor, like: Tensor) -> bool:
    return found.is_floating_point() and torch.promote_types(found.dtype, like.dtype) == found.dtype


def _said(found: object) -> str:
    return f"shape {tuple(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else f"{found!r:.60}"


def _ascending(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of a box, which rounding may have turned round."""
    return torch.minimum(lower, upper), torch.maximum(lower, upper)


def _places(lower: Tensor, upper: Tensor) -> Tensor:
    """Points of the boxes, (places, batch, *units)."""
    low = torch.where(lower == -torch.inf, upper.clamp_max(0.0) - WIDEST, lower)
    high = torch.where(upper == torch.inf, low.clamp_min(0.0) + WIDEST, upper)
    between = [torch.minimum(torch.maximum(low * (1 - place) + high * place, low), high) for place in PLACES]
    return torch.stack(between).detach()
