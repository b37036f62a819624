"""The global and the local bound: the product of the norms that one pass through the network finds."""

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from lliptools.bounds.one_pass import Pass, Place, norm_by
from lliptools.bounds.reading import read
from lliptools.bounds.record import ANY_TWO, CENTRED, Bound
from lliptools.domains import Ball, Center, Interval, Start, Unknown
from lliptools.nets import Block, check_input
from lliptools.nets.blocks import normed_maps
from lliptools.nets.calls import options_checked
from lliptools.nets.checks import check_eps, check_stages
from lliptools.nets.layers import check_differentiable
from lliptools.norms.auto import UpperNorm
from lliptools.norms.kinds import Norm, mark_of
from lliptools.norms.rounding import is_outward


@options_checked
def local_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor,
    *,
    domain: Start = Interval & Ball,
    norm: Norm | None = None,
    differentiable: bool = False,
    centred: bool = False,
) -> Bound:
    """Bound of the Lipschitz constant of net on the closed ball of radius eps around each point of a batch.

    The rows and columns of units that are provably constant in the ball are masked in every weight matrix; the bound is
    the product of the norms of what is left. The norm of one block gives the radius of the next block's ball.

    - x: (batch, *sample). eps: a number or (batch,), in the units of x; math.inf for the whole space.
    - domain: what is known of the units. `Interval & Ball & Slopes & Zonotope` knows more of a small network, and
      `Interval.confined(0, 1) & Ball` that pixels lie in [0, 1]: the bound is then one on that part of the ball.
    - norm: (linear, row_slope, column_slope) -> (batch,), as bounds.exact_norm; bounds.UpperNorm() by default. Domains
      and norms without the mark of bounds.errs make a bound of kind "estimate", which certifies nothing.
    - differentiable: whether the graph to the network's parameters is kept.
    - centred: bound ‖f(x') − f(x)‖ / ‖x' − x‖ only, of the centre x and any point x' of the ball, which is what a
      certificate needs: the slopes of an activation are then its secants from the centre. Bound.between says which.
    - Returns a Bound: value (batch,), kind "upper", and the box, slope, norm and radius of every block.
    - Raises UnsupportedLayer and InvalidInput.

        >>> import torch, lliptools as ll
        >>> x = torch.tensor([[1.0, -2.0, 0.5]])
        >>> ll.local_bound(ll.nets.fold(3, 4), x, eps=0.4).value.item()
        1.0

    Source: Huang et al. (NeurIPS 2021), the local bound with one mask per layer.
    """
    check_stages(domain, norm)
    center = check_input(net, x)
    eps = check_eps(eps, center)
    if differentiable:
        check_differentiable(net)
    with torch.set_grad_enabled(differentiable):
        return passed(read(net, x), center, eps, domain, norm or UpperNorm(), centred=centred)


def passed(
    blocks: tuple[Block, ...], center: Tensor, eps: Tensor, domain: Start, norm: Norm, *, centred: bool = False
) -> Bound:
    """The bound that one pass finds of a network that has been read: center (batch, features), eps (batch,)."""
    norm = getattr(norm, "begin", lambda blocks: norm)(blocks)
    inside = replace(norm, rough=True) if isinstance(norm, UpperNorm) else norm
    start = Place(Center.exact(center), domain.start(center, eps), torch.ones_like(center), eps, torch.ones_like(eps))
    by, by_inside = partial(norm_by, norm), partial(norm_by, inside)
    walk = Pass(by, by_inside, torch.is_grad_enabled(), centred, growth=getattr(norm, "growth", Tensor.clone))
    found, end = walk.through(blocks, start)
    asked = ((inside if guaranteed else norm, linear) for linear, guaranteed in normed_maps(blocks))
    chance = sum(getattr(one, "failure_probability", lambda _: 0.0)(linear) for one, linear in asked)
    stages = (*getattr(domain, "parts", (domain,)), norm)
    kinds = {mark_of(stage, "kind") for stage in stages}
    encloses = is_outward() and all(mark_of(stage, "encloses") for stage in stages)
    return Bound(
        value=end.value,
        kind="upper" if kinds <= {"exact", "upper"} else "estimate",
        eps=eps,
        blocks=tuple(found),
        failure_probability=float(chance),
        arithmetic=f"{str(center.dtype).removeprefix('torch.')}, rounding {'' if encloses else 'not '}enclosed",
        norm=norm,
        inputs=start.known.box(start.center),
        known=end.known,
        points=center,
        outputs=end.center.value,
        between=CENTRED if centred else ANY_TWO,
    )


@options_checked
def global_bound(
    net: nn.Module, x: Tensor, eps: float | Tensor = math.inf, *, norm: Norm | None = None, differentiable: bool = False
) -> Bound:
    """Product of the norms of the layers, ∏ ‖W_k‖: no unit is masked, and the bound holds on the whole space.

    - x: (batch, *sample) gives the input shape. eps is checked and kept for the record, and changes nothing.
    - norm, differentiable: as of local_bound. An activation counts with its steepest slope.
    - Returns a Bound of kind "upper". Raises UnsupportedLayer and InvalidInput.
    """
    radius = check_eps(eps, check_input(net, x))
    one = local_bound(net, x[:1], math.inf, domain=Unknown, norm=norm, differentiable=differentiable)
    blocks = tuple(block.mapped(lambda part: part.expand(len(x), *part.shape[1:])) for block in one.blocks)
    value = one.value.expand(len(x))
    return replace(one, value=value, eps=radius, blocks=blocks, inputs=None, known=None, points=None)
