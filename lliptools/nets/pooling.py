"""Max pooling: the largest of every window, between two activations that are taken unit by unit."""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, max_pool2d, pad

from lliptools.errors import InvalidInput
from lliptools.nets.activations import Activation, Limits, Shape, tiny, ulp


class MaxPool(Activation):
    """after(max over every window of before(z)); before and after elementwise, None for the identity.

    kernel, stride, padding, dilation: one number per axis, as of torch's MaxPool1d and MaxPool2d.
    Between two points the largest of a window changes by a mean of the changes of those of its units that can be the
    largest. So the outputs change by at most ‖R^½ Δz‖, where R counts for every unit the windows that it can win, times
    the slopes of before and after: 1 and 0 where windows do not overlap.
    """

    def __init__(
        self,
        kernel: Shape,
        stride: Shape,
        padding: Shape,
        dilation: Shape,
        before: Activation | None = None,
        after: Activation | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.before, self.after = before, after

    @property
    def elementwise(self) -> bool:
        return False

    def out_shape(self, shape: Shape) -> Shape:
        sizes = zip(shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return shape[0], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)

    def check_shape(self, name: str, shape: Shape) -> None:
        """Images or signals with at least one window, and none of padding alone, the largest of which is −∞."""
        if len(shape) != len(self.kernel) + 1 or min(self.out_shape(shape)) < 1:
            sizes = ", ".join(f"{d * (k - 1) + 1} or more" for k, d in zip(self.kernel, self.dilation, strict=True))
            why = "flat samples, or images smaller than its window", "torch.nn.Unflatten(1, …) before it"
            raise InvalidInput(f"samples of shape (channels, {sizes}) before {name}", f"shape {shape}", *why)
        if max(self.dilation) > 1 and any(self.padding) and not (self._windows(shape) >= 0).all():
            why = "a dilated window that steps over a small image", "pad less, or pass larger images"
            raise InvalidInput(f"windows of {name} that hold an input", f"one of padding, on shape {shape}", *why)
        for activation, at in ((self.before, shape), (self.after, self.out_shape(shape))):
            if activation is not None:
                activation.check_shape(name, at)

    def _pooled(self, z: Tensor) -> Tensor:
        pool = max_pool1d if len(self.kernel) == 1 else max_pool2d
        return pool(z, self.kernel, self.stride, self.padding, self.dilation)

    def forward(self, z: Tensor) -> Tensor:
        pooled = self._pooled(z if self.before is None else self.before(z))
        return pooled if self.after is None else self.after(pooled)

    def image(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The largest lower ends and the largest upper ends of the windows: both are met."""
        return _image(self.after, *self.clipped_from(lower, upper))

    def clipped_from(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The box of what after is taken of."""
        low, high = _image(self.before, lower, upper)
        return self._pooled(low), self._pooled(high)

    def piece(self, z: Tensor) -> Tensor:
        """Numbers that change with the unit that wins a window, and with its piece of before: (batch, *out_shape)."""
        own = z if self.before is None else self.before(z)
        pooled, padded = self._pooled(own), self._padded(own, -torch.inf)
        winner = torch.stack([padded[place] for place in self._places(pooled)]).argmax(dim=0, keepdim=True)
        if self.before is None:
            return winner[0].byte()
        pieces = self._padded(self.before.piece(z), 0)
        of_winner = torch.stack([pieces[place] for place in self._places(pooled)]).gather(0, winner)
        return (winner + prod(self.kernel) * of_winner)[0].byte()

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """0 and 0 for an output that is constant; nothing but the largest size of a slope is said of the others."""
        slope = self.slope(lower, upper)
        return -slope, slope

    def slope(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> Tensor:
        """The largest slope among the units that can win, times that of after: (batch, *out_shape)."""
        own, behind, wins = self._known(lower, upper, center)
        if own is None:
            return behind
        own, places = self._padded(own, 0.0), self._places(behind)
        among = [torch.where(win, own[place], 0.0) for place, win in zip(places, wins, strict=True)]
        return _times(torch.stack(among).amax(dim=0), behind)

    def row_slope(self, lower: Tensor, upper: Tensor, center: Limits | None = None) -> Tensor:
        """How many windows a unit can win, times its own slope and theirs: (batch, channels, *size)."""
        own, behind, wins = self._known(lower, upper, center)
        total = torch.zeros_like(self._padded(lower, 0.0))
        for place, win in zip(self._places(behind), wins, strict=True):
            total[place] = total[place] + torch.where(win, behind, 0.0)
        for axis, (size, width) in enumerate(zip(lower.shape[2:], self.padding, strict=True), start=2):
            total = total.narrow(axis, width, size)
        if self.after is not None:
            total = total * (1 + ulp(total) * prod(self.kernel))
        return total if own is None else _times(own, total)

    def _known(self, lower: Tensor, upper: Tensor, center: Limits | None) -> tuple[Tensor | None, Tensor, list[Tensor]]:
        """Slopes of before, slopes of after, and for every place in a window whether the unit there can win it."""
        own = None if self.before is None else self.before.slope(lower, upper, center)
        low, high = _image(self.before, lower, upper)
        beaten, top = self._pooled(low), self._pooled(high)
        behind = torch.ones_like(beaten) if self.after is None else self.after.slope(beaten, top, self._center(center))
        high = self._padded(high, -torch.inf)
        return own, behind, [~(high[place] < beaten) for place in self._places(behind)]

    def _center(self, center: Limits | None) -> Limits | None:
        """The largest of every window at the centre."""
        if center is None:
            return None
        low, high = center if self.before is None else self.before.values(center)
        return (pooled := self._pooled(low)), pooled if high is low else self._pooled(high)

    def _padded(self, z: Tensor, value: float) -> Tensor:
        return pad(z, [width for width in reversed(self.padding) for _ in range(2)], value=value)

    def _places(self, pooled: Tensor) -> Iterator[Any]:
        """For every place in a window the units there, of padded samples; pooled: (batch, *out_shape)."""
        for place in product(*map(range, self.kernel)):
            starts = [d * k for d, k in zip(self.dilation, place, strict=True)]
            axes = zip(starts, self.stride, pooled.shape[2:], strict=True)
            yield (..., *(slice(start, start + s * (n - 1) + 1, s) for start, s, n in axes))

    def _windows(self, shape: Shape) -> Tensor:
        """Which units are in every window, (windows, places), as numbers; for padding another one of the window."""
        numbers = torch.arange(1.0, 1 + torch.Size(shape).numel(), dtype=torch.float64, device="cpu").reshape(1, *shape)
        padded, like = self._padded(numbers, 0.0), self._pooled(numbers)
        found = torch.stack([padded[place].flatten() for place in self._places(like)], dim=1).long()
        return torch.where(found > 0, found, found.amax(dim=1, keepdim=True)) - 1

    def _rounds(self, shape: Shape, device: torch.device) -> Iterator[Tensor]:
        """Which units are compared, round by round: the first half of the numbers with the second; the larger stay."""
        units = self._windows(shape).to(device)
        while (count := units.shape[1]) > 1:
            half = (count + 1) // 2
            yield torch.cat([units[:, :half].T.flatten(), units[:, count - half :].T.flatten()])
            units = torch.arange(units.shape[0] * half, device=device).reshape(half, -1).T
        yield units.flatten()

    def relax(self, form: Any, lower: Tensor, upper: Tensor) -> Any:
        """The form behind before, behind comparisons of two halves of what is left of every window, behind after."""
        if self.before is not None:
            form = self.before.relax(form, lower, upper)
        low, high = (side.flatten(1) for side in _image(self.before, lower, upper))
        *rounds, last = self._rounds(lower.shape[1:], lower.device)
        for index in rounds:
            ends, kept = (low[:, index], high[:, index]), torch.arange(len(index) // 2, device=index.device)
            form = form.picked(index, (len(index),)).compared(*ends).picked(kept, (len(kept),))
            low, high = (torch.maximum(*side.chunk(2, dim=1)) for side in ends)
        form = form.picked(last, self.out_shape(lower.shape[1:]))
        return form if self.after is None else self.after.relax(form, *self.clipped_from(lower, upper))


def joined(first: Activation | None, second: Activation) -> MaxPool | None:
    """One pooling layer that is two activations one after the other, where there is one."""
    if isinstance(second, MaxPool) and first is not None and first.elementwise:
        return MaxPool(second.kernel, second.stride, second.padding, second.dilation, before=first)
    if isinstance(first, MaxPool) and first.after is None and second.elementwise:
        return MaxPool(first.kernel, first.stride, first.padding, first.dilation, first.before, second)
    return None


def _times(one: Tensor, other: Tensor) -> Tensor:
    """A product of slopes, rounded up where it is rounded at all."""
    found = one * other
    exact = (one == 0) | (one == 1) | (other == 0) | (other == 1)
    return torch.where(exact, found, found * (1 + ulp(found)) + tiny(found))


def _image(activation: Activation | None, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    return (lower, upper) if activation is None else activation.image(lower, upper)
