"""The exercises of notebook 06 on proofs: the sandwich of three accuracies, and where a NaN goes."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from math import inf, nan
from typing import Any

import torch
from torch import Tensor

from lliptools.bounds import global_bound
from lliptools.certificates.attacks import pgd
from lliptools.certificates.certificate import certify
from lliptools.certificates.margins import smallest_margin
from lliptools.teach.checks.answers import ask, numbers, told
from lliptools.teach.checks.unseen import Unseen, blobs, known, moons_like, trained, with_ridge
from lliptools.teach.exercise import Exercise, Fault, show

__all__ = ["never_nan", "sandwich"]

EPS = (0.15, 0.3, 0.6)  # at the first of them the global bound proves some points
BROKEN = 0.8  # of the points that can be broken within 0.8 eps, an attack has to break so many


def _sandwich_cases(function: Callable[..., Any], seed: int) -> Iterator[None]:
    for unseen in _networks(seed):
        for eps in EPS:
            described = f"{unseen.name}, eps {eps:g}"
            answer = ask(function, described, unseen.net, unseen.x, unseen.y, eps)
            if not isinstance(answer, tuple | list) or len(answer) != 3:
                raise Fault(f"on {described} (clean, attacked, certified) is expected; got {type(answer).__name__}")
            clean, points, certified = (
                numbers(part, shape, f"{described}, {what}").detach()
                for part, shape, what in zip(
                    answer,
                    ((len(unseen.x),), tuple(unseen.x.shape), (len(unseen.x),)),
                    ("clean", "attacked", "certified"),
                    strict=True,
                )
            )
            _compare(unseen, eps, clean.bool(), points, certified.bool(), described)
            yield


def _compare(unseen: Unseen, eps: float, clean: Tensor, points: Tensor, certified: Tensor, described: str) -> None:
    """Raise Fault where the three do not fit each other or the truth."""
    right = smallest_margin(unseen.net(unseen.x), unseen.y) > 0
    left = smallest_margin(unseen.net(points), unseen.y) > 0
    far = (points - unseen.x).norm(dim=1)

    def first(where: Tensor, text: Callable[[int], str]) -> None:
        if where.any():
            n = int(where.nonzero()[0, 0])
            raise Fault(f"on {described}: point {n} at {show(unseen.x[n])}, label {int(unseen.y[n])}, {text(n)}")

    first(clean != right, lambda n: f"is {'right' if right[n] else 'misclassified'}; you say otherwise")
    first(
        far > eps * (1 + 1e-9), lambda n: f"is moved by {far[n]:.6g}, out of the ball: an attack there breaks nothing"
    )
    first(
        left & ~right,
        lambda n: "is misclassified, and your attack repairs it: an adversary would have left it where it was",
    )
    first(
        certified & (unseen.distance <= eps),
        lambda n: (
            f"is certified, but at {show(unseen.adversarial[n])}, at distance {unseen.distance[n]:.6g}, its label "
            "has lost. That an attack finds nothing proves nothing"
        ),
    )
    first(certified & ~left, lambda n: f"is certified, and your own attack breaks it at {show(points[n])}")
    can = right & (unseen.distance < 0.8 * eps)
    if not unseen.name.endswith("ridge") and int((can & ~left).sum()) < BROKEN * int(can.sum()):
        first(
            can & left,
            lambda n: (
                f"loses at {show(unseen.adversarial[n])}, distance {unseen.distance[n]:.6g}, and your attack misses "
                f"it; of {int(can.sum())} such points it finds {int((can & ~left).sum())}"
            ),
        )
    proved = certify(unseen.net, unseen.x, unseen.y, eps, bound=global_bound).holds
    first(proved & ~certified, lambda n: "is certified by the global bound already, and not by you")


@lru_cache(maxsize=2)
def _networks(seed: int) -> tuple[Unseen, ...]:
    """A network in the plane that gradients attack well, and one on which they lead past a narrow ridge."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed + 1)
        while True:
            moons, cloud = moons_like(), blobs(features=2, classes=3)
            plain = known("two classes in the plane", trained(moons, (12, 12)), *moons, points=24, within=EPS[-1])
            story = "three classes in the plane and a narrow ridge"
            ridge = known(story, *with_ridge(cloud), points=24, within=EPS[-1])
            # Now and then gradients lead nowhere on the first, or no point is near the ridge of the second.
            if not any(_missed(plain, eps, 1) for eps in EPS) and any(_missed(ridge, eps, 3) for eps in EPS):
                return plain, ridge


def _missed(unseen: Unseen, eps: float, restarts: int) -> bool:
    """Whether an attack leaves a point standing that can be broken within 0.8 eps."""
    left = smallest_margin(unseen.net(pgd(unseen.net, unseen.x, unseen.y, eps, restarts=restarts)), unseen.y) > 0
    return bool((left & (unseen.distance < 0.8 * eps)).any())


# Margin by margin: logits, pairwise constants, eps, label, whether it is proved, and the story.
NAN_CASES = (
    ([2.0, 1.0], [0.0, 1.0], 0.5, 0, True, "margin 1 against 0.5"),
    ([1.0, 2.0], [1.0, 0.0], 0.5, 1, True, "margin 1 against 0.5, label 1"),
    ([2.0, 1.0], [0.0, 4.0], 0.5, 0, False, "margin 1 against 2"),
    ([1.0, 1.0], [0.0, 0.0], 0.5, 0, False, "a tie: nobody wins, even where nothing can move"),
    ([2.0, 1.0], [0.0, 2.0], 0.5, 0, False, "margin 1 against 1: a tie on the sphere"),
    ([1.0, 1.0, 0.0], [0.0, 0.0, 0.0], 0.0, 1, False, "a tie with another class at eps = 0"),
    ([nan, 1.0], [0.0, 1.0], 0.5, 0, False, "the label's logit is NaN"),
    ([2.0, nan], [0.0, 1.0], 0.5, 0, False, "another logit is NaN"),
    ([3.0, 1.0, nan], [0.0, 1.0, 1.0], 0.5, 0, False, "one of the other logits is NaN"),
    ([2.0, 1.0], [0.0, nan], 0.5, 0, False, "the constant is NaN, as 0 · inf is"),
    ([3.0, 1.0, 0.0], [0.0, nan, 1.0], 0.5, 0, False, "one of the constants is NaN"),
    ([2.0, 1.0], [0.0, inf], 0.5, 0, False, "the constant has overflowed to inf"),
    ([2.0, 1.0], [0.0, 1e308], 100.0, 0, False, "eps · Lip overflows"),
    ([inf, 1.0], [0.0, 1.0], 0.5, 0, False, "the label's logit has overflowed to inf"),
    ([2.0, -inf], [0.0, 1.0], 0.5, 0, False, "another logit has overflowed to −inf"),
    ([inf, inf], [0.0, 1.0], 0.5, 0, False, "both logits have overflowed"),
    ([1e308, -1e308], [0.0, 1.0], 0.5, 0, False, "the margin itself overflows"),
    ([2.0, 1.0, 0.0], [0.0, 1.0, 1.0], 0.9, 0, True, "three classes, all margins suffice"),
    ([2.0, 1.0, 0.0], [0.0, 1.0, 9.0], 0.9, 0, False, "the runner-up is far enough, the third class is not"),
    ([0.0, -1.0], [0.0, 1.0], 0.5, 0, True, "a logit of 0 is a number like any other"),
)


def _nan_cases(function: Callable[..., Any], seed: int) -> Iterator[None]:
    given = [*NAN_CASES, *(_drawn(seed) if seed else ())]
    cases = [(torch.tensor([f]).double(), torch.tensor([c]).double(), e, [y], [p], s) for f, c, e, y, p, s in given]
    pair = [case for case in NAN_CASES if len(case[0]) == 2 and case[2] == 0.5]
    logits, constants, _, labels, proved, _ = zip(*pair, strict=True)
    batch = torch.tensor(logits).double(), torch.tensor(constants).double()
    cases.append((*batch, 0.5, list(labels), list(proved), "all of these in one batch"))
    for f, c, eps, y, proves, story in cases:
        described = f"{story}: logits {f.tolist()}, pairwise {c.tolist()}, eps {eps:g}, y {y}"
        found = numbers(ask(function, described, f, c, eps, torch.tensor(y)), (len(y),), described).bool()
        if (wrong := found != torch.tensor(proves)).any():
            n = int(wrong.nonzero()[0, 0])
            said = "is proved and you refuse it" if proves[n] else "is not proved and you certify it"
            raise Fault(f"on {described}: point {n} {said}")
        yield


def _drawn(seed: int) -> Iterator[tuple[list[float], list[float], float, int, bool, str]]:
    """Random margins like those of NAN_CASES: proved, not proved, and with one number spoiled."""
    generator = torch.Generator().manual_seed(seed)
    for n in range(24):
        logits = 2 * torch.randn(2 + n % 3, generator=generator).double()
        pairwise = 0.1 + torch.rand(len(logits), generator=generator).double()
        y = int(logits.argmax())
        pairwise[y] = 0.0
        reach = ((logits[y] - logits) / pairwise).nan_to_num(nan=inf).min().item()
        j, spoiled, proved = (y + 1) % len(logits), n % 4 == 3, n % 2 == 0
        if spoiled:
            (logits, pairwise)[n // 4 % 2][j] = (nan, inf)[n // 8 % 2]
        story = "random margins, one number of them lost" if spoiled else "random margins"
        yield logits.tolist(), pairwise.tolist(), (0.5 if proved else 1.5) * reach, y, proved, story


sandwich = Exercise(
    "sandwich",
    told(_sandwich_cases),
    (
        "clean: the label's logit is the largest, strictly. certified: ll.certify(net, x, y, eps).holds. In between "
        "stand the points of your attack.",
        "One step: the gradient of the margin f_y − max_{j ≠ y} f_j with respect to x, divided by its own length, "
        "times −step; then back onto the ball: x + d · min(1, eps / ‖d‖).",
        "Keep of all steps the point of smallest margin, x itself included: then a misclassified point stays broken, "
        "and some 20 steps of eps/5 suffice here.",
    ),
)
never_nan = Exercise(
    "never_nan",
    told(_nan_cases),
    (
        "Every comparison with NaN is False. Which way do you ask: that it holds for all j, or that it fails for some?",
        "“No class breaks it” is True for NaN, “every class is proved” is not. Mask class y by its index: a logit that "
        "equals y's is a tie, not y.",
        "margin = logits.gather(1, y[:, None]) - logits; proved = (margin > eps * pairwise) & margin.isfinite(); then "
        "set proved to True at index y and return proved.all(dim=1).",
    ),
)
