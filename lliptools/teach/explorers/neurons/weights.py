"""The weights of a linear map as they are drawn: what is left without the rows and columns of constant units."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from lliptools.nets import LinearMap
from lliptools.nets.operators import Convolution, Dense

CELLS = 128  # to a side of a picture, at most
LARGEST = 2**22  # entries of a matrix that is written out to be drawn
Counts = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Masked:
    """A picture of what is left, packed into the corner of what was there.

    cells: (tall, wide) in [0, 1], the mean |w| of a cell over that of the brightest; NaN where nothing is left.
    step: rows and columns that a cell stands for. full, kept: rows and columns of the matrix, before and after.
    channels: the same of the channels of a convolution, out and in; a channel is kept while any of its units is.
    """

    cells: Tensor
    step: Counts
    full: Counts
    kept: Counts
    channels: tuple[Counts, Counts] | None = None


class Weights:
    """|w| of a linear map as it is drawn: the kernels of a convolution, the matrix of all else that is not too large.

    sizes: (rows, columns, height, width), 1×1 for a matrix, one per pair of channels else; None where neither would say
    much, and words say why. kernel: size of a convolution's, () of a matrix. brightest: |w| that is drawn brightest.
    canvas: cells of the whole picture.
    """

    def __init__(self, linear: LinearMap) -> None:
        self.linear, self.sizes, self.kernel = linear, _sizes(linear), tuple[int, ...]()
        self.words, self.brightest, self.canvas = "", 1.0, (1, 1)
        operators = linear.operators
        if len(operators) == 1 and isinstance(one := operators[0], Convolution):
            self.kernel = tuple(one.weight.shape[2:])
        if self.sizes is not None:
            cells = _arranged(self.sizes, self.sizes.shape)
            # A few large weights would leave the rest dark.
            self.brightest = max(cells[~cells.isnan()].quantile(0.99).item(), 1e-30)
            self.canvas = cells.shape[0], cells.shape[1]
        elif operators:
            self.words = f"{len(operators)} linear layers in a row,<br>too large for one picture"
        else:
            self.words = "the identity:<br>nothing to draw"

    def masked(self, row_slope: Tensor, column_slope: Tensor) -> Masked:
        """The picture with rows and columns scaled by the root of their slopes, 0 for masked: (1, *units) each."""
        full, kept = (self.linear.rows, self.linear.columns), (_count(row_slope), _count(column_slope))
        if self.sizes is None:
            return Masked(torch.full(self.canvas, math.nan), full, full, kept)
        rows, columns = (
            _by_channel(slope, count) for slope, count in zip((row_slope, column_slope), self.sizes.shape, strict=False)
        )
        left = self.sizes[rows > 0][:, columns > 0]
        for axis, slope in enumerate((rows[rows > 0], columns[columns > 0])):
            if (slope != 1).any():
                left = left * slope.sqrt().float().reshape(-1, *[1] * (3 - axis))
        cells = torch.full(self.canvas, math.nan)
        if left.numel():
            packed = (_arranged(left, self.sizes.shape) / self.brightest).clamp_max(1.0)
            cells[: packed.shape[0], : packed.shape[1]] = packed
        step = (1, 1) if self.kernel else _step(self.sizes.shape)
        channels = ((self.sizes.shape[0], self.sizes.shape[1]), (left.shape[0], left.shape[1]))
        return Masked(cells, step, full, kept, channels if self.kernel else None)


def _sizes(linear: LinearMap) -> Tensor | None:
    one = linear.operators[0] if len(linear.operators) == 1 else None
    if isinstance(one, Convolution):
        sizes = one.weight.detach().abs().reshape(*one.weight.shape[:2], -1, one.weight.shape[-1])
        tall, wide = _grid(sizes.shape)
        if max(tall * (sizes.shape[2] + 1), wide * (sizes.shape[3] + 1)) > 2 * CELLS:
            sizes = sizes.flatten(2).norm(dim=2)[:, :, None, None]
    elif isinstance(one, Dense) or (linear.operators and linear.rows * linear.columns <= LARGEST):
        sizes = linear.weight.detach().abs()[:, :, None, None]
    else:
        return None
    return sizes.float().cpu()


def _count(slope: Tensor) -> int:
    return int((slope > 0).sum())


def _by_channel(slope: Tensor, count: int) -> Tensor:
    """The largest slope in every channel; 1 where the units are not split into so many, as in groups: (count,)."""
    channels = slope.shape[1] if slope.dim() > 2 else slope.numel()
    if slope.numel() == count:
        return slope.flatten().cpu()
    return slope.reshape(count, -1).amax(dim=1).cpu() if channels == count else torch.ones(count).to(slope).cpu()


def _arranged(sizes: Tensor, full: torch.Size) -> Tensor:
    """Kernels side by side with gaps, in the grid of the full picture; those of one entry averaged over cells."""
    count_out, count_in, tall, wide = sizes.shape
    if tall == wide == 1:
        flat = sizes.reshape(1, 1, count_out, count_in)
        return avg_pool2d(flat, _step(full), ceil_mode=True, count_include_pad=False)[0, 0]
    columns = _grid(full)[1]
    if columns != full[1]:  # one after the other, line by line
        count = count_out * count_in
        missing = -count % columns
        lines = pad(sizes.reshape(count, tall, wide), (0, 0, 0, 0, 0, missing), value=math.nan)
        sizes = lines.reshape(-1, columns, tall, wide)
    framed = pad(sizes, (0, 1, 0, 1), value=math.nan)
    return framed.transpose(1, 2).reshape(len(sizes) * (tall + 1), -1)


def _grid(full: torch.Size) -> Counts:
    """Rows and columns of a picture's kernels: channels out by channels in, unless that would be a narrow strip."""
    count_out, count_in = full[:2]
    if count_out <= 4 * count_in:
        return count_out, count_in
    across = math.ceil(math.sqrt(count_out * count_in))
    return math.ceil(count_out * count_in / across), across


def _step(full: torch.Size) -> Counts:
    return math.ceil(full[0] / CELLS), math.ceil(full[1] / CELLS)
