"""How far a point can move before its label may change: margins, the constants that divide them, and the truth."""

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, adversarial_distance, exact_bound, global_bound, local_bound
from lliptools.certificates.certificate import BoundFunction, certify
from lliptools.certificates.margins import margins
from lliptools.certificates.radius import certified_radius
from lliptools.digits import radius_text, round_down, round_up
from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets import check_input, forward, read_blocks
from lliptools.teach.shared.efforts import certified_at, largest_radius
from lliptools.teach.shared.plane import Plane

SHOWN = 10  # classes that find room in a figure
ASSUMED = "assumed"
NAMES = {"global": "global bound", "local": "local bound", "exact": "exact constant", "centred": "centred local bound"}
PRECISION = 1e-4  # relative, of a radius that is searched for


@dataclass(frozen=True, eq=False)
class Reach:
    """How far margins last by a Lipschitz constant.

    * name: "global", "local", "centred", "exact" or ASSUMED
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


class MarginView:
    """Margins of class y at one point x, (*sample), and how far they last by a constant.

    * constant: the bound of it, "global", "local", "centred" (of the centre and any point) or "exact", or a number that
      is assumed
    * plane: the map of a network with two inputs
    * truth: also search for the exact distance, and for proofs that take as long
    * point, label: x and y. predicted: the class that wins
    * logits, margins: (classes,), the latter inf at the label
    * shown: classes in the order of a figure, the label first
    * by_global: (classes,) margin_j / Lip(f_y − f_j) by the global bound
    * by_pair, by_norm: (classes,) distances within which class j cannot catch up, margin_j / Lip(f_y − f_j) and
      margin_j / (√2 L), 0 where it is ahead
    * distance, nearest: the exact distance to the nearest point where the label does not win, and that point; NaN and
      None where they are not known
    """

    def __init__(
        self,
        net: nn.Module,
        x: Tensor,
        y: int,
        constant: str | float = "global",
        plane: Plane | None = None,
        *,
        truth: bool = True,
    ) -> None:
        self.point, self.label, self.plane = x, y, plane
        batch, label = x[None], torch.tensor([y], device=x.device)
        self.logits = forward(read_blocks(net, x.shape), check_input(net, batch)).detach()[0]
        self.margins = margin = margins(self.logits[None], label)[0]
        self.predicted, everywhere = int(self.logits.argmax()), global_bound(net, batch)
        self.by_global = torch.where(margin > 0, margin / everywhere.pairwise(label)[0], 0.0)
        exact = truth and plane is not None and bool(margin.min() > 0)
        if isinstance(constant, str):
            self.reach = _by_bound(net, batch, label, margin, everywhere, constant)
        else:
            self.reach = _by_assumption(net, batch, label, margin, constant, exact=exact)
        self.distance, self.nearest = math.nan, None
        if exact and plane is not None:
            self.distance, self.nearest = _true_distance(net, batch, label, plane)
        pairwise = self.reach.pairwise
        by_pair = torch.where(margin > 0, margin / pairwise, pairwise.clamp(max=0.0))
        by_norm = torch.where(margin > 0, margin / (math.sqrt(2) * self.reach.constant), 0.0)
        self.by_pair, self.by_norm = (
            torch.where(margin.isinf(), torch.inf, far.clamp(max=self.reach.eps)) for far in (by_pair, by_norm)
        )
        self.shown = (y, *sorted([j for j in margin.argsort().tolist() if j != y][: SHOWN - 1]))

    @property
    def margin(self) -> float:
        """The smallest margin."""
        return self.margins.min().item()

    @property
    def status(self) -> str:
        """One of "certified", "not certified", "refuted" (another class has a point in the disc), "misclassified"."""
        if not self.margin > 0:
            return "misclassified"
        if self.reach.certified:
            return "certified"
        return "refuted" if self.reach.radius > self.distance * (1 + 1e-9) else "not certified"

    def summary(self) -> tuple[str, ...]:
        """How far the label is safe in a sentence; then the margin, and what divides it."""
        rival = int(self.margins.argmin())
        seen = [f"class {self.label}, predicted {self.predicted}", f"margin {self.margin:.4g} over class {rival}"]
        if self.point.numel() == 2:
            seen.insert(0, "point ({:.4g}, {:.4g})".format(*self.point.tolist()))
        constant, radius = round_up(self.reach.constant), round_down(self.reach.radius)
        loose = self.by_norm.min().item()
        if self.reach.name == ASSUMED:
            far = [f"assumed L = {self.reach.constant:.4g}", f"margin/(√2 L) = {loose:.4g}"]
        else:
            where = "" if math.isinf(self.reach.eps) else f" on the ball of radius {radius_text(self.reach.eps)}"
            far = [f"L = {constant}, {NAMES[self.reach.name]}{where}", f"margin/(√2 L) = {round_down(loose)}"]
            far.append(f"min margin_j/Lip(f_y − f_j) = {round_down(self.by_pair.min().item())}")
        far += [f"true distance {self.distance:.4g}"] if math.isfinite(self.distance) else []
        far += [self.reach.note] if self.reach.note else []
        return self._verdict(constant, radius), " · ".join(seen), " · ".join(far)

    def _verdict(self, constant: str, radius: str) -> str:
        name, assumed = NAMES.get(self.reach.name, "assumed"), self.reach.name == ASSUMED
        by = f"an assumed L = {self.reach.constant:.4g}" if assumed else f"the {name} L ≤ {constant}"
        far = f"within {self.reach.radius:.4g} by {by}"
        truth = f"; the truth is {self.distance:.4g}" if math.isfinite(self.distance) else ""
        loses = "ties" if self.predicted == self.label else f"loses to class {self.predicted}"
        return {
            "certified": f"Class {self.label} is certified within {radius} by {by}{truth}.",
            "not certified": f"Nothing proves class {self.label} {far}{truth}.",
            "refuted": f"Another class lies {far}{truth}: refuted.",
            "misclassified": f"Class {self.label} {loses} here: nothing to certify.",
        }[self.status]


def is_exact(net: nn.Module, x: Tensor) -> bool:
    """Whether the exact search reads the network."""
    try:
        exact_bound(net, x, 0.0)
    except (InvalidInput, UnsupportedLayer):
        return False
    return True


def predicted(net: nn.Module, x: Tensor) -> int:
    """The class that wins at the point x, (*sample)."""
    with torch.no_grad():
        return int(forward(read_blocks(net, x.shape), x[None].double()).argmax())


def _true_distance(net: nn.Module, x: Tensor, y: Tensor, plane: Plane) -> tuple[float, Tensor | None]:
    """Exact distance and nearest point, searched as far as the map shows another class."""
    across, up = plane.x0[None] - x[0, 0].item(), plane.x1[:, None] - x[0, 1].item()
    others = torch.hypot(across, up)[plane.classes != y.item()]
    if not len(others):
        return math.nan, None
    try:
        distance, nearest = adversarial_distance(net, x, y, others.min().item() * (1 + 1e-9) + 1e-12)
    except (InvalidInput, UnsupportedLayer):
        return math.nan, None
    return distance.item(), nearest[0]


def _by_bound(net: nn.Module, x: Tensor, y: Tensor, margin: Tensor, everywhere: Bound, name: str) -> Reach:
    """The largest disc that the global, the local or the exact bound certifies: x (1, *sample), y (1,)."""
    if not margin.min() > 0:
        return _reach(name, everywhere if name == "global" else local_bound(net, x, 0.0), y, 0.0)
    first = (margin / everywhere.pairwise(y)[0]).min().item()
    if name == "global":
        return _reach(name, everywhere, y, _largest(net, x, y, first, global_bound))
    if name == "exact":
        try:
            return _by_exact(net, x, y, margin)
        except (InvalidInput, UnsupportedLayer):
            local = _by_bound(net, x, y, margin, everywhere, "local")
            return replace(local, note="the exact search would be too long here: the local bound instead")
    bound = partial(local_bound, centred=name == "centred")
    low = _largest(net, x, y, first, bound, (margin / bound(net, x, 0.0).pairwise(y)[0]).min().item())
    reach = _reach(name, bound(net, x, min(low, 1e300)), y, low)
    more = (margin / reach.pairwise).min().clamp(max=reach.eps) < low * (1 - 1e-6)
    return replace(reach, note="the last layer's box adds the rest") if more else reach


def _by_assumption(net: nn.Module, x: Tensor, y: Tensor, margin: Tensor, constant: float, *, exact: bool) -> Reach:
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
    radius = _largest(net, x, y, low, exact_bound)
    return _reach("exact", exact_bound(net, x, radius), y, radius)


def _reach(name: str, bound: Bound, y: Tensor, radius: float) -> Reach:
    return Reach(name, bound.value.item(), bound.pairwise(y)[0], bound.eps.item(), radius, radius > 0)


def _largest(net: nn.Module, x: Tensor, y: Tensor, reach: float, bound: BoundFunction, last: float = math.inf) -> float:
    """The largest radius, a little below a reach, that really certifies, or one up to a finite last; 0 for none."""
    centred = isinstance(bound, partial) and bool(bound.keywords.get("centred"))
    if not (0 < reach < math.inf):
        return certified_radius(net, x, y, bound=bound, centred=centred).item()

    def certifies(radii: Tensor) -> Tensor:
        return certified_at(net, x, y, radii, bound, centred=centred).holds

    below = [reach * (1 - less) for less in (1e-3, 1e-6, 1e-9, 1e-12)]
    radii = torch.tensor([*below, *[last] * math.isfinite(last)], dtype=torch.float64, device=x.device)
    return largest_radius(certifies, radii, certifies(radii), PRECISION)[0]
