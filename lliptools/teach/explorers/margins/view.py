"""How far a point can move before its label may change: margins, the constants that divide them, and the truth."""

import math

import torch
from torch import Tensor, nn

from lliptools.bounds import adversarial_distance, exact_bound, global_bound
from lliptools.certificates.margins import margins
from lliptools.digits import radius_text, round_down, round_up
from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets import check_input, forward, read_blocks
from lliptools.teach.explorers.margins.reach import ASSUMED, NAMES, by_assumption, by_bound
from lliptools.teach.shared.plane import Plane

SHOWN = 10  # classes that find room in a figure


class MarginView:
    """Margins of class y at one point x, (*sample), and how far they last by a constant.

    * constant: the bound of it, "global", "local" or "exact", or a number that is assumed
    * plane: the map of a network with two inputs
    * truth: also search for the exact distance, and for proofs that take as long
    * point, label: x and y. predicted: the class that wins
    * logits, margins: (classes,), the latter inf at the label
    * shown: classes in the order of a figure, the label first
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
        self.predicted = int(self.logits.argmax())
        exact = truth and plane is not None and bool(margin.min() > 0)
        if isinstance(constant, str):
            self.reach = by_bound(net, batch, label, margin, constant)
        else:
            self.reach = by_assumption(net, batch, label, margin, constant, exact=exact)
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
        """One of "certified", "not certified", "refuted" (the disc holds a point of another class), "misclassified"."""
        if not self.margin > 0:
            return "misclassified"
        if self.reach.certified:
            return "certified"
        return "refuted" if self.reach.radius > self.distance * (1 + 1e-9) else "not certified"

    def summary(self) -> tuple[str, str]:
        """Two lines: the margin, and how far it lasts."""
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
        words = {
            "certified": f"certified radius {radius}",
            "not certified": f"not certified: a disc of radius {self.reach.radius:.4g} that nothing proves",
            "refuted": f"refuted: the disc of radius {self.reach.radius:.4g} holds a point of another class",
            "misclassified": f"class {self.label} does not win here: nothing to certify",
        }
        far.append(words[self.status])
        far += [f"true distance {self.distance:.4g}"] if math.isfinite(self.distance) else []
        far += [self.reach.note] if self.reach.note else []
        return " · ".join(seen), " · ".join(far)


def checked(net: nn.Module, x: Tensor) -> tuple[float, int]:
    """The global bound and the number of classes; raises InvalidInput for points that do not fit."""
    found = global_bound(net, x[:1])
    return found.value.item(), found.blocks[-1].slope.shape[1]


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
