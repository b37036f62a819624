"""Certificates: what a bound proves about a label."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, local_bound, round_down
from lliptools.bounds.reading import read, reads_once
from lliptools.bounds.record import CENTRED
from lliptools.certificates.linear import raised
from lliptools.certificates.margins import check_bound, largest_change, margin_error, margins, own_class
from lliptools.certificates.quadratic import raised_by_products
from lliptools.certificates.shells import falls, shell_radii
from lliptools.domains.center import Center, at_center
from lliptools.nets import check_input
from lliptools.nets.calls import check_function, options_checked
from lliptools.nets.checks import check_eps, check_labels
from lliptools.nets.rows import times_root
from lliptools.norms.kinds import product_above
from lliptools.norms.rounding import enclosed, gamma, inflated, matrix_slack, outward_rounding, unit

NEAR = 1e-9  # relatively: what rounding may take of a margin is not known before
ENTRIES = 2**22  # of (points, classes, units) that are worked on at a time
BoundFunction = Callable[..., Bound]  # (net, x, eps), and perhaps centred, as lliptools.local_bound


@dataclass(frozen=True, eq=False, repr=False)
class Certificate:
    """Whether the label is proved constant on the ball of radius eps, point by point.

    * holds: (batch,) bool; True says that class y strictly beats every other class on the whole closed ball.
    * margin: (batch,) smallest f_y − f_j over j ≠ y at the point itself.
    * worst_margin: (batch,) lower bound of that margin over the ball; holds is True where it is above 0.
    * eps: (batch,). bound: the Bound it rests on, with its kind, failure probability and arithmetic.
    """

    holds: Tensor
    margin: Tensor
    worst_margin: Tensor
    eps: Tensor
    bound: Bound

    def __repr__(self) -> str:
        """In one line: how many points, what is least of their worst margins, and what that rests on."""
        many, least = f"{int(self.holds.sum())} of {len(self.holds)} points certified", self.worst_margin.min().item()
        rests = f"{self.bound.kind} bound, {self.bound.arithmetic}, {self.bound.failure_probability:.1g} to fail"
        return f"{many}, at eps up to {self.eps.max().item():.4g}; least margin {round_down(least)} ({rests})"


@options_checked
@torch.inference_mode(False)  # linear bounds search by gradients
@reads_once
def certify(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float | Tensor,
    bound: BoundFunction = local_bound,
    *,
    centred: bool = True,
    shells: int = 1,
    linear: bool = False,
    quadratic: bool = False,
    outward: bool = True,
) -> Certificate:
    """Certify labels: the margin f_y − f_j of every class j ≠ y stays above 0 on the closed ball around each point.

    * x: (batch, *sample), y: (batch,) integers, eps: a number or (batch,), in the units of x. With a bound on an input
      domain, the ball is the part of it that lies in the domain.
    * centred: ask bounds that can (local, path, merged, tightest) for centred constants, which are smaller: a
      certificate compares with the centre only. Without it the constants hold between any two points of the ball.
    * shells: how many concentric shells the way to the edge is divided into (shells.falls), for bounds that have no
      centred constant and climb steeply with the radius; beside centred constants it has gained nothing so far.
    * linear: also bound undecided margins by linear functions, backwards through the network (linear_margins).
    * quadratic: then also by products of what the boxes say of every unstable unit, a semidefinite program for each
      margin; for dense layers and few unstable units, and without effect elsewhere (certificates.quadratic).
    * outward: enclose what float64 rounding can cost in boxes, norms and margins (Certificate.bound.arithmetic).
    * What the ball can take of a margin is the smaller of eps times the constant of f_y − f_j and the largest change of
      the last layer over the hidden units' ball cut by their box (margins.largest_change).

    A tie, a NaN or an overflow does not certify. Raises InvalidInput for a bound that is not of kind "upper".
    """
    names = check_function("bound", bound, "net, x, eps", "pass ll.local_bound itself")
    center = check_input(net, x)
    radius = check_eps(eps, center)
    with torch.no_grad(), outward_rounding(outward):
        blocks = read(net, x)
        values = at_center(blocks, Center.exact(center))
        y = check_labels(y, len(x), values[-1].value.shape[1], center.device)
        offered = {"centred": True} if centred and "centred" in names else {}
        found = bound(net, x, eps, **offered)
        check_bound(found, radius, blocks, center, values[-1].value)
        fall, radii = None, shell_radii(radius, shells)
        if shells > 1:
            fallen, each = falls(bound, net, x, y, radii)
            repeated = (part.repeat_interleave(shells, dim=0) for part in (center, values[-1].value))
            check_bound(each, radii.flatten(), blocks, *repeated)
            fall, spent = fallen[:, -1], found.failure_probability + each.failure_probability
            found = replace(found, failure_probability=spent)
        margin, worst = worst_margins(found, values, y, radius, fall)
        own = own_class(margin, y)
        for further in (raised,) * linear + (raised_by_products,) * quadratic:
            asked = ~own & ~(worst > 0) & (margin > 0).all(dim=1, keepdim=True)
            worst = further(worst, asked, found, center, values[-1], y)
        proved = (worst > 0) & worst.isfinite()  # a logit that is not finite leaves no finite margin to any other
        return Certificate((proved | own).all(dim=1), margin.amin(dim=1), worst.amin(dim=1), radius, found)


def worst_margins(
    found: Bound, values: list[Center], y: Tensor, radius: Tensor, fall: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The margins f_y − f_j at the points, and lower bounds of them over the balls: (batch, classes) each.

    values: the outputs of every block at the points. fall: (batch, classes), how far the margins can fall by what else
    is known. What the bound is worth, these margins are worth.
    """
    logits = values[-1]
    own, margin = own_class(logits.value, y), margins(logits.value, y)
    needed = (margin / radius[:, None]).masked_fill(own, torch.inf).nan_to_num(nan=torch.inf) * (1 - NEAR)
    pairwise = found.pairwise(y, needed if found.between == CENTRED else None)
    change = inflated(product_above(radius[:, None], pairwise))
    if len(found.blocks) > 1 and found.blocks[-2].output.upper.isfinite().any():
        change = torch.fmin(change, _last_layer_change(found, values[-2], y, radius))
    if fall is not None:
        change = torch.fmin(change, fall)
    return margin, margin - inflated(change.masked_fill(own, 0.0) + margin_error(logits, margin, y), 8)


def _last_layer_change(found: Bound, hidden: Center, y: Tensor, radius: Tensor) -> Tensor:
    """How far f_j − f_y can rise while the last hidden units move in their ball and in their box: (batch, classes)."""
    last, before = found.blocks[-1].linear, found.blocks[-2]
    root = before.slope.flatten(1).sqrt()
    value, error = hidden.value.flatten(1), hidden.doubt.flatten(1)
    # A unit moves by the root of its slope times its share of the ball.
    error = error + enclosed(8 * unit(value) * value.abs())
    below, above = (
        torch.where(root > 0, (limit + error) * (1 + 8 * unit(value)) / root, 0.0)
        for limit in (value - before.output.lower.flatten(1), before.output.upper.flatten(1) - value)
    )
    ball = inflated(product_above(radius, found.hidden()))
    change = []
    for part in torch.arange(len(y), device=y.device).split(max(1, ENTRIES // last.weight.numel())):
        direction = times_root(last.weight - last.weight[y[part], None, :], root[part, None, :])
        change.append(largest_change(direction, ball[part], below=below[part], above=above[part]))
    rounding = product_above(ball, 2 * matrix_slack(last, torch.ones_like(root[:, :1]), root.square()))
    return torch.cat(change) * (1 + 8 * gamma(last.columns, root)) + rounding[:, None]
