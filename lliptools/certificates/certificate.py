"""Certificates: what a bound proves about a label."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, local_bound, round_down
from lliptools.bounds.reading import read, reads_once
from lliptools.certificates.linear import raised
from lliptools.certificates.margins import check_bound, falls, own_class, shell_radii, worst_margins
from lliptools.certificates.quadratic import raised_by_products
from lliptools.domains.center import Center, at_center
from lliptools.nets import check_input
from lliptools.nets.calls import check_function, options_checked
from lliptools.nets.checks import check_eps, check_labels
from lliptools.norms.rounding import outward_rounding

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
    * shells: how many concentric shells the way to the edge is divided into (margins.falls), for bounds that have no
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
            fallen, each = falls(bound, net, x, y, radii, blocks, center, values[-1].value)
            fall, spent = fallen[:, -1], found.failure_probability + each.failure_probability
            found = replace(found, failure_probability=spent)
        margin, worst = worst_margins(found, values, y, radius, fall)
        own = own_class(margin, y)
        for further in (raised,) * linear + (raised_by_products,) * quadratic:
            asked = ~own & ~(worst > 0) & (margin > 0).all(dim=1, keepdim=True)
            worst = further(worst, asked, found, center, values[-1], y)
        proved = (worst > 0) & worst.isfinite()  # a logit that is not finite leaves no finite margin to any other
        return Certificate((proved | own).all(dim=1), margin.amin(dim=1), worst.amin(dim=1), radius, found)
