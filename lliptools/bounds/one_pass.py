"""The pass through the blocks: box, slopes, masked norm, and the radius of the next ball."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.domains import BlockBound, Box, Center, Domain, Unknown
from lliptools.nets import Activation, Block, LinearMap
from lliptools.nets.activations import Limits
from lliptools.nets.blocks import masks_sum
from lliptools.norms.kinds import Norm, product_above, steepest
from lliptools.norms.rounding import enclosed, inflated


def times_above(one: Tensor, other: Tensor) -> Tensor:
    """A product of bounds >= 0 that is one itself."""
    return inflated(product_above(one, other))


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
            one, center, known = (self._residual if block.inner else self._plain)(block, place)
            if before is not None and masks_sum(block, before) and not isinstance(known, Unknown):
                one = replace(one, norm=torch.minimum(one.norm, self._behind_sum(one, found[-1], columns)))
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
        norm = self._at_most(self.norm(block.linear, rows, place.columns), block.linear, rows, place.columns)
        one = BlockBound(block.linear, block.activation, box, columns, rows, norm, norm, place.radius, center=limits)
        return one, after, known

    def _residual(self, block: Block, place: Place) -> tuple[BlockBound, Center, Domain]:
        """h + inner(h), shortcut(h) + inner(h), or inner(h) of a layer that guarantees a constant for the whole."""
        arm = replace(place, value=torch.ones_like(place.value))
        if block.skip:
            arm = replace(arm, known=place.known.beside(place.known))
        parts = replace(self, norm=self.inside) if math.isfinite(block.lipschitz) else self
        blocks, end = parts.through(block.inner, arm)
        norm, center, known = end.value, end.center, end.known
        if block.shortcut:
            with torch.set_grad_enabled(self.graph):
                arm = replace(arm, known=arm.known.beside(known))
        beside, other = parts.through(block.shortcut, arm)
        if block.skip:
            added = other.value if block.shortcut else steepest(place.columns.detach())
            norm, center = inflated(added + norm), other.center.plus(center)
        norm = self._at_most(norm, block, place.columns)
        with torch.set_grad_enabled(self.graph):
            if block.skip:
                known = other.known.add(known) if block.shortcut else known.add(other.known)
            box = known.within(self.times(place.radius, norm)).box(center)
        one = torch.ones_like(center.value)
        inside = tuple(blocks), block.skip, tuple(beside)
        whole = BlockBound(block.linear, None, box, one, one, norm, norm, place.radius, *inside)
        return whole, center, known

    def _behind_sum(self, one: BlockBound, whole: BlockBound, columns: Tensor) -> Tensor:
        """‖D^½(f + g)‖ of a sum whose units an activation masks, over the norm of f + g: (batch,).

        one: the block of the activation. columns: slopes before the sum. D masks the last rows of both branches.
        """
        branches = [self._masked(branch, one.row_slope, columns) for branch in (whole.inner, whole.shortcut) if branch]
        if not whole.shortcut:
            branches.append(steepest(product_above(one.row_slope.flatten(1), columns.detach().flatten(1))))
        total, known = inflated(branches[0] + branches[1]), (whole.norm > 0) & whole.norm.isfinite()
        share = inflated(total / torch.where(known, whole.norm, 1.0))
        share = torch.where(total == 0, 0.0, share.clamp_min(torch.finfo(share.dtype).tiny))
        return torch.where(known, share, one.norm)

    def _masked(self, branch: tuple[BlockBound, ...], rows: Tensor, columns: Tensor) -> Tensor:
        """The norm of a branch whose last rows are scaled, columns those before it: (batch,)."""
        *first, last = branch
        value = torch.ones_like(last.norm)
        for block in first:
            value, columns = self.times(value, block.norm), block.slope
        return self.times(value, self.norm(last.linear, rows.reshape(last.row_slope.shape), columns))

    def _at_most(self, norm: Tensor, step: LinearMap | Block, *slopes: Tensor) -> Tensor:
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
