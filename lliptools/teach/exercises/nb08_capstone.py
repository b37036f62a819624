"""The capstone of notebook 08: certify as much as possible of unseen networks; one refuted claim fails."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from time import perf_counter
from types import FrameType

import torch
from torch import Tensor, nn

from lliptools.bounds import global_bound, local_bound
from lliptools.certificates.attacks import pgd
from lliptools.certificates.margins import margins, smallest_margin
from lliptools.certificates.radius import certified_radius
from lliptools.teach.exercises.answers import ask, first, from_below, numbers
from lliptools.teach.exercises.exercise import Answer, Exercise, Outcome, Wrong, show
from lliptools.teach.exercises.unseen import Unseen, linear_layers, sizes, unseen_networks

__all__ = ["Capstone"]

SECONDS = 60.0
TIERS = 0.93, 0.945  # scores from which on an answer is in tier 2 and 3: no single certified_radius gets there
ROUNDING = 1 + 1e-9  # by which a radius may pass the distance that was computed


def _radii_by(constants: Callable[..., Tensor], net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """min_j margin_j / constant_j, and 0 where the margin is not positive."""
    return (margins(net(x), y) / constants(net, x, y).clamp_min(1e-12)).amin(dim=1).clamp(0.0, 50.0)


_by_global = partial(_radii_by, lambda net, x, y: global_bound(net, x).pairwise(y))


def _from_below(net: nn.Sequential, *_: Tensor) -> Tensor:
    return 2**0.5 * torch.stack([from_below(layer.weight) for layer in linear_layers(net)]).prod()


def _by_attack(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """The largest radius at which an attack finds nothing, and a fifth less for safety."""
    safe = torch.zeros(len(x), dtype=torch.float64)
    for eps in torch.linspace(0.05, 1.5, 12).tolist():
        points = pgd(net, x, y, eps, steps=20, restarts=1)
        safe = torch.where((smallest_margin(net(points), y) > 0) & (safe >= eps - 0.14), eps, safe)
    return 0.8 * safe


class Capstone(Exercise):
    """A function (net, x, y) -> radii (batch,) on unseen networks, with 60 seconds for all of them.

    A radius r claims that y strictly wins at every point nearer to x than r; 0 claims nothing. Score of a right
    answer: mean certified radius over mean distance, averaged over the networks. The seconds that it took are no part
    of the message, which notebooks compare.
    """

    hints = (
        "Start with a claim that cannot fail: margin / global constant, pair by pair; 0 where the margin is not "
        "positive or not finite.",
        "A bound for radius ε proves radii up to ε and none beyond it: certify at a trial radius, halve between what "
        "held and what did not.",
        "ll.certified_radius(net, x, y, bound=...) does that. Which bound of ll.BOUNDS is smallest where, what does it "
        "cost, and what does the larger of two certified radii prove? In the plane: ll.bounds.adversarial_distance.",
    )

    reference = staticmethod(certified_radius)
    wrong = (
        (partial(_radii_by, lambda net, x, y: local_bound(net, x, 0.0).pairwise(y)), "has caught up"),
        # The ball is the one that the global bound proves; the radius that its local bound would allow is another.
        (partial(_radii_by, lambda net, x, y: local_bound(net, x, _by_global(net, x, y)).pairwise(y)), "has caught up"),
        (partial(_radii_by, lambda net, x, y: global_bound(net, x).value[:, None]), "refuted on '8×8 pictures of two"),
        (partial(_radii_by, _from_below), "has caught up"),
        (_by_attack, "has caught up"),
        (lambda net, x, y: certified_radius(net, x, net(x).argmax(dim=1), bound=global_bound), "at distance 0 from it"),
        (lambda net, x, y: torch.zeros(len(x)), "below"),
    )

    def __call__(self, answer: Answer, *, seed: int = 0, seconds: float = SECONDS) -> Outcome:  # type: ignore[override]
        """Check a function. seed: of the networks. seconds: for all of them, by the clock on the wall."""
        return self.outcome(answer, seed, seconds=seconds)

    def cases(self, seed: int) -> Iterator[tuple[tuple[Unseen, ...]]]:
        yield (unseen_networks(seed),)

    def check(self, answer: Answer, networks: tuple[Unseen, ...], seconds: float = SECONDS) -> Outcome:
        shares, simple, left = [], [], seconds
        for unseen in networks:
            claimed, spent = _claims(answer, unseen, left, seconds)
            left -= spent
            _refute(unseen, claimed)
            shares.append(_share(unseen, claimed))
            simple.append(_share(unseen, certified_radius(unseen.net, unseen.x, unseen.y, bound=global_bound)))
        score, base = sum(shares) / len(shares), sum(simple) / len(simple)
        lines = []
        for unseen, share in zip(networks, shares, strict=True):
            known = "of the exact distance" if unseen.exact else "of the distance that an attack finds"
            lines.append(f"{unseen.name}: {share:.3f} {known}")
        if not score > base * (1 - 1e-6):
            below = f"nothing is refuted, but score {score:.3f} is below {base:.3f}, that of the global bound"
            raise Wrong("\n".join([below, *lines]))
        tier = 1 + sum(score >= each for each in TIERS)
        more = f"; tier {tier + 1} begins at {TIERS[tier - 1]}" if tier <= len(TIERS) else ""
        scored = f"no claim is refuted; score {score:.3f} (global bound {base:.3f}), tier {tier} of 3{more}"
        said = "\n".join([scored, *lines])
        return Outcome("right", said, score=score, seconds=seconds - left)


def _claims(answer: Answer, unseen: Unseen, left: float, seconds: float) -> tuple[Tensor, float]:
    """The radii claimed for a network, and the seconds they took. Raises Wrong and NotAttempted."""
    net, case = deepcopy(unseen.net), f"'{unseen.name}', a network {sizes(unseen.net)}"
    late = Wrong(f"out of time on {case}: all networks together have {seconds:g} seconds on this machine")
    start = perf_counter()
    try:
        with _interrupted_after(left):
            found = ask(answer, case, net, unseen.x, unseen.y)
    except _OutOfTime:
        raise late from None
    spent = perf_counter() - start
    if spent > left:
        raise late
    claimed = numbers(found, (len(unseen.x),), case).detach()
    if not (claimed >= 0).all():
        n = first(~(claimed >= 0))
        raise Wrong(f"on {case} the radius of point {n} is negative: {claimed[n]:.4g}")
    return claimed, spent


def _refute(unseen: Unseen, claimed: Tensor) -> None:
    """Raise Wrong for the claim that is refuted nearest to its point, with the adversarial point."""
    refuted = ~(claimed <= unseen.distance * ROUNDING)
    if not refuted.any():
        return
    n = int(torch.where(refuted, unseen.distance, torch.inf).argmin())
    logits, label, point = unseen.net(unseen.adversarial[n : n + 1])[0], int(unseen.y[n]), unseen.adversarial[n]
    rival = int(torch.where(torch.arange(len(logits)) == label, -torch.inf, logits).argmax())
    where = f"at {show(point)}" if len(point) == 2 else f"at a picture, {_moved(unseen.x[n], point)},"
    at = f" {show(unseen.x[n])}" if len(point) == 2 else ""
    raise Wrong(
        f"refuted on '{unseen.name}', a network {sizes(unseen.net)}. Of point {n}{at}, label {label}, you claim that "
        f"it is safe up to {claimed[n]:.6g}; but {where} at distance {unseen.distance[n]:.6g} from it the logit of "
        f"class {rival} has caught up, {logits[rival]:.6g} against {logits[label]:.6g}. "
        f"{int(refuted.sum())} of your {len(claimed)} claims fail there"
    )


def _share(unseen: Unseen, radii: Tensor) -> float:
    """Mean radius over mean distance, of the points whose label can be lost as far as anyone has looked."""
    known = unseen.distance.isfinite()
    return float(radii[known].mean() / unseen.distance[known].mean())


def _moved(x: Tensor, point: Tensor) -> str:
    if torch.equal(x, point):
        return "the point itself"
    pixel = int((point - x).abs().argmax())
    return f"pixel {pixel} moved most, from {x[pixel]:.4g} to {point[pixel]:.4g}"


class _OutOfTime(BaseException):
    """Not an Exception, so that an answer that catches everything does not catch it."""


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """End what runs inside by _OutOfTime, where the system has such a clock; elsewhere it runs to its end."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
