"""The exercises of notebook 06 on proofs: the sandwich of three accuracies, and where a NaN goes."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from math import inf, nan

import torch
from torch import Tensor, nn

from lliptools.bounds import global_bound, local_bound
from lliptools.certificates.attacks import pgd
from lliptools.certificates.certificate import certify
from lliptools.certificates.margins import margins, own_class, smallest_margin
from lliptools.teach.exercises.answers import ask, ask_numbers, first, numbers
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show
from lliptools.teach.exercises.unseen import Unseen, blobs, moons_like, trained, with_ridge

__all__ = ["NeverNan", "Sandwich"]

EPS = (0.15, 0.3, 0.6)  # at the first of them the global bound proves some points
BROKEN = 0.8  # of the points that can be broken within 0.8 eps, an attack has to break so many


@lru_cache(maxsize=2)
def _networks(seed: int) -> tuple[Unseen, ...]:
    """A network in the plane that gradients attack well, and one on which they lead past a narrow ridge."""
    with torch.enable_grad():
        torch.default_generator.manual_seed(seed + 1)
        while True:
            moons, cloud = moons_like(), blobs(features=2, classes=3)
            plain = Unseen("two classes in the plane", trained(moons, (12, 12)), *moons, points=24, within=EPS[-1])
            story = "three classes in the plane and a narrow ridge"
            ridge = Unseen(story, *with_ridge(cloud), points=24, within=EPS[-1])
            # Now and then gradients lead nowhere on the first, or no point is near the ridge of the second.
            if not any(_missed(plain, eps, 1) for eps in EPS) and any(_missed(ridge, eps, 3) for eps in EPS):
                return plain, ridge


def _missed(unseen: Unseen, eps: float, restarts: int) -> bool:
    """Whether an attack leaves a point standing that can be broken within 0.8 eps."""
    left = smallest_margin(unseen.net(pgd(unseen.net, unseen.x, unseen.y, eps, restarts=restarts)), unseen.y) > 0
    return bool((left & (unseen.distance < 0.8 * eps)).any())


Three = tuple[Tensor, Tensor, Tensor]


def _but(change: Answer) -> Answer:
    """The reference, changed: change(net, x, y, eps, clean, points, certified)."""
    return lambda *case: change(*case, *Sandwich.reference(*case))


def _at_radius_0(net: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> Tensor:
    return (margins(net(x), y) > eps * local_bound(net, x, 0.0).pairwise(y)).all(dim=1)


def _repairing(net: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> Three:
    """Moves what is misclassified as well, away from the class that wins."""
    return smallest_margin(net(x), y) > 0, pgd(net, x, net(x).argmax(1), eps), certify(net, x, y, eps).holds


class Sandwich(Exercise):
    """sandwich(net, x, y, eps): (clean, attacked, certified): points in the middle, else (batch,) of bool."""

    hints = (
        "clean: the label's logit is the largest, strictly. certified: ll.certify(net, x, y, eps).holds. In between "
        "stand the points of your attack.",
        "One step: the gradient of the margin f_y − max_{j ≠ y} f_j with respect to x, divided by its own length, "
        "times −step; then back onto the ball: x + d · min(1, eps / ‖d‖).",
        "Keep of all steps the point of smallest margin, x itself included: then a misclassified point stays broken, "
        "and some 20 steps of eps/5 suffice here.",
    )

    @staticmethod
    def reference(net: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> Three:
        return smallest_margin(net(x), y) > 0, pgd(net, x, y, eps), certify(net, x, y, eps).holds

    wrong = (
        (_but(lambda net, x, y, eps, c, at, _: (c, at, smallest_margin(net(at), y) > 0)), "nothing proves nothing"),
        (_but(lambda net, x, y, eps, c, at, _: (c, at, _at_radius_0(net, x, y, eps))), "is certified, but at"),
        (_but(lambda net, x, y, eps, c, at, proved: (c, x + 1.5 * (at - x), proved)), "out of the ball"),
        (_but(lambda net, x, y, eps, c, _, proved: (c, x, proved)), "misses it"),
        (_repairing, "your attack repairs it"),
        (_but(lambda net, x, y, eps, c, at, _: (c, at, torch.zeros(len(x)))), "by the global bound already"),
        (_but(lambda net, x, y, eps, _, at, proved: (torch.ones(len(x)), at, proved)), "is misclassified; you say"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Unseen, float]]:
        yield from ((unseen, eps) for unseen in _networks(seed) for eps in EPS)

    def check(self, answer: Answer, unseen: Unseen, eps: float) -> None:
        case, batch = f"{unseen.name}, eps {eps:g}", (len(unseen.x),)
        found = ask(answer, case, unseen.net, unseen.x, unseen.y, eps)
        if not isinstance(found, tuple | list) or len(found) != 3:
            raise Wrong(f"on {case} (clean, attacked, certified) is expected; got {type(found).__name__}")
        clean = numbers(found[0], batch, f"{case}, clean,").bool()
        points = numbers(found[1], tuple(unseen.x.shape), f"{case}, attacked,").detach()
        certified = numbers(found[2], batch, f"{case}, certified,").bool()
        _compare(unseen, eps, clean, points, certified, case)


def _compare(unseen: Unseen, eps: float, clean: Tensor, points: Tensor, certified: Tensor, case: str) -> None:
    """Raise Wrong where the three do not fit each other or the truth."""
    right = smallest_margin(unseen.net(unseen.x), unseen.y) > 0
    left = smallest_margin(unseen.net(points), unseen.y) > 0
    far, distance = (points - unseen.x).norm(dim=1), unseen.distance

    def none(where: Tensor, text: Callable[[int], str]) -> None:
        if where.any():
            n = first(where)
            raise Wrong(f"on {case}: point {n} at {show(unseen.x[n])}, label {int(unseen.y[n])}, {text(n)}")

    def lost(n: int) -> str:
        return f"at {show(unseen.adversarial[n])}, distance {distance[n]:.6g}"

    none(clean != right, lambda n: f"is {'right' if right[n] else 'misclassified'}; you say otherwise")
    out = "out of the ball: an attack there breaks nothing"
    none(~(far <= eps * (1 + 1e-9)), lambda n: f"is moved by {far[n]:.6g}, {out}")
    repaired = "is misclassified, and your attack repairs it: an adversary would have left it where it was"
    none(left & ~right, lambda n: repaired)
    nothing = "its label has lost. That an attack finds nothing proves nothing"
    none(certified & (distance <= eps), lambda n: f"is certified, but {lost(n)}, {nothing}")
    none(certified & ~left, lambda n: f"is certified, and your own attack breaks it at {show(points[n])}")
    can = right & (distance < 0.8 * eps)
    broken, all_of_them = int((can & ~left).sum()), int(can.sum())
    if not unseen.name.endswith("ridge") and broken < BROKEN * all_of_them:
        few = f"and your attack misses it; of {all_of_them} such points it finds {broken}"
        none(can & left, lambda n: f"loses {lost(n)}, {few}")
    proved = certify(unseen.net, unseen.x, unseen.y, eps, bound=global_bound).holds
    none(proved & ~certified, lambda n: "is certified by the global bound already, and not by you")


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


def _own_class_by_value(logits: Tensor, pairwise: Tensor, eps: float, y: Tensor) -> Tensor:
    gaps = logits.gather(1, y[:, None]) - logits
    return (((gaps > eps * pairwise) & gaps.isfinite()) | (gaps == 0)).all(dim=1)


def _by_margins(logits: Tensor, y: Tensor, reached: Tensor) -> Tensor:
    """Which points have only finite margins, where they are reached."""
    finite = margins(logits, y).isfinite() | own_class(logits, y)
    return (reached & finite).all(dim=1)


class NeverNan(Exercise):
    """never_nan(logits, pairwise, eps, y): which points are proved, (batch,) of bool; not by NaN or a tie."""

    hints = (
        "Every comparison with NaN is False. Which way do you ask: that it holds for all j, or that it fails for some?",
        "“No class breaks it” is True for NaN, “every class is proved” is not. Mask class y by its index: a logit that "
        "equals y's is a tie, not y.",
        "margin = logits.gather(1, y[:, None]) - logits; proved = (margin > eps * pairwise) & margin.isfinite(); then "
        "set proved to True at index y and return proved.all(dim=1).",
    )

    reference = staticmethod(
        lambda logits, pairwise, eps, y: _by_margins(logits, y, margins(logits, y) > eps * pairwise)
    )
    wrong = (
        (lambda logits, pairwise, eps, y: ~(margins(logits, y) <= eps * pairwise).any(dim=1), "NaN"),
        (_own_class_by_value, "a tie"),
        (lambda logits, pairwise, eps, y: _by_margins(logits, y, margins(logits, y) >= eps * pairwise), "a tie"),
        (lambda logits, pairwise, eps, y: (margins(logits, y) > eps * pairwise).all(dim=1), "overflow"),
        (lambda f, p, eps, y: NeverNan.reference(f.nan_to_num(), p.nan_to_num(), eps, y), "NaN"),
        (lambda logits, pairwise, eps, y: torch.zeros(len(y), dtype=torch.bool), "is proved and you refuse it"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, float, Tensor, Tensor, str]]:
        # One margin at a time, and those of two classes in one batch. Other seeds scale the numbers and turn the order
        # of the classes round: no verdict changes.
        scale = 1 + 0.7 * torch.rand(1).item() if seed else 1.0
        pair = [case for case in NAN_CASES if len(case[0]) == 2 and case[2] == 0.5]
        for group in [*([case] for case in NAN_CASES), pair]:
            f, c, (eps, *_), y, proved, (story, *others) = zip(*group, strict=True)
            logits, pairwise = (scale * torch.tensor(part, dtype=torch.float64) for part in (f, c))
            labels = torch.tensor(y)
            if seed:
                logits, pairwise, labels = logits.flip(1), pairwise.flip(1), len(f[0]) - 1 - labels
            yield logits, pairwise, eps, labels, torch.tensor(proved), "all of these in one batch" if others else story

    def check(
        self, answer: Answer, f: Tensor, pairwise: Tensor, eps: float, y: Tensor, proved: Tensor, story: str
    ) -> None:
        case = f"{story}: logits {f.tolist()}, pairwise {pairwise.tolist()}, eps {eps:g}, y {y.tolist()}"
        found = ask_numbers(answer, case, (len(y),), f, pairwise, eps, y).bool()
        if (wrong := found != proved).any():
            n = first(wrong)
            said = "is proved and you refuse it" if proved[n] else "is not proved and you certify it"
            raise Wrong(f"on {case}: point {n} {said}")
