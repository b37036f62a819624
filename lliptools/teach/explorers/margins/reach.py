"""How far margins last by a Lipschitz constant: one that a bound proves, the exact one, or one that is assumed."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, exact_bound, global_bound, local_bound
from lliptools.certificates.certificate import BoundFunction, certify
from lliptools.certificates.radius import certified_radius, narrowed
from lliptools.digits import round_up
from lliptools.errors import InvalidInput, UnsupportedLayer

ASSUMED = "assumed"
NAMES = {"global": "global bound", "local": "local bound", "exact": "exact constant"}
TRIALS = 32  # radii that are tried together
PRECISION = 1e-4  # relative, of a radius that is searched for


@dataclass(frozen=True, eq=False)
class Reach:
    """How far margins last by a Lipschitz constant.

    * name: "global", "local", "exact" or ASSUMED
    * constant: L of the whole network
    * pairwise: (classes,) constants of f_y − f_j, NaN where they are not known
    * eps: radius of the ball on which they hold
    * radius: of the disc that follows
    * certified: whether lliptools.certify holds on it by this constant
    * note: what is to be said of it
    """

    name: str
    constant: float
    pairwise: Tensor
    eps: float
    radius: float
    certified: bool
    note: str = ""


def by_bound(net: nn.Module, x: Tensor, y: Tensor, margin: Tensor, name: str) -> Reach:
    """The largest disc that the global, the local or the exact bound certifies: x (1, *sample), y (1,)."""
    everywhere = global_bound(net, x)
    if not margin.min() > 0:
        return _reach(name, everywhere if name == "global" else local_bound(net, x, 0.0), y, 0.0)
    first = (margin / everywhere.pairwise(y)[0]).min()
    if name == "global":
        return _reach(name, everywhere, y, _largest_below(net, x, y, first, global_bound))
    if name == "exact":
        try:
            return _by_exact(net, x, y, margin)
        except (InvalidInput, UnsupportedLayer):
            local = by_bound(net, x, y, margin, "local")
            return replace(local, note="the exact search would be too long here: the local bound instead")
    low = _largest_below(net, x, y, first, local_bound)
    high = (margin / local_bound(net, x, 0.0).pairwise(y)[0]).min().double().cpu()[None]
    if 0 < low < math.inf and high.isfinite():
        known = torch.full_like(high, low)
        low = narrowed(lambda _, r: _holds(net, x, y, r, local_bound), known, high, PRECISION, trials=TRIALS).item()
    reach = _reach(name, local_bound(net, x, min(low, 1e300)), y, low)
    more = (margin / reach.pairwise).min().clamp(max=reach.eps) < low * (1 - 1e-6)
    return replace(reach, note="the last layer's box adds the rest") if more else reach


def by_assumption(net: nn.Module, x: Tensor, y: Tensor, margin: Tensor, constant: float, *, exact: bool) -> Reach:
    """What follows from a constant that is only assumed, and whether a bound proves it on the disc that follows."""
    smallest = margin.min().item()
    radius = max(0.0, smallest / (math.sqrt(2) * constant))
    assumed = Reach(ASSUMED, constant, torch.full_like(margin, torch.nan), math.inf, radius, False)
    bounds: dict[str, BoundFunction] = {"global": global_bound, "local": local_bound}
    bounds |= {"exact": exact_bound} if exact else {}
    proved, tightest = math.inf, "global"
    for name, bound in bounds.items() if smallest > 0 else ():
        try:
            certificate = certify(net, x, y, radius, bound=bound, centred=False)
        except (InvalidInput, UnsupportedLayer):
            continue
        value = certificate.bound.value.item()
        if value <= constant and certificate.holds.item():
            note = f"it is above the {NAMES[name]} {round_up(value)} on this disc, so that the theorem applies"
            return replace(assumed, certified=True, note=note)
        proved, tightest = min((proved, tightest), (value, name))
    note = f"an assumed L is not a certificate: the {NAMES[tightest]} on this disc is {round_up(proved)}"
    return replace(assumed, note=note) if smallest > 0 else assumed


def _by_exact(net: nn.Module, x: Tensor, y: Tensor, margin: Tensor) -> Reach:
    """The fixed point of r -> min_j margin_j / Lip(f_y − f_j on the ball of radius r), which falls with r."""

    def lasts(radius: float) -> float:
        return (margin / exact_bound(net, x, radius).pairwise(y)[0]).min().item()

    high = lasts(0.0)
    low, trial = 0.0, high
    for _ in range(12):
        if not (math.isfinite(high) and high - low > 1e-3 * high):
            break
        far = lasts(trial)
        low, high = max(low, min(far, trial)), min(high, max(far, trial))
        trial = low if trial != low and far != low else (low + high) / 2
    radius = _largest_below(net, x, y, torch.as_tensor(low), exact_bound)
    return _reach("exact", exact_bound(net, x, radius), y, radius)


def _reach(name: str, bound: Bound, y: Tensor, radius: float) -> Reach:
    return Reach(name, bound.value.item(), bound.pairwise(y)[0], bound.eps.item(), radius, radius > 0)


def _largest_below(net: nn.Module, x: Tensor, y: Tensor, reach: Tensor, bound: BoundFunction) -> float:
    """The largest radius, a little below a reach, that really certifies; 0 where none does."""
    if not (0 < reach < math.inf):
        return certified_radius(net, x, y, bound=bound, centred=False).item()
    radii = reach.double() * (1 - torch.tensor([1e-12, 1e-9, 1e-6, 1e-3], dtype=torch.float64, device=reach.device))
    return max(radii[_holds(net, x, y, radii, bound)].tolist(), default=0.0)


def _holds(net: nn.Module, x: Tensor, y: Tensor, radii: Tensor, bound: BoundFunction) -> Tensor:
    """Whether each radius certifies, in one batched call: (radii,) bool."""
    many = len(radii)
    found = certify(net, x.expand(many, *x.shape[1:]), y.expand(many), radii.to(x.device), bound=bound, centred=False)
    return found.holds.to(radii.device)
