"""The largest radius that a bound certifies, point by point."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lliptools.bounds import global_bound, local_bound
from lliptools.bounds.reading import read, reads_once
from lliptools.certificates.certificate import BoundFunction, certify
from lliptools.certificates.margins import falls, margins, own_class, shell_radii, sure_margins
from lliptools.domains.center import Center, at_center
from lliptools.nets import check_input, forward
from lliptools.nets.calls import options_checked
from lliptools.nets.checks import check_tolerance
from lliptools.norms.rounding import outward_rounding

LARGEST = 1e300
SPENT = 1e-9  # of a radius, for the rounding on the march
ROUNDS = 200
Holds = Callable[[Tensor, Tensor], Tensor]  # numbers of points (count,), a radius for each (count,) -> (count,) bool


@options_checked
@reads_once
def certified_radius(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    bound: BoundFunction = local_bound,
    *,
    centred: bool = True,
    shells: int = 1,
    linear: bool = False,
    tolerance: float = 1e-6,
) -> Tensor:
    """Largest radius at which each point certifies, by bisection: x (batch, *sample), y (batch,) -> (batch,).

    * A finite radius was itself certified, and is within the relative tolerance of the largest one (or within that of a
      probabilistic norm), or is 1e300, beyond which none is tried.
    * It is 0 where class y does not strictly win at the point, inf where the global bound of every f_y − f_j is 0.
    * With a probabilistic norm each of some 20 trials fails with the probability of one certificate.
    * centred, linear: as of certify. shells: then march outwards to twice that radius, as long as margins are left.

    Raises InvalidInput for a bound that is not of kind "upper" and for a tolerance out of range.
    """
    check_tolerance(tolerance)
    shell_radii(torch.ones(1), shells)
    if shells > 1:
        whole = certified_radius(net, x, y, bound, centred=centred, linear=linear, tolerance=tolerance)
        return _marched(net, x, y, bound, whole, shells)
    here = certify(net, x, y, 0.0, bound=bound, centred=centred)
    # Enclosed too: a constant whose rounded value is 0 need not be 0, and then the radius is finite.
    with torch.no_grad(), outward_rounding():
        constants = global_bound(net, x).pairwise(y)
        logits = forward(read(net, x), check_input(net, x))
        margin = margins(logits, y.to(logits.device, torch.int64))
        by_global = (margin / constants).amin(dim=1)
        nearest = (margin / here.bound.pairwise(y)).amin(dim=1)  # more than the radius by any bound

    def holds(index: Tensor, radius: Tensor) -> Tensor:
        return certify(net, x[index], y[index], radius, bound=bound, centred=centred, linear=linear).holds

    known = torch.where(here.holds & (constants == 0).all(dim=1), torch.inf, 0.0).to(by_global)
    below, above = by_global * (1 - tolerance / 4), by_global * (1 + tolerance / 4)
    trial = torch.where(here.holds, torch.where(by_global > 0, below, nearest), 0.0)
    return narrowed(holds, *_bracketed(holds, known, trial, above), tolerance)


@torch.no_grad()
@outward_rounding()
def _marched(net: nn.Module, x: Tensor, y: Tensor, bound: BoundFunction, whole: Tensor, shells: int) -> Tensor:
    """The radius at which the first margin is spent by shells up to twice a certified one, or that one: (batch,).

    Between two shells the rest of a margin is spent at the constant of the outer one, which is no smaller than those
    further in: at 1 − δ of the radius at most 1 − δ of the margin is spent.
    """
    index = ((whole > 0) & (whole < LARGEST)).nonzero()[:, 0]
    if not len(index):
        return whole
    x, y = x[index], y.to(whole.device, torch.int64)[index]
    radii = shell_radii(2 * whole[index], shells)
    center, blocks = check_input(net, x), read(net, x)
    logits = at_center(blocks, Center.exact(center))[-1]
    fall, _ = falls(bound, net, x, y, radii, blocks, center, logits.value)
    left = sure_margins(logits, y)
    first = (fall < left[:, None]).to(torch.int64).cumprod(dim=1).sum(dim=1)  # shells that are crossed whole
    fall, radii = (torch.nn.functional.pad(part, pad) for part, pad in ((fall, (0, 0, 1, 0)), (radii, (1, 0))))
    inside, outside = (k.clamp_max(shells) for k in (first, first + 1))
    before, after = (fall.gather(1, k[:, None])[:, 0] for k in (inside, outside))
    start, end = (radii.gather(1, k) for k in (inside, outside))
    share = torch.where(after > before, (left - before) / (after - before), 1.0).clamp(0.0, 1.0)
    spent = ((1 - SPENT) * (start + share * (end - start))).nan_to_num(nan=0.0)
    spent = spent.masked_fill(own_class(left, y), torch.inf).amin(dim=1)
    return whole.index_put((index,), torch.maximum(whole[index], torch.minimum(spent, radii[:, -1])))


def _bracketed(holds: Holds, certified: Tensor, trial: Tensor, then: Tensor) -> tuple[Tensor, Tensor]:
    """A radius that holds and one that does not, (points,) each, by steps outward that grow.

    trial: the first radius; nothing is searched unless it is finite and above 0. then: the second, if it is larger.
    """
    searched = (certified < LARGEST) & trial.isfinite() & (trial > 0)
    refuted, growth = torch.where(searched, torch.inf, certified), torch.full_like(certified, 2.0)
    while len(index := ((certified < LARGEST) & refuted.isinf()).nonzero()[:, 0]):
        held = holds(index, trial[index])
        certified[index] = torch.where(held, trial[index], certified[index])
        refuted[index] = torch.where(held, refuted[index], trial[index])
        trial = torch.where(certified < then, then, growth * certified).clamp_max(LARGEST)
        growth = torch.where(certified < then, growth, growth.square())
    return certified, refuted


def narrowed(
    holds: Holds, certified: Tensor, refuted: Tensor, tolerance: float, *, trials: int = 1, least: float = 0.0
) -> Tensor:
    """The largest radius that holds between two, (points,) each, to the relative tolerance; it was itself tried.

    refuted: inf where nothing is sought. trials: of a point at once. least: what is refuted down to it is left.
    """
    certified, refuted = certified.clone(), refuted.clone()
    share = torch.arange(1, trials + 1, dtype=certified.dtype, device=certified.device) / (trials + 1)
    for _ in range(ROUNDS):
        wide = refuted - certified > tolerance * certified
        index = (wide & refuted.isfinite() & (refuted > least)).nonzero()[:, 0]
        low, high = certified[index, None], refuted[index, None]
        # Evenly, and while the two are of different orders of magnitude, evenly between those.
        orders = (low > 0) & (high > 4 * low)
        between = torch.where(orders, low ** (1 - share) * high**share, (1 - share) * low + share * high)
        inside = ((between > low) & (between < high)).all(dim=1)
        index, low, between, high = index[inside], low[inside], between[inside], high[inside]
        if not len(index):
            break
        held = holds(index.repeat_interleave(trials), between.flatten()).view(between.shape)
        tried = torch.cat([low, between, high], dim=1)
        count = held.long().cumprod(dim=1).sum(dim=1, keepdim=True)  # of those that hold before the first that does not
        certified[index] = tried.gather(1, count)[:, 0]
        refuted[index] = tried.gather(1, count + 1)[:, 0]
    return certified
