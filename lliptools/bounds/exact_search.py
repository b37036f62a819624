"""A network and balls, read for an exact search of the regions on which the network is affine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor, nn

from lliptools.bounds.local import local_bound
from lliptools.bounds.pieces import Array, Layer, TooManyRegions, read_layers
from lliptools.bounds.reading import read
from lliptools.bounds.record import Bound
from lliptools.errors import InvalidInput
from lliptools.nets import Block, check_input
from lliptools.nets.checks import check_finite_eps

TINIEST, LARGEST = 1e-250, 1e250

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Search:
    """Points (batch, features), radii (batch,), the network's blocks, as plain layers too, and their local bound."""

    center: Tensor
    radius: Tensor
    blocks: tuple[Block, ...]
    layers: list[Layer]
    masks: Bound

    @classmethod
    def of(cls, net: nn.Module, x: Tensor, eps: float | Tensor) -> "Search":
        """The search of balls of radius eps, a number or (batch,), around x. Raises UnsupportedLayer, InvalidInput."""
        center = check_input(net, x)
        radius = check_finite_eps(eps, center)
        blocks = read(net, x)
        layers = read_layers(blocks)
        _check_products(center.cpu().numpy(), layers)
        return cls(center, radius, blocks, layers, local_bound(net, x, radius))

    def each(self, find: Callable[[list[Layer], Array, float, int], Found], limit: int, counted: str) -> list[Found]:
        """What find(layers, point, radius, limit) returns for every point of the batch.

        Raises InvalidInput where it meets more regions than the limit; counted: what is limited, for the message.
        """
        found = []
        for point, radius in zip(self.center.cpu().numpy(), self.radius.tolist(), strict=True):
            try:
                found.append(find(self.layers, point, radius, limit))
            except TooManyRegions:
                raise self._too_many(f"{limit} {counted}", len(found)) from None
        return found

    def _too_many(self, limit: str, sample: int) -> InvalidInput:
        unstable = 0
        for block, layer in zip(self.masks.blocks, self.layers, strict=True):
            lower, upper = (side[sample].flatten().cpu().numpy() for side in (block.box.lower, block.box.upper))
            unstable += int(((lower < layer.breakpoints) & (layer.breakpoints < upper)).any(axis=0).sum())
        ball = f"the ball of radius {self.radius[sample]:g} around point {sample}"
        got = f"more than that, with {unstable} unstable units in {ball}"
        cause = "a radius, or a network, that is large for an exact search"
        step = "take a smaller eps, raise the limit, or use local_bound"
        return InvalidInput(f"a ball that the search covers in {limit}", got, cause, step)


def _check_products(points: Array, layers: list[Layer]) -> None:
    """Raise InvalidInput unless products of numbers different from 0 stay far from underflow along every path.

    A product or sum that is smaller has cancelled: underflow takes nothing beside the error that it carries (Affine).
    """
    smallest, largest = _tiniest(points), max(1.0, float(np.abs(points).max()))
    peak = largest
    for layer in layers:
        smallest = min(smallest * _tiniest(layer.weight), _tiniest(layer.bias))
        smallest = min(smallest * _tiniest(layer.slopes), _tiniest(layer.intercepts))
        largest = largest * float(np.abs(layer.weight).max(initial=0.0)) * layer.weight.shape[1]
        largest = max(1.0, largest + float(np.abs(layer.bias).max()))
        peak = max(peak, largest)
        largest = largest * max(1.0, float(np.abs(layer.slopes).max())) + float(np.abs(layer.intercepts).max())
        peak = max(peak, largest)
    if not (smallest >= TINIEST and peak <= LARGEST):
        expected = f"a network and points whose products of weights stay between {TINIEST:g} and {LARGEST:g}"
        cause = "weights that training has driven towards 0, or that it has let explode"
        step = "set such weights to 0, or use local_bound"
        raise InvalidInput(expected, f"products from {smallest:.3g} to {peak:.3g}", cause, step)


def _tiniest(values: Array) -> float:
    """The least absolute value that is not 0, and at most 1."""
    return min(1.0, float(np.abs(values[values != 0]).min(initial=1.0)))
