"""A network with two inputs over a square of the plane."""

from collections import defaultdict

import torch
from torch import Tensor, nn

from lliptools.nets import Block, read_blocks


class Plane:
    """A network with two inputs over the square of the input plane that holds the points, (samples, 2), on the CPU.

    x0, x1: (pixels,) coordinates. classes: (pixels, pixels) class that wins, rows along x1. border: (points, 2) the
    lines where it changes, NaN between two.
    labels: a place inside each class that has one.
    kinks: one (units, pixels, pixels) bool tensor a hidden layer: where a unit passes from one linear piece to another.
    """

    def __init__(self, net: nn.Sequential, points: Tensor, pixels: int = 200) -> None:
        low, high = points.amin(dim=0), points.amax(dim=0)
        middle, half = (low + high) / 2, 0.55 * ((high - low).max() if (high > low).any() else torch.ones(()))
        x0, x1 = (torch.linspace(m - half, m + half, pixels, dtype=torch.float64) for m in middle.tolist())
        h = torch.stack([x0.repeat(pixels), x1.repeat_interleave(pixels)], dim=1).to(points.device)
        pieces: list[Tensor] = []
        with torch.no_grad():
            outputs = _follow(read_blocks(net, torch.Size([2])), h, pieces)
        self.x0, self.x1 = x0, x1
        self.classes = outputs.argmax(dim=1).reshape(pixels, pixels).cpu()
        self.border = _border(_leads(outputs.cpu()).T.reshape(-1, pixels, pixels), x0, x1)
        self.labels = {int(c): _deepest(self.classes == c, x0, x1) for c in self.classes.unique()}
        self.kinks = tuple(_edges(piece.T.reshape(-1, pixels, pixels)).cpu() for piece in pieces)


def _follow(blocks: tuple[Block, ...], h: Tensor, pieces: list[Tensor]) -> Tensor:
    """The outputs, and in pieces the linear piece that every unit of every activation is on: (points, units) each."""
    for block in blocks:
        if block.inner:
            inside = _follow(block.inner, h, pieces)
            h = _follow(block.shortcut, h, pieces) if block.shortcut else h
            h = h + inside.reshape(h.shape) if block.skip else inside
        else:
            z = h = block.linear.apply(h)
            if block.activation is not None:
                pieces.append(block.activation.piece(z).flatten(1))
                h = block.activation(z)
    return h


def _leads(outputs: Tensor) -> Tensor:
    """Every output less the largest of the others; of two classes one is enough: (points, classes)."""
    best = outputs.topk(min(2, outputs.shape[1]), dim=1)
    others = torch.where(outputs == best.values[:, :1], best.values[:, -1:], best.values[:, :1])
    leads = outputs - others
    return leads[:, :1] if leads.shape[1] == 2 else leads


def _border(leads: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
    """The lines on which leads (classes, pixels, pixels) are 0: (points, 2), NaN after the end of each.

    A cell of which two sides cross such a line has a segment of it.
    """
    steps = x0[1] - x0[0], x1[1] - x1[0]
    a, b, c, d = leads[:, :-1, :-1], leads[:, :-1, 1:], leads[:, 1:, 1:], leads[:, 1:, :-1]
    left, low = x0[:-1].expand_as(a), x1[:-1, None].expand_as(a)
    sides = [(one > 0) != (other > 0) for one, other in ((a, b), (b, c), (d, c), (a, d))]
    along = [
        one / torch.where(side, one - other, 1.0)
        for side, one, other in zip(sides, (a, b, d, a), (b, c, c, d), strict=True)
    ]
    across = torch.stack([left + along[0] * steps[0], left + steps[0], left + along[2] * steps[0], left], dim=-1)
    up = torch.stack([low, low + along[1] * steps[1], low + steps[1], low + along[3] * steps[1]], dim=-1)
    crossed = torch.stack(sides, dim=-1)
    whole = crossed.sum(dim=-1, keepdim=True) == 2
    ends = torch.stack([across, up], dim=-1)[crossed & whole].reshape(-1, 2, 2)
    lines = _joined(ends, torch.stack(steps))
    return torch.cat([part for line in lines for part in (line, torch.full((1, 2), torch.nan))] or [ends.reshape(0, 2)])


def _joined(segments: Tensor, steps: Tensor) -> list[Tensor]:
    """Lines (points, 2) of the segments (segments, 2, 2) that meet; ends meet that are 1e-6 steps apart."""
    names = [[(x, y) for x, y in ends] for ends in (segments / steps * 1e6).round().tolist()]
    meeting = defaultdict[tuple[float, float], set[int]](set)
    for number, ends in enumerate(names):
        for end in ends:
            meeting[end].add(number)
    lines: list[Tensor] = []
    # An open line is begun at one of its ends, and what is left is closed.
    for start in sorted(meeting, key=lambda end: len(meeting[end]) != 1):
        line, here = list[Tensor](), start
        while meeting[here]:
            number = meeting[here].pop()
            side = names[number].index(here)
            line += [segments[number, side]] if not line else []
            line, here = [*line, segments[number, 1 - side]], names[number][1 - side]
            meeting[here].discard(number)
        lines += [torch.stack(line)] if line else []
    return lines


def _deepest(region: Tensor, x0: Tensor, x1: Tensor) -> tuple[float, float]:
    """The point of a region that is furthest from its border and from the edge of the plane."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(torch.nn.functional.pad(region, (1, 1, 1, 1)).cpu().numpy())[1:-1, 1:-1]
    row, column = divmod(int(depth.argmax()), len(x0))
    return x0[column].item(), x1[row].item()


def _edges(piece: Tensor) -> Tensor:
    edges = torch.zeros_like(piece, dtype=torch.bool)
    edges[:, 1:] |= piece[:, 1:] != piece[:, :-1]
    edges[:, :, 1:] |= piece[:, :, 1:] != piece[:, :, :-1]
    return edges
