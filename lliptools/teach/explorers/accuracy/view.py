"""Clean, attacked and certified accuracy of several networks on the same points, over all radii at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lliptools.bounds import BOUNDS
from lliptools.certificates.attacks import is_correct, pgd
from lliptools.certificates.radius import certified_radius
from lliptools.digits import radius_text
from lliptools.teach.shared.words import shortened

# What is known of a point at a radius. Unknown is what has not been computed yet.
CERTIFIED_POINT, UNPROVED_POINT, REFUTED_POINT, MISCLASSIFIED, UNKNOWN = range(5)
HALVINGS = 20  # of the way from a point to an adversarial one
TOLERANCE = 0.01  # relative, of certified radii: what is drawn of them was certified


@dataclass(frozen=True, eq=False)
class AccuracyView:
    """Several networks on the same labelled points.

    * names: of the networks
    * y: (points,)
    * broken: by network, (points,), a distance within which the attack has changed the label: 0 of a misclassified
      point, inf where it found nothing
    * certified: by network, (points,), the largest certified radius, NaN where it has not been computed yet
    """

    names: tuple[str, ...]
    y: Tensor
    broken: dict[str, Tensor] = field(default_factory=dict)
    certified: dict[str, Tensor] = field(default_factory=dict)

    def ready(self, name: str) -> bool:
        """Whether all certified radii of a network are there."""
        return name in self.certified and not bool(self.certified[name].isnan().any())

    def states(self, name: str, eps: float) -> Tensor:
        """What is known of every point at a radius, (points,): CERTIFIED_POINT, UNPROVED_POINT, …"""
        if name not in self.broken:
            return torch.full_like(self.y, UNKNOWN)
        broken = self.broken[name]
        radius = self.certified.get(name, torch.full_like(broken, torch.nan))
        found = torch.where(radius.isnan(), UNKNOWN, UNPROVED_POINT)
        found[(radius >= eps) & (radius > 0)] = CERTIFIED_POINT
        found[broken <= eps] = REFUTED_POINT
        found[broken == 0] = MISCLASSIFIED
        return found

    def accuracy(self, name: str, eps: float) -> tuple[float, float, float]:
        """Clean, attacked and certified accuracy at a radius; NaN what has not been computed yet."""
        if name not in self.broken:
            return torch.nan, torch.nan, torch.nan
        states, broken = self.states(name, eps), self.broken[name]
        clean = (states != MISCLASSIFIED).double().mean().item()
        attacked = (broken > eps).double().mean().item()
        certified = (states == CERTIFIED_POINT).double().mean().item() if self.ready(name) else torch.nan
        return clean, attacked, certified

    def curve(self, name: str, kind: str, eps_max: float) -> tuple[list[float], list[float]]:
        """Accuracy against radius from 0 to eps_max, a step at every point's own radius: kind certified or attacked."""
        radii = self.certified[name] if kind == "certified" else self.broken[name]
        steps, beyond = radii[(radii > 0) & (radii <= eps_max)].sort().values, int((radii > eps_max).sum())
        left = torch.arange(beyond + len(steps), beyond - 1, -1, dtype=torch.float64) / len(self.y)
        ends = torch.cat([steps, torch.tensor([eps_max]).to(steps)])
        starts = torch.cat([torch.zeros(1).to(steps), ends[:-1]])
        return torch.stack([starts, ends], dim=1).flatten().tolist(), left.repeat_interleave(2).tolist()

    def summary(self, name: str, eps: float, method: str) -> tuple[str, ...]:
        """What the chosen network keeps in a sentence; then the numbers of all networks at a radius, and its points."""
        lines = [f"ε = {radius_text(eps)} · certified by the {method} bound · {len(self.y)} points"]
        shares = {each: ["…" if a != a else f"{a:.3f}" for a in self.accuracy(each, eps)] for each in self.names}
        for each, (clean, attacked, certified) in shares.items():
            lines.append(f"{each}: clean {clean}, attacked {attacked}, certified {certified}")
        states = self.states(name, eps)
        words = ("certified", "not certified", "refuted", "misclassified", "not computed yet")
        counts = [f"{int((states == code).sum())} {word}" for code, word in enumerate(words) if (states == code).any()]
        clean, attacked, certified = shares[name]
        verdict = f"ε = {radius_text(eps)}, {shortened(name, 24)}: clean {clean}, attacked {attacked}, "
        verdict += f"certified {certified} ({method} bound)."
        return verdict, *lines, f"the points of {name}: {', '.join(counts)}"


def broken_at(net: nn.Sequential, x: Tensor, y: Tensor, radii: Sequence[float], *, steps: int = 20) -> Tensor:
    """A distance within which an attack changes each point's label, (points,): 0 where it is wrong, inf for none found.

    Projected gradient descent at each of the radii; an adversarial point is then brought as close as the line to it
    allows.
    """
    center = x.detach().double()
    distance = torch.where(is_correct(net, x, y), torch.inf, 0.0).double()
    for eps in radii:
        index = (distance > eps).nonzero()[:, 0]
        if not len(index):
            break
        here, label = center[index], y[index]
        near, far = here, pgd(net, here, label, eps, steps=steps, restarts=1)
        broken = ~is_correct(net, far, label)
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            held = is_correct(net, middle, label).reshape(-1, *[1] * (x.dim() - 1))
            near, far = torch.where(held, middle, near), torch.where(held, far, middle)
        length = torch.where(broken, (far - here).flatten(1).norm(dim=1), torch.inf)
        distance[index] = torch.minimum(distance[index], length)
    return distance


def attacked(net: nn.Module, x: Tensor, label: Tensor, eps: float) -> tuple[Tensor, int]:
    """One point, (*sample,), after an attack within eps, and the class that wins there; label: (1,)."""
    found = pgd(net, x[None].double(), label, eps)
    return found[0].to(x), int(net(found.to(x)).argmax())


def certified_radii(net: nn.Sequential, x: Tensor, y: Tensor, method: str, known: Tensor, count: int) -> Tensor:
    """known, (points,), with the next count of those filled in that are NaN, by the bound of that name."""
    index = known.isnan().nonzero()[:count, 0]
    filled = known.clone()
    if len(index):
        filled[index] = certified_radius(net, x[index], y[index], bound=BOUNDS[method], tolerance=TOLERANCE).to(known)
    return filled


def pictures(x: Tensor, count: int) -> Tensor:
    """The first points as grey pictures, (count, rows, columns), from 0 to 1. Channels are averaged."""
    x = x[:count].detach().double().cpu()
    if x.dim() == 4:
        x = x.mean(dim=1)
    elif x.dim() != 3:
        x = x.flatten(1)
        side = int(x.shape[1] ** 0.5 - 1e-9) + 1
        x = torch.nn.functional.pad(x, (0, side * side - x.shape[1]), value=torch.nan).reshape(-1, side, side)
    low, high = x.nan_to_num(nan=torch.inf).min(), x.nan_to_num(nan=-torch.inf).max()
    return (x - low) / (high - low).clamp_min(1e-300)
