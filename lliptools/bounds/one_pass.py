"""The pass through the blocks: box, slopes, masked norm, and the radius of the next ball."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.bounds.sums import behind_sum, sum_of
from lliptools.domains import BlockBound, Box, Center, Domain, Unknown
from lliptools.errors import InvalidInput
from lliptools.nets import Activation, Block, LinearMap
from lliptools.nets.activations import Limits
from lliptools.nets.blocks import masks_sum
from lliptools.norms.kinds import Norm, steepest
from lliptools.norms.rounding import enclosed, times_above


@dataclass(frozen=True, eq=False)
class Place:
    """Where the pass is: the units at the centre, what is known of them, their slopes, and the product of norms.

    center: of the ball. known: a domain. columns: (batch, *units), slopes that scale the next matrix's columns.
    radius: (batch,) of the units' ball. value: (batch,), product of the norms so far.
    """

    center: Center
    known: Domain
    columns: Tensor
    radius: Tensor
    value: Tensor


@dataclass(frozen=True)
class Pass:
    """How a pass finds norms and multiplies them.

    norm: of a layer. inside: of the parts of a layer that guarantees a constant for the whole, which serves boxes only.
    graph: whether boxes keep their graph to the parameters. centred: whether slopes are secants from the centre.
    growth: of the norm of a block, how much the product grows by it.
    """

    norm: Norm
    inside: Norm
    graph: bool = False
    centred: bool = False
    times: Callable[[Tensor, Tensor], Tensor] = times_above
    growth: Callable[[Tensor], Tensor] = Tensor.clone

    def through(self, blocks: tuple[Block, ...], place: Place) -> tuple[list[BlockBound], Place]:
        """What is found of every block, in order, and where the pass ends."""
        found: list[BlockBound] = []
        columns = place.columns  # before the last block that was passed
        for block, before in zip(blocks, (None, *blocks), strict=False):
            one, center, known = sum_of(self, block, place) if block.inner else self._plain(block, place)
            if before is not None and masks_sum(block, before) and not isinstance(known, Unknown):
                one = replace(one, norm=torch.minimum(one.norm, behind_sum(self, one, found[-1], columns)))
            columns, one = place.columns, replace(one, growth=self.growth(one.norm))
            radius, value = self.times(place.radius, one.growth), self.times(place.value, one.growth)
            with torch.set_grad_enabled(self.graph):
                known = known.after(one, radius)
            place = Place(center, known, one.slope, radius, value)
            found.append(one)
        return found, place

    def _plain(self, block: Block, place: Place) -> tuple[BlockBound, Center, Domain]:
        """activation(linear(h))."""
        before, after = place.center.through(block)
        with torch.set_grad_enabled(self.graph):
            known = place.known.linear(block.linear)
            box = known.box(before)
            limits = before.limits() if self.centred else None
            columns, rows = slopes(block.activation, box, limits)
        norm = self.at_most(self.norm(block.linear, rows, place.columns), block.linear, rows, place.columns)
        one = BlockBound(block.linear, block.activation, box, columns, rows, norm, norm, place.radius, center=limits)
        return one, after, known

    def at_most(self, norm: Tensor, step: LinearMap | Block, *slopes: Tensor) -> Tensor:
        """The norm, or less where the layer guarantees less, with rows and columns scaled by slopes: (batch,)."""
        if math.isinf(step.lipschitz):
            return norm
        guaranteed = torch.full_like(norm, step.lipschitz * (1 + enclosed(step.lipschitz_error)))
        for slope in slopes:
            guaranteed = self.times(guaranteed, steepest(slope.detach()))
        return torch.minimum(norm, guaranteed)


def slopes(activation: Activation | None, box: Box, center: Limits | None) -> tuple[Tensor, Tensor]:
    """The slopes that scale the next columns, and those that scale the rows before."""
    if activation is None:
        one = torch.ones_like(box.lower)
        return one, one
    slope = activation.slope(box.lower, box.upper, center)
    if type(activation).row_slope is Activation.row_slope:  # then it would be found a second time
        return slope, slope
    return slope, activation.row_slope(box.lower, box.upper, center)


def norm_by(norm: Norm, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """The norm that a method finds, (batch,); inf for a sample with a slope, or a norm, that is no finite number.

    An activation that jumps has an infinite slope, and infinity times a weight of 0 is nothing that a method could use.
    """
    finite = row_slope.isfinite().flatten(1).all(dim=1) & column_slope.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        row_slope, column_slope = (torch.where(slope.isfinite(), slope, 1.0) for slope in (row_slope, column_slope))
    found = norm(linear, row_slope, column_slope)
    if not isinstance(found, Tensor) or found.shape != finite.shape:
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        why = "a norm of one sample, or none", "return a tensor (batch,), as bounds.exact_norm does"
        raise InvalidInput(f"norms of shape {tuple(finite.shape)} from {norm!r:.60}", got, *why)
    return torch.where(finite & (found >= 0), found, torch.inf)
