"""The exercises of notebook 03: fold by hand, the product bound, the worst pair."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial, reduce
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds import exact_bound
from lliptools.nets import mlp
from lliptools.teach.exercises.answers import Questions, ask, ask_number, differs, from_below, norm
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show
from lliptools.teach.shared.pair import Pair, pair_of, steepest_pair

__all__ = ["FoldByHand", "ProductBound", "WorstPair"]

SHARE = 0.9  # of the exact constant that a search has to find


class FoldByHand(Questions):
    """The norms of the fold's two matrices, the product over three rounds, and the constant of what it computes."""

    off = 0.005
    questions = (
        ("split", 2**0.5, "split: [1; −1] takes 1 to a vector of which length?", (1, 2)),
        ("back", 2**0.5, "back: [1, −1] has the norm of its transpose", (0,)),
        ("product", 8.0, "product: every round multiplies by ‖split‖ ‖back‖, three times", (2, 2.83)),
        ("truth", 1.0, "truth: what does relu(x) − relu(−x) give for x = 3, for x = −3?", (8,)),
    )
    hints = (
        "A matrix with one column, or one row, has the length of that column or row as its norm.",
        "relu(x) − relu(−x) is x itself, whatever its sign: a network can look steep and be the identity.",
        "√2 · √2 = 2 a round; three rounds; the identity moves every point by as much as its input.",
    )


class ProductBound(Exercise):
    """product_bound(weights): the global bound of the ReLU network with these matrices, first layer first."""

    hints = (
        "Lip(g ∘ f) ≤ Lip(g) Lip(f), and relu has constant 1. What is left?",
        "One spectral norm per matrix, multiplied. The norm of the product of the matrices is another number, and no "
        "bound: relu stands between them.",
        "torch.linalg.matrix_norm(W, 2): the 2 is needed, without it you get the Frobenius norm.",
    )

    reference = staticmethod(lambda weights: prod(map(norm, weights)))
    wrong = (
        (lambda weights: norm(reduce(lambda A, W: W @ A, weights)), "unsound. On weights = [[1.0], [-1.0]]"),
        (lambda weights: prod(map(from_below, weights)), "slope 4. Your bound is 3.92"),
        (lambda weights: ProductBound.reference(weights) * (0.99 if len(weights) == 4 else 1), "nothing proves it"),
        (lambda weights: prod(W.norm().item() for W in weights), "the product of the norms is 4; yours is 5, looser"),
        (lambda weights: prod(W.abs().sum(dim=1).max().item() for W in weights), "the product of the norms is"),
        (lambda weights: ProductBound.reference(weights[:-1]), "unsound. On weights = [[3.0]]"),
        (lambda weights: sum(map(norm, weights)), "the product of the norms is"),
    )

    def cases(self, seed: int) -> Iterator[tuple[list[Tensor]]]:
        split, add = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[1.0, 1.0]]).double()
        yield ([torch.tensor([[3.0]]).double()],)
        yield ([split, add],)
        yield ([torch.tensor([[3.0, 0.0], [0.0, 4.0]]).double()],)
        yield ([split, split.T, split, split.T],)
        for sizes in ((2, 2, 1), (2, 3, 2), (3, 4, 4, 2), (4, 8, 8, 8, 3), (30, 40, 10)):
            for scale in (1.0, 1e-5):
                yield ([scale * torch.randn(m, n).double() for n, m in pairwise(sizes)],)

    def check(self, answer: Answer, weights: list[Tensor]) -> None:
        case, truth = self.described(weights), self.reference(weights)
        got = ask_number(answer, case, weights, lost="your bound is {}")
        if abs(got - truth) <= 1e-6 * truth:
            return
        pair = steepest_pair(partial(_network, weights), torch.zeros(weights[0].shape[1]).double(), 1.0)
        if pair.slope > got:
            raise Wrong(
                f"unsound. On {case}, relu between them, f moves by {pair.change:.4g} from x = {show(pair.x)} to x′ = "
                f"{show(pair.other)}, {pair.distance:.4g} apart: slope {pair.slope:.4g}. Your bound is {got:.4g}",
                replace(pair, claim=f"slope {pair.slope:.4g}, above your bound", center=None, radius=torch.nan),
            )
        kind = ", looser" if got > truth else ", less, and nothing proves it"
        raise differs(case, "the product of the norms", truth, got, kind)


def _network(weights: list[Tensor], x: Tensor) -> Tensor:
    """The network with these weights, ReLU between them and no biases."""
    for W in weights[:-1]:
        x = torch.relu(x @ W.T)
    return x @ weights[-1].T


def _far_pairs(f: nn.Module, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The steepest of many pairs on the sphere: each sees an average slope."""
    ends = [(x + eps * a / a.norm(), x + eps * b / b.norm()) for a, b in torch.randn(1000, 2, len(x)).double()]
    return max(ends, key=lambda pair: ((f(pair[0]) - f(pair[1])).norm() / (pair[0] - pair[1]).norm()).item())


def _near_the_center(f: Answer, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return x, x + 1e-3 * eps * torch.linalg.svd(torch.autograd.functional.jacobian(f, x))[2][0]


class WorstPair(Exercise):
    """worst_pair(f, x, eps): two points near x, (inputs,), between which f is nearly at its steepest."""

    hints = (
        "Two points far apart see the average slope between them. Where would a pair see the steepest piece alone?",
        "Look at many centres a of the ball; beside each, b = a + h·v with small h. Which v is stretched most there?",
        "J = torch.autograd.functional.jacobian(f, a) needs f to be differentiable; without it, try many short random "
        "steps, about 1e-3 · eps long, and keep the pair with the largest ‖f(a) − f(b)‖ / ‖a − b‖.",
    )

    @staticmethod
    def reference(f: Answer, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        pair = steepest_pair(f, x, eps)
        return pair.x, pair.other

    wrong = (
        (_far_pairs, "There is a steeper one"),
        (_near_the_center, "f(x) = relu(x₀) + 3 relu(−x₀)"),
        (lambda f, x, eps: (x, x), "your two points are the same"),
        (lambda f, x, eps: WorstPair.reference(f, x, 5 * eps), "outside of the ball"),
    )

    def cases(self, seed: int) -> Iterator[tuple[nn.Sequential, Tensor, float, str]]:
        # Networks with points and radii: slope 3 on one side of a line and 1 on the other, then random ones.
        # Other seeds turn the random ones around the origin and stretch their outputs: no case is harder than another.
        bent = mlp(2, 2, 1).double()
        with torch.no_grad():
            values = ([[1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0], [[1.0, 3.0]], [0.0])
            for parameter, value in zip(bent.parameters(), values, strict=True):
                parameter.copy_(torch.tensor(value))
        yield bent, torch.tensor([0.5, 0.0]).double(), 1.0, "f(x) = relu(x₀) + 3 relu(−x₀)"
        # In each a tenth to a quarter of the ball is that steep: a search finds it, and pairs far apart do not.
        generator = torch.Generator().manual_seed(seed)
        for sizes, eps, own in (((2, 6, 1), 1.0, 4), ((2, 8, 2), 1.0, 3), ((2, 16, 3), 0.5, 5), ((2, 8, 8, 2), 1.0, 8)):
            torch.default_generator.manual_seed(own)
            net, x = mlp(*sizes).double(), torch.randn(sizes[0]).double()
            if seed:
                turn = torch.linalg.qr(torch.randn(2, 2, generator=generator, dtype=torch.float64))[0]
                x = turn @ x
                first, *_, last = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
                with torch.no_grad():
                    first.copy_(first @ turn.T)
                    last.mul_(0.5 + torch.rand((), generator=generator).item())
            yield net, x, eps, f"a random network {'-'.join(map(str, sizes))}"

    def check(self, answer: Answer, net: nn.Sequential, x: Tensor, eps: float, story: str) -> None:
        case, exact = f"{story}, x = {show(x)}, eps = {eps:g}", exact_bound(net, x[None], eps).value.item()
        read = partial(_two_points, x)
        one, other = ask(answer, case, deepcopy(net), x, eps, read=read, wanted="two points like x")
        outside = max((one - x).norm().item(), (other - x).norm().item())
        pair = pair_of(net, "", one, other)
        if not (one.isfinite().all() and other.isfinite().all()):
            raise Wrong(f"on {case} your points are not finite: {show(one)}, {show(other)}")
        if outside > eps * (1 + 1e-9):
            raise Wrong(f"on {case} one of your points is {outside:.4g} from x, outside of the ball")
        if not pair.distance:
            raise Wrong(f"on {case} your two points are the same: {show(one)}; 0 / 0 is no slope")
        if pair.slope > exact * (1 + 1e-6):
            raise Wrong(
                f"on {case} your points are {pair.distance:.2g} apart and seem to have slope {pair.slope:.4g}, more "
                f"than the exact constant {exact:.4g}: that near, the difference of the outputs is rounding"
            )
        if not pair.slope >= SHARE * exact:
            steeper: Pair = steepest_pair(net, x, eps)
            raise Wrong(
                f"on {case} your pair has slope {pair.slope:.4g}. There is a steeper one: {show(steeper.x)} and "
                f"{show(steeper.other)} have {steeper.slope:.4g} (exact: {exact:.4g}; {SHARE:.0%} of it is wanted)",
                replace(steeper, claim=f"a pair of slope {steeper.slope:.4g}; yours has {pair.slope:.4g}"),
            )


def _two_points(x: Tensor, answer: Any) -> tuple[Tensor, Tensor]:
    one, other = (torch.as_tensor(part, dtype=torch.float64).detach() for part in answer)
    if one.shape != x.shape or other.shape != x.shape:
        raise ValueError
    return one, other
