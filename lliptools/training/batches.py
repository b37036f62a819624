"""Batches without a DataLoader: the points lie on one device, and are shuffled, augmented and made floats there."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from lliptools.errors import InvalidInput, check_whole


def as_float(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Points as floats: uint8 pixels divided by 255, so in [0, 1], floats as they are.

    x: any shape, kept. dtype: by default float32 for pixels, else x's own. Raises InvalidInput for other whole numbers.
    """
    if x.dtype == torch.uint8:
        return x.to(dtype or torch.float32) / 255
    if not x.is_floating_point():
        why = "labels instead of the points", "pass x_train, x_validation or x_test of a split"
        raise InvalidInput("x as uint8 pixels or as floats", f"a tensor of {x.dtype}", *why)
    return x.to(dtype or x.dtype)


def batches(
    x: Tensor,
    y: Tensor,
    batch_size: int,
    *,
    shuffle: bool = True,
    augment: Callable[..., Tensor] | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every point once, as pairs (batch, *shape), (batch,): floats (see as_float) on the device of x.

    * The last batch is smaller where batch_size does not divide the number of points.
    * augment: called as augment(x, generator=generator) with the batch as it is stored, so on uint8 pixels of images.
    * generator: of order and augmentation, by default torch's own; one of the CPU draws the same on every device.

    Raises InvalidInput for a batch_size below 1, and for x and y of different lengths.
    """
    why = "the number of batches, or a fraction", "pass the number of points in a batch"
    check_whole("batch_size", batch_size, 1, *why)
    if y.shape != x.shape[:1] or x.dim() == 0:
        got, cause = f"x {tuple(x.shape)}, y {tuple(y.shape)}", "points and labels of different parts of a split"
        step = "pass x_train with y_train, x_validation with y_validation, x_test with y_test"
        raise InvalidInput("x of shape (samples, ...) and y of shape (samples,)", got, cause, step)

    def each() -> Iterator[tuple[Tensor, Tensor]]:
        order, source = None, generator.device if generator else None
        if shuffle:
            order = torch.randperm(len(x), generator=generator, device=source).to(x.device)
        for start in range(0, len(x), batch_size):
            batch = slice(start, start + batch_size) if order is None else order[start : start + batch_size]
            yield as_float(x[batch] if augment is None else augment(x[batch], generator=generator), dtype), y[batch]

    return each()


def crop_and_flip(
    x: Tensor, *, padding: int = 4, flip: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    """Each image surrounded by zeros, cut out again at a random place and, half of the time, mirrored left to right.

    x: (batch, channels, height, width) of any dtype, floats or uint8 pixels; shape, dtype and device are kept.
    padding: rows and columns of zeros on each side, in pixels; every one of the (2·padding + 1)² places is as likely.
    generator: where the places are drawn from; by default torch's own for the device of x. A CPU generator gives the
    same places on every device. Raises InvalidInput for another shape or a padding below 0.
    """
    if x.dim() != 4 or isinstance(padding, bool) or not isinstance(padding, int) or padding < 0:
        got = f"x {tuple(x.shape)}, padding {padding!r}"
        why = "a single image, or flattened ones", "pass a batch of images, x[None] for one"
        raise InvalidInput("x of shape (batch, channels, height, width) and padding as a whole number >= 0", got, *why)
    batch, channels, height, width = x.shape
    source = x.device if generator is None else generator.device
    top, left = torch.randint(2 * padding + 1, (2, batch, 1), generator=generator, device=source).to(x.device)
    rows = top + torch.arange(height, device=x.device)
    columns = left + torch.arange(width, device=x.device)
    if flip:
        mirrored = (torch.rand((batch, 1), generator=generator, device=source) < 0.5).to(x.device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    # One gather from the flattened planes does both: several times as fast as cutting windows and then choosing.
    pixels = (rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]).reshape(batch, 1, -1)
    planes = pad(x, (padding,) * 4).flatten(2)
    return planes.gather(2, pixels.expand(-1, channels, -1)).reshape(x.shape)
