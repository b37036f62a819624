"""A network with two inputs over a square of the plane."""

import torch
from torch import Tensor, nn

from lliptools.nets import Block, read_blocks


class Plane:
    """A network with two inputs over the square of the input plane that holds the points, (samples, 2), on the CPU.

    x0, x1: (pixels,) coordinates. classes: (pixels, pixels) class that wins, rows along x1. border: where it changes.
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
        self.border = _edges(self.classes[None])[0]
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
