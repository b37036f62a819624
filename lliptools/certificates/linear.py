"""Linear bounds of a margin: backwards through the network, with a ball and a box at every layer.

Let d = z' − ẑ be how far the pre-activations of a layer move from the centre. They stay in a box, and in a ball
‖R^½ d‖ ≤ ρ, R = diag(row slopes). Where the margin reads aᵀσ(z'), any g and any λ > 0 give (weak duality on the ball)

    aᵀ(σ(z') − σ(ẑ)) ≥ gᵀd − λρ²/2 + Σ_i min over the box of  a_i (σ(z'_i) − σ(ẑ_i)) − g_i d_i + λ R_i d_i² / 2,

and the next coefficients are Wᵀg. On a linear piece of σ the minimum is that of a parabola on an interval; it is found
from the tangent at its place, which bounds it from below wherever rounding has put that place.

λ → 0 is bound propagation (CROWN: Zhang et al., NeurIPS 2018); without the box it is the offset of SDP-CROWN (Chiu,
Chen, Zhang, Zhang, ICML 2025, Theorem 4.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from operator import itemgetter

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, local_bound
from lliptools.bounds.reading import read
from lliptools.certificates.backward import Stage, moves, stages
from lliptools.certificates.bends import Line, Lines
from lliptools.certificates.margins import check_bound, largest_change, own_class, sure_margins
from lliptools.domains import Ball, BlockBound, Interval, Start
from lliptools.domains.center import Center, at_center
from lliptools.nets import check_input
from lliptools.nets.blocks import linear_maps
from lliptools.nets.calls import options_checked
from lliptools.nets.checks import check_finite_eps, check_labels, check_steps
from lliptools.nets.linear import TINY, LinearMap
from lliptools.norms.kinds import product_above
from lliptools.norms.rounding import enclosed, gamma, inflated, outward_rounding, running_error, unit
from lliptools.norms.scaled import length

STEPS = 20  # of the search for better lines, in certificates
RATE = 0.1  # of the optimiser, which counts slopes and logarithms of λ
ENTRIES = 2**23  # of the coefficients that are worked on together

# How far direction·f can fall over the ball of a point: direction (pairs, outputs), pair (pairs,), lines -> (pairs,).
# lines: what is chosen at each bend; one that is missing is chosen there, and noted.
Fall = Callable[[Tensor, Tensor, Lines], Tensor]


@options_checked
@torch.inference_mode(False)  # for the gradients of the search
def linear_margins(
    net: nn.Module, x: Tensor, y: Tensor, eps: float | Tensor, *, steps: int = 0, domain: Start = Interval & Ball
) -> Tensor:
    """Lower bounds of f_y − f_j over the ball for every class j: (batch, classes); 0 for j = y.

    - x: (batch, *sample), y: (batch,), eps: a number or (batch,). domain: of the local bound whose boxes serve here.
    - steps: of a search for better slopes and weights of the balls, for margins that are not above 0 without it.
    - Float64, rounding enclosed; it fails as seldom as local_bound. −inf where nothing is known.
    - Raises InvalidInput and UnsupportedLayer.
    """
    check_steps(steps)
    center = check_input(net, x)
    radius = check_finite_eps(eps, center)
    with torch.no_grad(), outward_rounding():
        found = local_bound(net, x, radius, domain=domain, centred=True)
        check_bound(found, radius)
        logits = at_center(read(net, x), Center.exact(center))[-1]
        y = check_labels(y, len(x), logits.value.shape[1], center.device)
        nothing, own = torch.full_like(logits.value, -torch.inf), own_class(logits.value, y)
        return raised(nothing, ~own, found, center, logits, y, steps).masked_fill(own, 0.0)


def raised(
    worst: Tensor, asked: Tensor, found: Bound, center: Tensor, logits: Center, y: Tensor, steps: int = STEPS
) -> Tensor:
    """Lower bounds of margins over the ball, (batch, classes), raised to linear ones where these are larger.

    worst: what is known of them. asked: (batch, classes) bool, of which margins more is wanted. found: an upper bound
    on the balls. center, logits: inputs, (batch, features), and outputs at the points.
    """
    left, worst = sure_margins(logits, y), worst.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    classes = torch.eye(left.shape[1], dtype=left.dtype, device=left.device)
    widest = max(center.shape[1], *(linear.rows for linear in linear_maps(found.blocks)))
    index = (asked & (left > -torch.inf)).nonzero()
    for part in index.split(max(1, ENTRIES // widest)) if len(index) else ():
        (samples, others), (which, pair) = part.unbind(1), part[:, 0].unique(return_inverse=True)
        room, direction = left[samples, others], classes[y[samples]] - classes[others]
        fall = _searched(_way_back(found, center, which), direction, pair, room, steps)
        least = torch.where((fall >= 0) & fall.isfinite(), room - inflated(fall), -torch.inf)
        worst[samples, others] = torch.fmax(worst[samples, others], least)
    return worst


def _searched(fall: Fall, direction: Tensor, pair: Tensor, left: Tensor, steps: int) -> Tensor:
    """What is lost of every pair, (pairs,), after steps for those that more is lost of than is left."""
    lines: Lines = {}
    lost = fall(direction, pair, lines)
    index = (lost >= left).nonzero()[:, 0]
    if not steps or not len(index) or not lines:
        return lost
    direction, pair = direction[index], pair[index]
    lines = {bend: Line(line.slopes[index], line.log_weight[index]) for bend, line in lines.items()}
    chosen = [part.requires_grad_() for line in lines.values() for part in (line.slopes, line.log_weight)]
    optimiser = torch.optim.Adam(chosen, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        with torch.enable_grad():
            here = fall(direction, pair, lines)
            optimiser.zero_grad()
            here.sum().backward()
        lost[index] = torch.fmin(lost[index], here.detach())
        if (lost[index] < left[index]).all():
            break
        optimiser.step()
        schedule.step()
    return lost


@dataclass(frozen=True, eq=False)
class _Step:
    """One block on the way back; inner, shortcut: of a residual block, whose own linear map is the identity.

    slack: (batch, rows), what rounding takes per unit of a coefficient of its pre-activations. moves: (batch, columns),
    how far each of its inputs can be from the centre. underflow: (batch,), what it takes whatever the coefficients are.
    """

    block: BlockBound
    stages: tuple[Stage, ...]
    slack: Tensor
    moves: Tensor
    underflow: Tensor
    inner: tuple[_Step, ...]
    shortcut: tuple[_Step, ...] = ()

    def back(self, a: Tensor, pair: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
        """Coefficients of the inputs, (pairs, columns), and what is lost, (pairs,)."""
        linear, lost = self.block.linear, a.new_zeros(len(a))
        if self.inner:
            g, lost = _back(self.inner, a, pair, lines)
            if not self.block.skip:
                return g, lost
            if self.shortcut:
                a, more = _back(self.shortcut, a, pair, lines)
                lost = inflated(lost + more)
            return g + a, lost + 4 * unit(a) * ((g + a).abs() * self.moves[pair]).sum(dim=1)
        for stage in reversed(self.stages):
            a, more = stage.back(a, pair, lines)
            lost = inflated(lost + more)
        lost = lost + inflated((a.abs() * self.slack[pair]).sum(dim=1) + self.underflow[pair], a.shape[1])
        return linear.adjoint(a.reshape(len(a), *linear.out_shape)).flatten(1), lost


def _back(steps: tuple[_Step, ...], a: Tensor, pair: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
    lost = a.new_zeros(len(a))
    for step in reversed(steps):
        a, more = step.back(a, pair, lines)
        lost = inflated(lost + more)
    return a, lost


def _steps(blocks: tuple[BlockBound, ...], center: Center, far: Tensor) -> tuple[tuple[_Step, ...], Center, Tensor]:
    """The blocks for the way back, and what is known behind them: values at the centre, and how far units move."""
    steps = []
    for block in blocks:
        linear = block.linear
        if block.inner:
            inner, end, _ = _steps(block.inner, center, far)
            shortcut, over, _ = _steps(block.shortcut, center, far)
            step = _Step(block, (), far, far, torch.zeros_like(far[:, 0]), inner, shortcut)
            center = over.plus(end) if block.skip else end
        else:
            before, after = center.through(block)
            size = far.reshape(-1, *linear.in_shape)
            slack = running_error(linear, torch.zeros_like(size), size) * (1 + linear.rows / max(1, linear.terms))
            step = _Step(block, stages(block, before), slack.flatten(1), far, _underflow(linear, size), ())
            center = after
        far = moves(center, block.output)
        steps.append(step)
    return tuple(steps), center, far


def _underflow(linear: LinearMap, far: Tensor) -> Tensor:
    """What underflow can take on the way back through a linear map, whose inputs move by so much: (batch,)."""
    total: Tensor | float = 0.0
    for operator in linear.absolute:
        far = far.reshape(len(far), *operator.in_shape)
        total = total + prod(operator.out_shape) * far.flatten(1).sum(dim=1)
        far = operator(far)
    return far.new_zeros(len(far)) + enclosed(TINY * (total + linear.rows + far.flatten(1).sum(dim=1)))


def _way_back(found: Bound, center: Tensor, which: Tensor) -> Fall:
    """The way back through a network, for the points with these numbers; center: (batch, features) of all."""
    center, eps = center[which], found.eps[which]
    far, sides = eps[:, None].expand_as(center), None  # how far the inputs can move down and up, where that is less
    if (box := found.inputs) is not None:
        below, above = (inflated(side) for side in (center - box.lower[which], box.upper[which] - center))
        if not ((below >= far) & (above >= far)).all():
            sides = below, above
    blocks = tuple(block.mapped(itemgetter(which)) for block in found.blocks)
    passed = _steps(blocks, Center.exact(center), far)[0]

    def fall(direction: Tensor, pair: Tensor, lines: Lines) -> Tensor:
        a, lost = _back(passed, direction, pair, lines)
        radius = eps[pair]
        rounding = 1 + 8 * gamma(a.shape[1], a)
        most = product_above(radius, length(a, dim=1)) * rounding
        if sides is not None:
            below, above = (side[pair] for side in sides)
            most = torch.fmin(most, largest_change(-a[:, None], radius, below, above)[:, 0] * rounding)
        return inflated(lost + most)

    return fall
