"""The capstone: certify as much as possible of networks that were never seen; a claim that the truth refutes fails."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from lliptools.bounds import global_bound
from lliptools.certificates.radius import certified_radius
from lliptools.teach.checks.answers import ask, numbers
from lliptools.teach.checks.unseen import Unseen, linear_layers, unseen_networks
from lliptools.teach.exercise import Exercise, Fault, NotAttempted, Outcome, show

__all__ = ["CapstoneOutcome", "capstone"]

SECONDS = 60.0
ROUNDING = 1 + 1e-9  # by which a radius may pass the distance that was computed


@dataclass(frozen=True, repr=False)
class CapstoneOutcome(Outcome):
    """An Outcome with its score: mean certified radius over mean distance, averaged over the networks; 0 if refuted.

    seconds: what the answer took, by the clock on the wall. They are no part of the message, which notebooks compare.
    """

    score: float = 0.0
    seconds: float = 0.0


class Capstone:
    """The check of a function (net, x, y) -> radii (batch,) on unseen networks, with 60 seconds for all of them.

    A radius r claims that y strictly wins at every point nearer to x than r; 0 claims nothing.
    """

    seeded = True

    def __init__(self) -> None:
        self._exercise = Exercise(
            "capstone",
            lambda answer: iter(()),
            (
                "Start with a claim that cannot fail: margin / global constant, pair by pair; 0 where the margin is "
                "not positive or not finite.",
                "A bound for radius ε proves radii up to ε and none beyond it: certify at a trial radius, halve "
                "between what held and what did not.",
                "ll.certified_radius(net, x, y, bound=...) does that. Which bound of ll.BOUNDS is smallest where, what "
                "does it cost, and what does the larger of two certified radii prove?",
            ),
        )

    def __call__(self, answer: Callable[..., Any], *, seed: int = 0, seconds: float = SECONDS) -> CapstoneOutcome:
        """Check a function. seed: of the networks. seconds: for all of them, by the clock on the wall."""
        lines, shares, simple, left = [], [], [], seconds
        try:
            for unseen in unseen_networks(seed):
                claimed, spent = _claims(answer, unseen, left, seconds)
                left -= spent
                _refute(unseen, claimed)
                shares.append(_share(unseen, claimed))
                simple.append(_share(unseen, certified_radius(unseen.net, unseen.x, unseen.y, bound=global_bound)))
                truth = "of the exact distance" if unseen.exact else "of the distance that an attack finds"
                lines.append(f"{unseen.name}: {shares[-1]:.3f} {truth}")
        except NotAttempted as what:
            return CapstoneOutcome(
                "not attempted",
                f"{str(what) or 'fill in the function'} and run the cell again; ll.check.capstone.hint()",
            )
        except Fault as fault:
            return CapstoneOutcome("wrong", f"{fault}\nA hint: ll.check.capstone.hint()")
        score, base = sum(shares) / len(shares), sum(simple) / len(simple)
        table = "\n".join(lines)
        if not score > base * (1 - 1e-6):
            said = f"nothing is refuted, but score {score:.3f} is below {base:.3f}, that of the global bound\n{table}"
            return CapstoneOutcome("wrong", f"{said}\nA hint: ll.check.capstone.hint()", score=score)
        said = f"no claim is refuted; score {score:.3f} (global bound {base:.3f})\n{table}"
        return CapstoneOutcome("right", said, score=score, seconds=seconds - left)

    def hint(self) -> None:
        """Print the next hint."""
        self._exercise.hint()


def _claims(answer: Callable[..., Any], unseen: Unseen, left: float, seconds: float) -> tuple[Tensor, float]:
    """The radii claimed for a network, and the seconds they took. Raises Fault and NotAttempted."""
    net, described = deepcopy(unseen.net), f"'{unseen.name}', {_form(unseen)}"
    start = perf_counter()
    try:
        with _interrupted_after(left):
            found = ask(answer, described, net, unseen.x, unseen.y)
    except _OutOfTime:
        raise Fault(_late(described, seconds)) from None
    spent = perf_counter() - start
    if spent > left:
        raise Fault(_late(described, seconds))
    claimed = numbers(found, (len(unseen.x),), described).detach()
    if not (claimed >= 0).all():
        n = int((~(claimed >= 0)).nonzero()[0, 0])
        raise Fault(f"on {described} the radius of point {n} is negative: {claimed[n]:.4g}")
    return claimed, spent


def _refute(unseen: Unseen, claimed: Tensor) -> None:
    """Raise Fault for the claim that is refuted nearest to its point, with the adversarial point."""
    refuted = ~(claimed <= unseen.distance * ROUNDING)
    if not refuted.any():
        return
    n = int(torch.where(refuted, unseen.distance, torch.inf).argmin())
    logits, label, point = unseen.net(unseen.adversarial[n : n + 1])[0], int(unseen.y[n]), unseen.adversarial[n]
    rival = int(torch.where(torch.arange(len(logits)) == label, -torch.inf, logits).argmax())
    where = f"at {show(point)}" if len(point) == 2 else f"at a picture, {_moved(unseen.x[n], point)},"
    at = f" {show(unseen.x[n])}" if len(point) == 2 else ""
    raise Fault(
        f"refuted on '{unseen.name}', {_form(unseen)}. Of point {n}{at}, label {label}, you claim that it is safe up "
        f"to {claimed[n]:.6g}; but {where} at distance {unseen.distance[n]:.6g} from it the logit of class {rival} "
        f"has caught up, {logits[rival]:.6g} against {logits[label]:.6g}. "
        f"{int(refuted.sum())} of your {len(claimed)} claims fail there"
    )


def _share(unseen: Unseen, radii: Tensor) -> float:
    """Mean radius over mean distance, of the points whose label can be lost as far as anyone has looked."""
    known = unseen.distance.isfinite()
    return float(radii[known].mean() / unseen.distance[known].mean())


def _form(unseen: Unseen) -> str:
    layers = linear_layers(unseen.net)
    return f"a network {'-'.join(str(n) for n in (layers[0].in_features, *(layer.out_features for layer in layers)))}"


def _moved(x: Tensor, point: Tensor) -> str:
    if torch.equal(x, point):
        return "the point itself"
    pixel = int((point - x).abs().argmax())
    return f"pixel {pixel} moved most, from {x[pixel]:.4g} to {point[pixel]:.4g}"


def _late(described: str, seconds: float) -> str:
    return f"out of time on {described}: all networks together have {seconds:g} seconds on this machine"


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


capstone = Capstone()
