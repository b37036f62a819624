"""Certificates: what a bound proves about a label."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lliptools.attacks import is_correct, pgd
from lliptools.bounds import Bound, global_bound, local_bound
from lliptools.bounds.checks import check_eps, check_labels
from lliptools.bounds.record import product_above
from lliptools.errors import InvalidInput
from lliptools.margins import margins, own_class
from lliptools.nets import check_input, forward, read_blocks

__all__ = ["AccuracyTable", "Certificate", "certified_accuracy", "certified_radius", "certify"]

LARGEST = 1e300
Rung = Callable[[nn.Module, Tensor, float | Tensor], Bound]


@dataclass(frozen=True, eq=False)
class Certificate:
    """Whether the label is proved constant on the ball of radius eps, point by point.

    holds: (batch,) bool; True says that class y strictly beats every other class on the whole closed ball.
    margin: (batch,) smallest f_y − f_j over j ≠ y at the point itself.
    worst_margin: (batch,) lower bound of that margin over the ball; holds where it is above 0.
    eps: (batch,). bound: the Bound it rests on, with its kind, failure probability and arithmetic.
    """

    holds: Tensor
    margin: Tensor
    worst_margin: Tensor
    eps: Tensor
    bound: Bound


def certify(net: nn.Module, x: Tensor, y: Tensor, eps: float | Tensor, bound: Rung = local_bound) -> Certificate:
    """Certify labels: for every class j ≠ y, (f_y − f_j)(x) − eps · Lip(f_y − f_j) > 0, strictly.

    x: (batch, *sample), y: (batch,) integers, eps: a number or (batch,), in the units of x.
    A tie, a NaN or an overflow does not certify. Raises InvalidInput for a bound that is not of kind "upper".
    """
    if not callable(bound):
        raise InvalidInput(
            expected="bound as a function (net, x, eps) -> Bound",
            got=type(bound).__name__,
            cause="a name, or a Bound that was computed already",
            next_step="pass lliptools.local_bound itself",
        )
    center = check_input(net, x)
    radius = check_eps(eps, center)
    with torch.no_grad():
        logits = forward(read_blocks(net, x.shape[1:]), center)
        y = check_labels(y, len(x), logits.shape[1], x.device)
        found = bound(net, x, eps)
        if not (found.eps >= radius).all():
            raise InvalidInput(
                expected=f"a bound on the ball of radius {radius.max().item():g}",
                got=f"one on a ball of radius {found.eps.min().item():g}",
                cause="a rung that changed eps",
                next_step="return the bound for the radius that was asked for",
            )
        if found.kind != "upper":
            raise InvalidInput(
                expected='a bound of kind "upper"',
                got=f'kind "{found.kind}"',
                cause="a norm that converges from below, as power iteration does, or a stage without its mark",
                next_step="use lliptools.local_bound with its own norm, or mark a sound stage by bounds.errs",
            )
        own, margin = own_class(logits, y), margins(logits, y)
        worst = margin - product_above(radius[:, None], found.pairwise(y)).masked_fill(own, 0.0)
        proved = (worst > 0) & worst.isfinite()  # a logit that is not finite leaves no finite margin to any other
        return Certificate(
            holds=(proved | own).all(dim=1),
            margin=margin.amin(dim=1),
            worst_margin=worst.amin(dim=1),
            eps=radius,
            bound=found,
        )


def certified_radius(
    net: nn.Module, x: Tensor, y: Tensor, bound: Rung = local_bound, *, tolerance: float = 1e-6
) -> Tensor:
    """Largest radius at which each point certifies, by bisection: x (batch, *sample), y (batch,) -> (batch,).

    A finite radius that is returned was itself certified, and is within the relative tolerance of the largest one, or
    is 1e300, beyond which none is tried. It is 0 where class y does not strictly win at the point, inf where the global
    bound of every f_y − f_j is 0.
    Raises InvalidInput for a bound that is not of kind "upper" and for a tolerance out of range.
    """
    if not isinstance(tolerance, float) or not 1e-12 <= tolerance < 1:
        raise InvalidInput(
            expected="a relative tolerance from 1e-12 to below 1",
            got=f"{tolerance}",
            cause="an absolute tolerance, or a percentage",
            next_step="leave it at 1e-6",
        )
    here = certify(net, x, y, 0.0, bound=bound)
    constants = global_bound(net, x).pairwise(y)
    with torch.no_grad():
        logits = forward(read_blocks(net, x.shape[1:]), check_input(net, x))
        margin = margins(logits, y.to(logits.device, torch.int64))
        reach = (margin / constants).amin(dim=1)  # the radius by the global bound
        nearest = (margin / here.bound.pairwise(y)).amin(dim=1)  # more than the radius by any other
    certified = torch.where(here.holds & (constants == 0).all(dim=1), torch.inf, 0.0).to(reach)
    refuted = torch.full_like(reach, torch.inf)
    below, above = reach * (1 - tolerance / 4), reach * (1 + tolerance / 4)
    trial = torch.where(reach > 0, below, nearest)
    growth = torch.full_like(reach, 2.0)
    for _ in range(200):
        open_ = here.holds & (certified < LARGEST) & trial.isfinite() & (trial > 0)
        open_ &= refuted - certified > tolerance * certified
        index = open_.nonzero()[:, 0]
        if not len(index):
            break
        holds = certify(net, x[index], y[index], trial[index], bound=bound).holds
        certified[index] = torch.where(holds, trial[index], certified[index])
        refuted[index] = torch.where(holds, refuted[index], trial[index])
        further = torch.where(certified < above, above, growth * certified)
        growth = torch.where(certified < above, growth, growth.square())
        # Halfway, and while the two are of different orders of magnitude, halfway between those.
        middle = torch.where(refuted > 4 * certified, certified.sqrt() * refuted.sqrt(), (certified + refuted) / 2)
        middle = torch.where(certified > 0, middle, refuted / 2)
        trial = torch.where(refuted.isfinite(), middle, further.clamp_max(LARGEST))
    return certified


@dataclass(frozen=True)
class AccuracyTable:
    """Fractions of correct labels at radius eps: certified ≤ attacked ≤ clean."""

    eps: float
    clean: float
    attacked: float
    certified: float

    def __str__(self) -> str:
        """One line."""
        return (
            f"eps = {self.eps:g}: clean {self.clean:.4f}, attacked (PGD) {self.attacked:.4f}, "
            f"certified {self.certified:.4f}"
        )


def certified_accuracy(net: nn.Module, x: Tensor, y: Tensor, eps: float, bound: Rung = local_bound) -> AccuracyTable:
    """Clean, attacked and certified accuracy at one finite radius: x (batch, *sample), y (batch,), eps a number."""
    attacked = is_correct(net, pgd(net, x, y, eps), y)
    certified = certify(net, x, y, eps, bound=bound).holds
    clean = is_correct(net, x, y)
    return AccuracyTable(eps, *(fraction.double().mean().item() for fraction in (clean, attacked, certified)))
