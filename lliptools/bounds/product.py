"""The global and the local bound: the product of the norms that one pass through the blocks finds."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from lliptools.bounds.merged import Merged
from lliptools.bounds.one_pass import Boxes, Stages, State, norm_inside, pass_through
from lliptools.bounds.reading import read
from lliptools.bounds.record import BlockBound, Bound
from lliptools.domains.box import Box
from lliptools.domains.boxes import input_box, interval_and_ball
from lliptools.domains.center import Center
from lliptools.domains.zonotope import Zonotope
from lliptools.nets import Block, check_input, read_blocks
from lliptools.nets.checks import (
    check_differentiable,
    check_domain,
    check_eps,
    check_probability,
    check_radii,
    check_stages,
    check_tolerance,
)
from lliptools.norms.auto import UpperNorm
from lliptools.norms.kinds import Norm, mark_of
from lliptools.norms.rounding import is_outward

__all__ = ["global_bound", "local_bound"]


def local_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor,
    *,
    boxes: Boxes = interval_and_ball,
    norm: Norm | None = None,
    prefix: bool = False,
    radii: str = "local",
    domain: tuple[float, float] | None = None,
    delta: float = 1e-9,
    tolerance: float = 1e-3,
    dtype: torch.dtype = torch.float64,
    differentiable: bool | str = False,
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
    of kind "estimate", which certifies nothing, unless they are marked with the way they err (bounds.errs). A norm
    that tells layers apart has a method begin(blocks), which is called with what has been read before the pass.
    prefix: also bound every unit of a small network by its own constant, with what is linear merged (merged.py), and
    by its values as a linear function of the input and of bounded noises (zonotope.py).
    radii: "local" lets the norms found so far set the radii of the balls, "global" those of the whole layers, which
    are wider and do not wait for the masks. domain: (low, high) of every input value, such as (0, 1) for pixels; the
    bound is then one on the part of the ball that lies in it. delta: the most that
    Bound.failure_probability may be with the default norm, whose starts are drawn from torch's random numbers.
    tolerance: how close, relatively, the norms of large layers come to the truth, which costs time.
    dtype: torch.float32 is for training. differentiable=True keeps the graph to the network's parameters;
    differentiable="norms" that of the norms and outputs only, where a loss asks nothing of the boxes.
    Raises UnsupportedLayer and InvalidInput.
    Source: Huang et al. (NeurIPS 2021), the local bound with one mask a layer.
    """
    check_stages(boxes, norm, dtype)
    center = check_input(net, x).to(dtype)
    eps = check_eps(eps, center).to(dtype)
    check_radii(radii)
    check_domain(domain, center)
    check_probability(delta)
    check_tolerance(tolerance)
    check_differentiable(differentiable)
    marks = {mark_of(stage, "kind") for stage in (boxes, norm or UpperNorm())}
    kind = "upper" if marks <= {"exact", "upper"} else "estimate"
    with torch.set_grad_enabled(differentiable is not False):
        # What is for training is not compared with the network itself.
        compared = kind == "upper" and dtype == torch.float64
        blocks = read(net, x) if compared else read_blocks(net, x.shape[1:], dtype)
        count = _count(blocks)
        norm = norm or UpperNorm(delta / (2 * count if radii == "global" else count), tolerance)
        getattr(norm, "begin", lambda blocks: None)(blocks)
        stages = Stages(boxes, norm, radii == "global", eps, differentiable is True)
        merged = Merged.start(len(center), center.shape[1], center.device) if prefix else None
        zonotope = Zonotope.start(center, eps) if prefix else None
        start = State(
            Center(center, torch.zeros_like(center)),
            input_box(center, eps, domain),
            torch.ones_like(center),
            eps,
            torch.ones_like(eps),
            merged,
            zonotope,
            torch.ones_like(center[:1]),
        )
        passed, end = pass_through(blocks, start, stages)
    encloses = is_outward() and all(mark_of(stage, "encloses") for stage in (boxes, norm))
    return Bound(
        value=end.value,
        kind=kind,
        eps=eps,
        blocks=tuple(passed),
        failure_probability=_failure(norm, blocks) * (2 if radii == "global" else 1),
        arithmetic=f"{str(dtype).removeprefix('torch.')}, rounding {'' if encloses else 'not '}enclosed",
        domain=domain,
        norm=norm,
        outputs=end.center.value,
    )


def _count(blocks: tuple[Block, ...]) -> int:
    return sum(_count(block.inner) if block.inner else 1 for block in blocks)


def _failure(norm: Norm, blocks: tuple[Block, ...]) -> float:
    """The failure probabilities of all norms, summed."""
    of_one = getattr(norm, "failure_probability", lambda linear: 0.0)
    return float(
        sum(
            _failure(norm_inside(block, norm), block.inner) if block.inner else of_one(block.linear) for block in blocks
        )
    )


def global_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor = math.inf,
    *,
    norm: Norm | None = None,
    delta: float = 1e-9,
    dtype: torch.dtype = torch.float64,
    differentiable: bool | str = False,
) -> Bound:
    """Product of the norms of the layers: the local bound with eps = ∞, where every unit varies.

    It holds on the whole space, so on every ball: eps is checked and kept for the record, and changes nothing.
    x: (batch, *sample) gives the input shape; dtype and differentiable are as of local_bound.
    Raises UnsupportedLayer and InvalidInput.
    """
    radius = check_eps(eps, check_input(net, x))
    one = local_bound(net, x[:1], math.inf, norm=norm, delta=delta, dtype=dtype, differentiable=differentiable)
    blocks = _repeated(one.blocks, len(x))
    return replace(one, value=one.value.expand(len(x)), eps=radius, blocks=blocks, outputs=None)


def _repeated(blocks: tuple[BlockBound, ...], batch: int) -> tuple[BlockBound, ...]:
    """What holds of one point on the whole space holds of all."""

    def box(of: Box) -> Box:
        return Box(of.lower.expand(batch, *of.lower.shape[1:]), of.upper.expand(batch, *of.upper.shape[1:]))

    return tuple(
        BlockBound(
            block.linear, block.activation, box(block.box), box(block.output),
            block.slope.expand(batch, *block.slope.shape[1:]),
            block.row_slope.expand(batch, *block.row_slope.shape[1:]),
            block.norm.expand(batch), block.radius.expand(batch), _repeated(block.inner, batch), block.skip,
        )
        for block in blocks
    )  # fmt: skip
