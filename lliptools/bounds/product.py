"""The one pass: boxes, slopes, norms, product, block by block."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lliptools.bounds.boxes import input_box, interval_and_ball
from lliptools.bounds.checks import check_eps
from lliptools.bounds.norms import exact_norm
from lliptools.bounds.record import BlockBound, Bound, Box, product_above
from lliptools.nets import LinearMap, check_input, read_blocks

__all__ = ["global_bound", "local_bound"]

Boxes = Callable[[LinearMap, Box, Tensor, Tensor, Tensor], Box]
Norm = Callable[[LinearMap, Tensor, Tensor], Tensor]


def local_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor,
    *,
    boxes: Boxes = interval_and_ball,
    norm: Norm = exact_norm,
    differentiable: bool = False,
) -> Bound:
    """Bound of the Lipschitz constant of net on the closed ball of radius eps around each point of a batch.

    The rows and columns of units that are provably constant in the ball are struck from every weight matrix; the
    bound is the product of the norms of what is left. The norm of one block gives the radius of the next block's ball.

    x: (batch, *sample). eps: a number or (batch,), in the units of x; math.inf gives the global bound.
    Returns a Bound: value (batch,), kind "upper", and of every block box, slope, norm and radius. print() shows it.

        >>> import torch, lliptools as ll
        >>> x = torch.tensor([[1.0, -2.0, 0.5]])
        >>> ll.local_bound(ll.nets.fold(3, 4), x, eps=0.4).value.item()
        1.0

    Own ways to find boxes and norms may be passed: boxes(linear, inputs, center, column_slope, radius) -> Box, as
    bounds.interval_box, and norm(linear, row_slope, column_slope) -> (batch,), as bounds.exact_norm. The result is then
    of kind "estimate", which certifies nothing, unless they are marked with the way they err (bounds.errs).
    differentiable=True keeps the graph to the network's parameters.
    Raises UnsupportedLayer and InvalidInput.
    Source: Huang et al. (NeurIPS 2021), the local bound with one mask a layer.
    """
    center = check_input(net, x)
    eps = radius = check_eps(eps, center)
    with torch.set_grad_enabled(differentiable):
        blocks = read_blocks(net, x.shape[1:])
        inputs = input_box(center, radius)
        column_slope = torch.ones_like(center)
        passed: list[BlockBound] = []
        value = torch.ones_like(radius)
        for block in blocks:
            center = block.linear.apply(center)
            box = boxes(block.linear, inputs, center, column_slope, radius)
            if block.activation is None:
                output, slope = box, torch.ones_like(center)
            else:
                output = Box(*block.activation.image(box.lower, box.upper))
                slope = block.activation.slope(box.lower, box.upper)
                center = block.activation(center)
            block_norm = norm(block.linear, slope, column_slope)
            passed.append(BlockBound(block.linear, box, output, slope, block_norm, radius))
            value, radius = product_above(value, block_norm), product_above(radius, block_norm)
            inputs, column_slope = output, slope
    stages = {getattr(stage, "kind", "estimate") for stage in (boxes, norm)}
    kind = "upper" if stages <= {"exact", "upper"} else "estimate"
    return Bound(value, kind, eps, tuple(passed))


def global_bound(net: nn.Module, x: Tensor, eps: float | Tensor = math.inf, *, norm: Norm = exact_norm) -> Bound:
    """Product of the norms of the layers: the local bound with eps = ∞, where every unit varies.

    It holds on the whole space, so on every ball: eps is checked and kept for the record, and changes nothing.
    x: (batch, *sample) gives the input shape. Raises UnsupportedLayer and InvalidInput.
    """
    everywhere = local_bound(net, x, math.inf, norm=norm)
    return Bound(everywhere.value, everywhere.kind, check_eps(eps, x), everywhere.blocks)
