"""The exercises of notebook 03: fold by hand, the product bound, the worst pair."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds import exact_bound
from lliptools.nets import mlp
from lliptools.teach.checks.answers import ask, number
from lliptools.teach.checks.pictures import picture_of
from lliptools.teach.checks.questions import Question, Questions
from lliptools.teach.exercise import Exercise, Finding, show
from lliptools.teach.shared.pair import Pair, pair_of, steepest_pair

__all__ = ["fold_by_hand", "product_bound", "worst_pair"]

SHARE = 0.9  # of the exact constant that a search has to find


def _product_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str | Finding]:
    for weights in _weights(seed):
        small = sum(W.numel() for W in weights) <= 12
        described = "weights " + ", ".join(show(W) if small else f"one of shape {tuple(W.shape)}" for W in weights)
        got = ask(function, described, weights, read=number, wanted="a number")
        truth = torch.stack([torch.linalg.matrix_norm(W, 2) for W in weights]).prod().item()
        if not abs(got) < torch.inf:
            yield f"on {described} your bound is {got}"
        elif abs(got - truth) <= 1e-6 * truth:
            yield ""
        elif (pair := _of_weights(weights)).slope > got:
            text = (
                f"unsound. On {described}, relu between them, f moves by {pair.change:.4g} from x = {show(pair.x)} to "
                f"x′ = {show(pair.other)}, {pair.distance:.4g} apart: slope {pair.slope:.4g}. Your bound is {got:.4g}"
            )
            yield Finding(text, picture_of(pair))
        else:
            kind = "looser" if got > truth else "less, and nothing proves it"
            yield f"on {described} the product of the norms is {truth:.6g}; yours is {got:.6g}, {kind}"


def _of_weights(weights: list[Tensor]) -> Pair:
    """A steep pair of the network with these weights, ReLU between them and no biases."""

    def f(x: Tensor) -> Tensor:
        for W in weights[:-1]:
            x = torch.relu(x @ W.T)
        return x @ weights[-1].T

    pair = steepest_pair(f, torch.zeros(weights[0].shape[1], dtype=torch.float64), 1.0)
    return Pair(f"slope {pair.slope:.4g}, above your bound", pair.x, pair.other, pair.f_x, pair.f_other)


def _weights(seed: int) -> Iterator[list[Tensor]]:
    """Weights of networks: single matrices, |x| written with two units, the fold, then random ones."""
    generator = torch.Generator().manual_seed(seed)
    split, add = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[1.0, 1.0]]).double()
    yield [torch.tensor([[3.0]]).double()]
    yield [split, add]
    yield [torch.tensor([[3.0, 0.0], [0.0, 4.0]]).double()]
    yield [split, split.T, split, split.T]
    for sizes in ((2, 2, 1), (2, 3, 2), (3, 4, 4, 2), (4, 8, 8, 8, 3), (30, 40, 10)):
        for scale in (1.0, 1e-5):
            yield [scale * torch.randn(m, n, generator=generator).double() for n, m in pairwise(sizes)]


def _pair_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str | Finding]:
    for net, x, eps, story in _searched(seed):
        described = f"{story}, x = {show(x)}, eps = {eps:g}"
        exact = exact_bound(net, x[None], eps).value.item()
        read = partial(_two_points, x)
        one, other = ask(function, described, deepcopy(net), x, eps, read=read, wanted="two points like x")
        outside = max((one - x).norm().item(), (other - x).norm().item())
        pair = pair_of(net, "", one, other, center=x, radius=eps)
        if not (one.isfinite().all() and other.isfinite().all()):
            yield f"on {described} your points are not finite: {show(one)}, {show(other)}"
        elif outside > eps * (1 + 1e-9):
            yield f"on {described} one of your points is {outside:.4g} from x, outside of the ball"
        elif not pair.distance:
            yield f"on {described} your two points are one: {show(one)}; 0 / 0 is no slope"
        elif pair.slope > exact * (1 + 1e-6):
            yield (
                f"on {described} your points are {pair.distance:.2g} apart and seem to have slope {pair.slope:.4g}, "
                f"more than the exact constant {exact:.4g}: that near, the difference of the outputs is rounding"
            )
        elif not pair.slope >= SHARE * exact:
            steeper = steepest_pair(net, x, eps)
            text = (
                f"on {described} your pair has slope {pair.slope:.4g}. There is a steeper one: {show(steeper.x)} and "
                f"{show(steeper.other)} have {steeper.slope:.4g} (exact: {exact:.4g}; {SHARE:.0%} of it is wanted)"
            )
            claim = f"a pair of slope {steeper.slope:.4g}; yours has {pair.slope:.4g}"
            ends = (steeper.x, steeper.other, steeper.f_x, steeper.f_other)
            yield Finding(text, picture_of(Pair(claim, *ends, center=x, radius=eps)))
        else:
            yield ""


def _two_points(x: Tensor, answer: Any) -> tuple[Tensor, Tensor]:
    one, other = (torch.as_tensor(part, dtype=torch.float64).detach() for part in answer)
    if one.shape != x.shape or other.shape != x.shape:
        raise ValueError
    return one, other


def _searched(seed: int) -> Iterator[tuple[nn.Sequential, Tensor, float, str]]:
    """Networks with points and radii: slope 3 on one side of a line and 1 on the other, then random ones.

    Other seeds turn the random ones around the origin and stretch their outputs: no case is harder than another.
    """
    bent = mlp(2, 2, 1).double()
    with torch.no_grad():
        for name, values in (
            ("0.weight", [[1.0, 0.0], [-1.0, 0.0]]),
            ("0.bias", [0.0, 0.0]),
            ("2.weight", [[1.0, 3.0]]),
            ("2.bias", [0.0]),
        ):
            bent.get_parameter(name).copy_(torch.tensor(values))
    yield bent, torch.tensor([0.5, 0.0]).double(), 1.0, "f(x) = relu(x₀) + 3 relu(−x₀)"
    # In each a tenth to a quarter of the ball is that steep: a search finds it, and pairs far apart do not.
    generator = torch.Generator().manual_seed(seed)
    for sizes, eps, own in (((2, 6, 1), 1.0, 4), ((2, 8, 2), 1.0, 3), ((2, 16, 3), 0.5, 5), ((2, 8, 8, 2), 1.0, 8)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(own)
            net = mlp(*sizes).double()
            x = torch.randn(sizes[0]).double()
        if seed:
            turn = torch.linalg.qr(torch.randn(2, 2, generator=generator, dtype=torch.float64))[0]
            stretch = 0.5 + torch.rand((), generator=generator).item()
            x = turn @ x
            first, *_, last = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
            with torch.no_grad():
                first.copy_(first @ turn.T)
                last.mul_(stretch)
        yield net, x, eps, f"a random network {'-'.join(map(str, sizes))}"


_OFF = 0.005
fold_by_hand = Questions(
    "fold_by_hand",
    (
        Question("split", 2**0.5, "split: [1; −1] takes 1 to a vector of which length?", _OFF),
        Question("back", 2**0.5, "back: [1, −1] has the norm of its transpose", _OFF),
        Question("product", 8.0, "product: every round multiplies by ‖split‖ ‖back‖, and there are three", _OFF),
        Question("truth", 1.0, "truth: what does relu(x) − relu(−x) give for x = 3, for x = −3?", _OFF),
    ),
    (
        "A matrix with one column, or one row, has the length of that column or row as its norm.",
        "relu(x) − relu(−x) is x itself, whatever its sign: a network can look steep and be the identity.",
        "√2 · √2 = 2 a round; three rounds; the identity moves every point by as much as its input.",
    ),
)
product_bound = Exercise(
    "product_bound",
    _product_faults,
    (
        "Lip(g ∘ f) ≤ Lip(g) Lip(f), and relu has constant 1. What is left?",
        "One spectral norm a matrix, multiplied. The norm of the product of the matrices is another number, and no "
        "bound: relu stands between them.",
        "torch.linalg.matrix_norm(W, 2): the 2 is needed, without it you get the Frobenius norm.",
    ),
)
worst_pair = Exercise(
    "worst_pair",
    _pair_faults,
    (
        "Two points far apart see the average slope between them. Where would a pair see the steepest piece alone?",
        "Look at many centres a of the ball; beside each, b = a + h·v with small h. Which v is stretched most there?",
        "J = torch.autograd.functional.jacobian(f, a) needs f to be differentiable; without it, try many short random "
        "steps, about 1e-3 · eps long, and keep the pair with the largest ‖f(a) − f(b)‖ / ‖a − b‖.",
    ),
)
