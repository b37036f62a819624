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
# Numbers of points (count,), a radius for each (count,) -> how much is left there (count,): it holds where above 0.
Slack = Callable[[Tensor, Tensor], Tensor]


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
    """Largest radius at which each point certifies, searched for: x (batch, *sample), y (batch,) -> (batch,).

    * A finite radius was itself certified, and is within the relative tolerance of the largest one (or within that of a
      probabilistic norm), or is 1e300, beyond which none is tried.
    * It is 0 where class y does not strictly win at the point, inf where the global bound of every f_y − f_j is 0.
    * With a probabilistic norm each of some 15 to 30 trials fails with the probability of one certificate.
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

    def slack(index: Tensor, radius: Tensor) -> Tensor:
        found = certify(net, x[index], y[index], radius, bound=bound, centred=centred, linear=linear)
        return torch.where(found.holds, found.worst_margin, found.worst_margin.clamp_max(0.0))

    known = torch.where(here.holds & (constants == 0).all(dim=1), torch.inf, 0.0).to(by_global)
    below, above = by_global * (1 - tolerance / 4), by_global * (1 + tolerance / 4)
    trial = torch.where(here.holds, torch.where(by_global > 0, below, nearest), 0.0)
    return narrowed(slack, *_bracketed(slack, known, trial, above), tolerance)


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


def _bracketed(slack: Slack, certified: Tensor, trial: Tensor, then: Tensor) -> tuple[Tensor, Tensor]:
    """A radius that holds and one that does not, (points,) each, by steps outward that grow.

    trial: the first radius; nothing is searched unless it is finite and above 0. then: the second, if it is larger.
    """
    searched = (certified < LARGEST) & trial.isfinite() & (trial > 0)
    refuted, growth = torch.where(searched, torch.inf, certified), torch.full_like(certified, 2.0)
    while len(index := ((certified < LARGEST) & refuted.isinf()).nonzero()[:, 0]):
        held = slack(index, trial[index]) > 0
        certified[index] = torch.where(held, trial[index], certified[index])
        refuted[index] = torch.where(held, refuted[index], trial[index])
        trial = torch.where(certified < then, then, growth * certified).clamp_max(LARGEST)
        growth = torch.where(certified < then, growth, growth.square())
    return certified, refuted


def narrowed(
    slack: Slack, certified: Tensor, refuted: Tensor, tolerance: float, *, trials: int = 1, least: float = 0.0
) -> Tensor:
    """The largest radius that holds between two, (points,) each, to the relative tolerance; it was itself tried.

    refuted: inf where nothing is sought. trials: of a point at once. least: what is refuted down to it is left.
    """
    ends = torch.stack([certified, refuted], dim=1)
    slacks, allowed = torch.full_like(ends, torch.nan), torch.full_like(certified, torch.inf)
    even = torch.arange(1, trials + 1, dtype=ends.dtype, device=ends.device) / (trials + 1)
    for _ in range(ROUNDS):
        wide = (ends[:, 1] - ends[:, 0] > tolerance * ends[:, 0]) & ends[:, 1].isfinite() & (ends[:, 1] > least)
        index = wide.nonzero()[:, 0]
        low, high = ends[index].split(1, dim=1)
        width = (high / low).log().clamp_max(ROUNDS)  # which says no more than where to try
        allowed[index] = torch.minimum(allowed[index], 2 * width[:, 0]) / 2
        share = even if trials > 1 else _share(slacks[index], width, allowed[index, None], tolerance)
        between = torch.where(high < 4 * low, low * (high / low) ** share, low ** (1 - share) * high**share)
        between = torch.where(low > 0, between, even * high)
        inside = ((between > low) & (between < high)).all(dim=1)
        index, between = index[inside], between[inside]
        if not len(index):
            break
        found = slack(index.repeat_interleave(trials), between.flatten()).to(ends.dtype).view(between.shape)
        tried = torch.cat([ends[index, :1], between, ends[index, 1:]], dim=1)
        known = torch.cat([slacks[index, :1], found, slacks[index, 1:]], dim=1)
        count = (found > 0).long().cumprod(dim=1).sum(dim=1, keepdim=True)  # that hold before the first that does not
        pair = torch.cat([count, count + 1], dim=1)
        ends[index], slacks[index] = tried.gather(1, pair), known.gather(1, pair)
    return ends[:, 0]


def _share(slacks: Tensor, width: Tensor, allowed: Tensor, tolerance: float) -> Tensor:
    """Where to try next between two radii, on a logarithmic scale, 0 at the lower one: (points, 1).

    Where a line through both slacks (points, 2) crosses 0, and a little towards the middle, so that the farther end
    moves too; no farther from it than lets bisection catch up (Oliveira and Takahashi, An enhancement of the bisection
    method average performance preserving minmax optimality, 2020). In the middle where a slack is not known.
    """
    left, lack = slacks.split(1, dim=1)
    crossing = torch.where(slacks.isfinite().all(dim=1, keepdim=True), left / (left - lack), 0.5)
    most = torch.maximum(width.clamp_max(0.5) / 2, tolerance / (3 * width))
    share = crossing + torch.minimum(torch.maximum(0.5 - crossing, -most), most)
    reach = (allowed / width).clamp(0.5, 1.0)
    return torch.minimum(torch.maximum(share, 1 - reach), reach)
