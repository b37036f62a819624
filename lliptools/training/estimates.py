"""A bound for training: norms by a few steps, boxes made for speed, and no value looked at on the way.

The pass is that of a theorem (bounds.one_pass) without what only a theorem needs. To look at a value is to wait for a
GPU, and ends the capture of a CUDA graph; what is not finite shows in the loss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lliptools.bounds import BlockBound, Bound, Box, light_boxes
from lliptools.nets import Activation, Block, LinearMap, read_blocks
from lliptools.training.norms import SharedNorm

__all__ = ["Estimate", "estimated"]

Boxes = Callable[[LinearMap, Box, Tensor, Tensor, Tensor], Box]


@dataclass(frozen=True, eq=False)
class Estimate(Bound):
    """A bound of kind "estimate": it trains, and certifies nothing.

    The box of the last block is left open. Of the global bound, what its blocks hold is (1, ...) for the whole batch.
    """

    def hidden(self) -> Tensor:
        """As of Bound, for ordinary numbers."""
        return math.prod((block.norm for block in self.blocks[:-1]), start=torch.ones_like(self.value))

    def pairwise(self, y: Tensor) -> Tensor:
        """As of Bound, for labels that are known to fit: y (batch,) -> (batch, classes)."""
        last = self.blocks[-1].linear
        columns = self.blocks[-2].slope.flatten(1) if len(self.blocks) > 1 else self.value.new_ones(1, last.columns)
        between = (last.weight[y, None] - last.weight) * columns.sqrt()[:, None]
        return torch.linalg.vector_norm(between, dim=2) * self.hidden()[:, None]


@dataclass(frozen=True)
class _State:
    """What is known of the units that the pass has reached, as of one_pass.State."""

    center: Tensor
    box: Box
    slope: Tensor
    radius: Tensor
    value: Tensor


@dataclass(frozen=True)
class _Stages:
    """How boxes and norms are found, and whether the boxes keep their graph."""

    boxes: Boxes
    norm: SharedNorm
    graph: bool


def estimated(
    net: nn.Module, x: Tensor, eps: float, norm: SharedNorm, *, rung: str = "local", graph: bool = False
) -> Estimate:
    """The bound of a batch in the network's precision, with a graph to its parameters, and the outputs at the points.

    x: (batch, *sample) of finite floats, eps: of the balls, in input units. rung: "local", or "global" for the norms of
    whole layers, where no unit is struck. graph: whether the local bound's boxes have a gradient too.
    Raises UnsupportedLayer and InvalidInput where the network cannot be read, for no value whatever.
    """
    radius = x.new_full((len(x),), eps)
    blocks = read_blocks(net, x.shape[1:], x.dtype, values=False)
    norm.begin(blocks)
    is_local = rung == "local"
    h = (x if is_local else x[:1]).detach().flatten(1)
    ball = radius.to(h) if is_local else torch.full_like(radius[:1], torch.inf)
    box = Box(h - ball[:, None], h + ball[:, None])
    start = _State(h, box, torch.ones_like(h), ball, torch.ones_like(ball))
    stages = _Stages(light_boxes if is_local else _open, norm, graph)
    passed, end = _pass(blocks[:-1], start, stages)
    last, end = _plain(blocks[-1], end, replace(stages, boxes=_open))
    outputs = end.center if is_local else net(x)
    return Estimate(end.value.expand(len(x)), "estimate", radius, (*passed, last), norm=norm, outputs=outputs)


def _open(linear: LinearMap, inputs: Box, center: Tensor, column_slope: Tensor, radius: Tensor) -> Box:
    """What is known of a unit of which nothing is known."""
    return Box(torch.full_like(center, -torch.inf), torch.full_like(center, torch.inf))


def _pass(blocks: tuple[Block, ...], state: _State, stages: _Stages) -> tuple[list[BlockBound], _State]:
    passed = []
    for block in blocks:
        bound, state = (_nested if block.inner else _plain)(block, state, stages)
        passed.append(bound)
    return passed, state


def _plain(block: Block, state: _State, stages: _Stages) -> tuple[BlockBound, _State]:
    linear, activation = block.linear, block.activation
    center = linear.linear(state.center) + linear.bias
    with torch.set_grad_enabled(stages.graph):
        box = stages.boxes(linear, state.box, center, state.slope, state.radius)
        output, slope, row_slope = _through(activation, box)
    norm = _at_most(stages.norm(linear, row_slope, state.slope), linear, row_slope, state.slope)
    after = center if activation is None else activation(center)
    bound = BlockBound(linear, activation, box, output, slope, row_slope, norm, state.radius)
    return bound, _State(after, output, slope, state.radius * norm, state.value * norm)


def _through(activation: Activation | None, box: Box) -> tuple[Box, Tensor, Tensor]:
    if activation is None:
        one = torch.ones_like(box.lower)
        return box, one, one
    slope = activation.slope(box.lower, box.upper)
    alike = type(activation).row_slope is Activation.row_slope
    row_slope = slope if alike else activation.row_slope(box.lower, box.upper)
    return Box(*activation.image(box.lower, box.upper)), slope, row_slope


def _nested(block: Block, state: _State, stages: _Stages) -> tuple[BlockBound, _State]:
    """h + inner(h), or inner(h)."""
    inner, end = _pass(block.inner, replace(state, value=torch.ones_like(state.value)), stages)
    norm, center, box = end.value, end.center, end.box
    if block.skip:
        norm = norm + _steepest(state.slope)
        center = center + state.center.reshape(center.shape)
        lower, upper = (side.reshape(center.shape) for side in (state.box.lower, state.box.upper))
        box = Box(box.lower + lower, box.upper + upper)
    norm = _at_most(norm, block, state.slope)
    radius = state.radius * norm
    with torch.set_grad_enabled(stages.graph):
        wide = radius.view(-1, *[1] * (center.dim() - 1))
        box = box.intersect(Box(center - wide, center + wide))
    one = torch.ones_like(center)
    bound = BlockBound(block.linear, None, box, box, one, one, norm, state.radius, tuple(inner), block.skip)
    return bound, _State(center, box, one, radius, state.value * norm)


def _steepest(slope: Tensor) -> Tensor:
    """‖D^½‖ for D = diag(slope): (batch, *units) -> (batch,)."""
    return slope.detach().flatten(1).amax(dim=1).sqrt()


def _at_most(norm: Tensor, step: LinearMap | Block, *slopes: Tensor) -> Tensor:
    """The norm, or less where the layer itself guarantees less, with rows and columns scaled by slopes: (batch,)."""
    if math.isinf(step.lipschitz):
        return norm
    guaranteed = torch.full_like(norm, step.lipschitz)
    for slope in slopes:
        guaranteed = guaranteed * _steepest(slope)
    return torch.minimum(norm, guaranteed)
