"""A second opinion: it tries to refute certificates and Lipschitz bounds, and shares no code with what issued them.

It knows a network by net(x) and its gradients, and where it can in exact arithmetic too. The points of a refutation lie
in the ball, which is decided exactly, and what they show is exact, or far more than rounding does (Oracle.rounding).
"""

import math
from collections import namedtuple
from copy import deepcopy
from fractions import Fraction

import numpy as np
import torch
from exact import Chain, Exact
from torch import Tensor, nn

ENDLESS, LARGEST = 1e6, 1e300  # stand for an infinite radius in floating point, and exactly
STEPS = (2.0, 1.0, 0.7, 0.4, 0.25, 0.15, 0.1, 0.05, 0.02, 0.0)  # of an attack, in radii
LENGTHS = (2.0, 0.3, 1e-2, 1e-4)  # of segments whose slope is measured, in radii
RESTARTS, SAMPLES, RAYS = 6, 64, 2


# Claim number `row` is false: found is a margin <= 0 at a point of its ball, or a slope > claimed between two of them.
Refutation = namedtuple("Refutation", ("row", "what", "found", "claimed", "points"))


class Oracle:
    """What can be said against claims about one network, which come in rows: points x (rows, *sample), eps (rows,)."""

    def __init__(self, net: nn.Module, sample: Tensor, seed: int = 0) -> None:
        self.net = net
        self.double = net if all(p.dtype == torch.float64 for p in net.parameters()) else deepcopy(net).double()
        self.random = torch.Generator().manual_seed(seed)
        x = sample[:1].double() + torch.randn(1, *sample.shape[1:], generator=self.random, dtype=torch.float64)
        try:  # in exact arithmetic, which is taken for the network's own where both give the same answer
            chain = Chain(self.double, x)
            self.chain = chain if (norm(chain.answer - self(x)) <= self.rounding(x)).all() else None
        except (ValueError, OverflowError):
            self.chain = None

    def __call__(self, p: Tensor) -> Tensor:
        """What the network answers in float64: (points, outputs)."""
        return self.double(p.clone()).flatten(1)

    @torch.no_grad()
    def rounding(self, p: Tensor, net: nn.Module | None = None) -> Tensor:
        """More than rounding does to all answers at p (points,): 64 times what the last digits of all numbers do."""
        net = net or self.double
        answer, moved = net(p.clone()).flatten(1), deepcopy(net)
        unit, worst = torch.finfo(answer.dtype).eps, torch.zeros_like(answer)
        tensors = list(zip((*net.parameters(), *net.buffers()), (*moved.parameters(), *moved.buffers()), strict=True))
        for _ in range(8):
            for tensor, changed in (*tensors, (p, q := p.clone())):
                sign = torch.randint(0, 2, tensor.shape, generator=self.random) * 2 - 1
                changed.copy_(tensor * (1 + unit * sign.to(answer.dtype)))
            worst = torch.maximum(worst, (moved(q).flatten(1) - answer).abs())
        return 64 * norm(worst + unit * answer.abs().amax(dim=1, keepdim=True))

    def towards(self, moves: Tensor, length: Tensor) -> Tensor:
        """Moves (rows, *sample) of such lengths in the directions of others, in random ones where those are 0."""
        flat = moves.flatten(1).nan_to_num(0, 0, 0)
        random = torch.randn(flat.shape, generator=self.random, dtype=torch.float64)
        flat = torch.where((flat != 0).any(dim=1, keepdim=True), flat, random)
        return (flat / norm(flat).clamp_min(1e-300)[:, None] * length[:, None]).view_as(moves)

    def gradient(self, values: Tensor, p: Tensor) -> Tensor:
        """Of values (points,) at p, or a random one where layers have changed what others kept for it."""
        try:
            return torch.autograd.grad(values.sum(), p, retain_graph=True)[0]
        except RuntimeError:
            return self.towards(0 * p, torch.ones(len(p), dtype=torch.float64))

    def attack(self, x: Tensor, y: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Lowest margins that descents within the balls meet, and the moves there: (rows,), (rows, *sample)."""
        rows, radius = len(x), eps.clamp_max(ENDLESS).repeat(RESTARTS) * (1 - 2**-40)
        x, y = torch.cat([x] * RESTARTS), y.repeat(RESTARTS)
        attempt, classes = torch.arange(len(x)) // rows, self(x[:1]).shape[1]
        target = ((y + 1 + attempt % max(1, classes - 1)) % classes)[:, None]
        moves = self.towards(0 * x, radius * (attempt > 0))
        best, found = torch.full((len(x),), math.inf, dtype=torch.float64), moves
        for step in STEPS:
            p = (x + moves).requires_grad_()
            margin = margins(self(p), y)
            lowest = margin.amin(dim=1)
            found = torch.where((lowest < best).view(-1, *[1] * (x.dim() - 1)), moves, found)
            best = torch.fmin(lowest, best).detach()
            lost = torch.where(attempt < classes - 1, margin.gather(1, target)[:, 0], lowest)
            moves = moves - self.towards(self.gradient(lost, p), step * radius)
            moves = self.towards(moves, torch.minimum(radius, norm(moves.flatten(1))))
        lowest = best.view(RESTARTS, rows).argmin(dim=0) * rows + torch.arange(rows)
        return best[lowest], found[lowest]

    def certificates(self, x: Tensor, y: Tensor, eps: Tensor, hints: Tensor) -> list[Refutation]:
        """Refute that class y strictly wins on the closed balls. hints: points to look at too, (rows, *sample)."""
        given, x, found = x, x.double(), []
        own = margins(self.net(given.clone()).flatten(1), y).amin(dim=1).detach()
        lowest, moves = self.attack(x, y, eps)
        hinted = margins(self(hints), y).amin(dim=1).detach()
        for i, radius in enumerate(eps.tolist()):
            if own[i] < 0 and own[i] < -2 * self.rounding(given[i : i + 1], self.net):
                found.append(Refutation(i, "label", own[i].item(), 0.0, (x[i],)))
            for p, margin in ((x[i] + moves[i], lowest[i]), (hints[i], hinted[i])):
                if margin < 0 and is_within(radius, p, -x[i]) and margin < -2 * self.rounding(p[None]):
                    found.append(Refutation(i, "margin", margin.item(), 0.0, (p,)))
        moves = self.towards(moves, eps.clamp_max(LARGEST) * (1 - 2**-40))
        for i in (lowest / own).nan_to_num(nan=math.inf).argsort()[:RAYS].tolist():
            for move in (moves[i], -moves[i]):
                for start, end, (a, b) in self.along(x[i], 0 * x[i], move, eps[i].item()):
                    for t in (start, end):
                        margin = np.delete((a + b * t)[y[i]] - (a + b * t), y[i]).min()
                        if margin <= 0:
                            p = x[i] + float(t) * move
                            found.append(Refutation(i, "exact margin", float(max(margin, -LARGEST)), 0.0, (p,)))
        return found

    def steepest(self, x: Tensor, y: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Where in the balls f and every f_y − f_j are steepest, and which way: moves (rows, 1 + outputs, *sample)."""
        many = torch.cat([x] * SAMPLES)
        share = torch.linspace(0, 1, SAMPLES, dtype=torch.float64).sqrt()[:, None]
        moves = self.towards(0 * many, (share * radius).flatten())
        p = (many + moves).requires_grad_()
        J = torch.stack([self.gradient(output, p).flatten(1) for output in self(p).T], dim=1)
        J = J.view(SAMPLES, len(x), J.shape[1], -1).nan_to_num(0, 0, 0)
        scaled = J / J.abs().amax(dim=(2, 3), keepdim=True).clamp_min(1e-300)
        whole = torch.linalg.eigh(scaled @ scaled.mT)[1][..., -1:].mT @ J
        rows = torch.arange(len(x))[:, None]
        ways = torch.cat([whole, J[:, rows[:, 0], y][:, :, None] - J], dim=2)
        best, ways[:, rows[:, 0], y + 1] = norm(ways).argmax(dim=0), whole[:1, :, 0]
        best[rows[:, 0], y + 1] = 0  # the line through the centre, in the place of f_y − f_y
        ways = ways[best, rows, torch.arange(best.shape[1])].flatten(0, 1)
        ways = self.towards(ways, radius.repeat_interleave(best.shape[1])).view(*best.shape, *x.shape[1:])
        return moves.view(SAMPLES, *x.shape)[best, rows], ways

    def slopes(self, x: Tensor, y: Tensor, eps: Tensor, value: Tensor, pairwise: Tensor) -> list[Refutation]:
        """Refute Lipschitz constants of the outputs (rows,) and of f_y − f_j (rows, outputs) on balls, eps > 0."""
        x, found, claimed = x.double(), [], torch.cat([value[:, None], pairwise], dim=1)
        moves, ways = self.steepest(x, y, eps.clamp_max(ENDLESS))
        for length in LENGTHS:
            near, step = moves * (1 - length / 2) - ways * (length / 2), ways * length * (1 - 2**-40)
            ends = x[:, None] + near, x[:, None] + near + step  # (rows, lines, *sample)
            one, two = (self(end.flatten(0, 1)).detach().view(*end.shape[:2], -1) for end in ends)
            distance = norm((ends[1] - ends[0]).flatten(2))[..., None]
            other = ((two - one)[torch.arange(len(x)), :, y][..., None] - (two - one)).abs()
            slopes = torch.cat([norm(two - one)[..., None], other], dim=2) / distance
            sure = slopes - 1e-15 * two.abs().amax(dim=2, keepdim=True) / distance
            worst, which = (sure / claimed[:, None]).nan_to_num(0).flatten(1).max(dim=1)
            lines, whats = which // claimed.shape[1], which % claimed.shape[1]
            for i in (worst > 1 + 1e-9).nonzero()[:, 0].tolist():
                pair, most = torch.stack([end[i, lines[i]] for end in ends]), claimed[i, whats[i]].item()
                slope = slopes[i, lines[i], whats[i]] - 2 * self.rounding(pair).sum() / distance[i, lines[i], 0]
                if slope > most and all(is_within(eps[i].item(), end, -x[i]) for end in pair):
                    found.append(Refutation(i, f"slope {whats[i]}", slope.item(), most, tuple(pair)))
            for i in worst.argsort(descending=True)[:RAYS].tolist() if length > 0.1 else ():
                near_i, step_i = near[i, lines[i]], step[i, lines[i]]
                long = (Exact.of(step_i.flatten()).fractions() ** 2).sum()
                for start, end, (_, b) in self.along(x[i], near_i, step_i, eps[i].item()):
                    for what, rate in enumerate([(b**2).sum(), *(b[y[i]] - b) ** 2]):
                        most = claimed[i, what].item()
                        if most < math.inf and rate > Fraction(most) ** 2 * long:
                            pair = tuple(x[i] + near_i + float(t) * step_i for t in (start, end))
                            slope = float(min(rate / long, LARGEST)) ** 0.5
                            found.append(Refutation(i, f"exact slope {what}", slope, most, pair))
        return found

    def along(self, x: Tensor, near: Tensor, step: Tensor, radius: float) -> list[tuple]:
        """The exact pieces from x + near to x + near + step, if the network has them and the ball holds both ends."""
        if self.chain is None or not (is_within(radius, near) and is_within(radius, near, step)):
            return []
        return list(self.chain.pieces(Exact.of(x.flatten()) + Exact.of(near.flatten()), Exact.of(step.flatten())))


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """f_y − f_j for every class j, inf for j = y: (rows, classes)."""
    return (logits.gather(1, y[:, None]) - logits).scatter(1, y[:, None], math.inf)


def norm(v: Tensor) -> Tensor:
    """Euclidean length along the last axis, at every scale."""
    size = v.abs().amax(dim=-1).clamp_min(1e-300)
    return (v / size[..., None]).norm(dim=-1) * size


def is_within(radius: float, *parts: Tensor) -> bool:
    """Whether the sum of the parts is no longer than the radius, decided exactly."""
    if not all(part.isfinite().all() for part in parts):
        return False
    first, *others = (Exact.of(part.flatten()) for part in parts)
    return radius == math.inf or (sum(others, first).fractions() ** 2).sum() <= Fraction(radius) ** 2
