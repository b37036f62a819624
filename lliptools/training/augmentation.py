"""Images moved and mirrored at random, on their own device."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from lliptools.errors import InvalidInput


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
