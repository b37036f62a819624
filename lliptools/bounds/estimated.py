"""A bound for training: norms by a few steps, boxes made for speed, and no value looked at on the way.

The pass is that of a theorem without what only a theorem needs. To look at a value is to wait for a GPU, and ends the
capture of a CUDA graph; what is not finite shows in the loss.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lliptools.bounds.one_pass import Pass, Place
from lliptools.bounds.record import ANY_TWO, CENTRED, Bound
from lliptools.domains import BlockBound, Center, Light, Unknown
from lliptools.nets import Block, read_blocks
from lliptools.nets.layers import check_differentiable
from lliptools.norms.kinds import Norm, root


def estimated_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor,
    norm: Norm,
    *,
    is_global: bool = False,
    graph: bool = False,
    centred: bool = False,
    groups: Tensor | None = None,
) -> Bound:
    """Estimate of the local or the global bound of a batch in the network's precision, with a graph to its parameters.

    - x: (batch, *sample) of finite floats. eps: radius of the balls, a number or (batch,), in input units.
    - norm: (linear, row_slope, column_slope) -> (batch,), as training.SharedNorm.
    - is_global: of norms of whole layers. graph: whether boxes have a gradient too, as the sparsity loss needs.
    - centred: as of local_bound; boxes and slopes then have a gradient, by which a unit is masked little by little.
    - groups: (groups, batch), 1 where a sample belongs to a group and 0 elsewhere, for a norm that samples share.
    - Returns a Bound of kind "estimate", which trains and certifies nothing, with the outputs at the points. The box of
      the last block is left open. Of the global bound, what its blocks hold is (1, ...) for the whole batch.
    - Raises UnsupportedLayer and InvalidInput where the network cannot be read, for no value whatever.
    """
    check_differentiable(net)
    radius = torch.as_tensor(eps, dtype=x.dtype, device=x.device).expand(len(x))
    blocks = read_blocks(net, x.shape[1:], x.dtype, values=False)
    told = () if is_global or groups is None else (groups,)
    norm = getattr(norm, "begin", lambda *_: norm)(blocks, *told)
    h = (x[:1] if is_global else x).detach().flatten(1)
    ball = torch.full_like(radius[:1], torch.inf) if is_global else radius
    known = Unknown.start(h, ball) if is_global else Light.start(h, ball)
    start = Place(_Plain(h, h), known, torch.ones_like(h), ball, torch.ones_like(ball))
    walk = Pass(norm, norm, graph or centred, centred, torch.mul)
    found, place = walk.through(blocks[:-1], start)
    last, end = walk.through(blocks[-1:], Place(place.center, Unknown(), place.columns, place.radius, place.value))
    outputs = net(x) if is_global else end.center.value
    value, between = end.value.expand(len(x)), CENTRED if centred else ANY_TWO
    return Bound(value, "estimate", radius, (*found, *last), norm=norm, outputs=outputs, pairs=_pairs, between=between)


def _pairs(bound: Bound, y: Tensor, needed: Tensor | None) -> Tensor:
    """As record.by_product, for ordinary numbers and labels that are known to fit."""
    last = bound.blocks[-1].linear
    columns = bound.blocks[-2].slope.flatten(1) if len(bound.blocks) > 1 else bound.value.new_ones(1, last.columns)
    squared = ((last.weight[y, None] - last.weight).square() * columns[:, None]).sum(dim=2)
    hidden = math.prod((block.norm for block in bound.blocks[:-1]), start=torch.ones_like(bound.value))
    return root(squared) * hidden[:, None]


@dataclass(frozen=True)
class _Plain(Center):
    """The values at the centre, without their rounding error."""

    def limits(self) -> tuple[Tensor, Tensor]:
        return self.value, self.value

    def through(self, block: Block | BlockBound) -> tuple["_Plain", "_Plain"]:
        z = block.linear.linear(self.value) + block.linear.bias
        h = z if block.activation is None else block.activation(z)
        return _Plain(z, z), _Plain(h, h)

    def plus(self, other: Center) -> "_Plain":
        value = other.value + self.value.reshape(other.value.shape)
        return _Plain(value, value)
