"""The exercises of notebook 06 on losses: GloRo, and the local loss."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from math import exp, log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lliptools.bounds import global_bound, local_bound
from lliptools.certificates.margins import own_class
from lliptools.nets import fold, mlp
from lliptools.teach.checks.answers import ask, numbers, told
from lliptools.teach.exercise import Exercise, Fault, show

__all__ = ["gloro_loss", "local_loss"]

CLOSE = 1e-7


def _gloro_cases(function: Callable[..., Any], seed: int) -> Iterator[None]:
    for logits, pairwise, eps, y in _batches(seed):
        described = f"logits {show(logits)}, pairwise {show(pairwise)}, eps {eps:g}, y {y.tolist()}"
        described = described if logits.numel() <= 9 else f"random logits {tuple(logits.shape)}, eps {eps:g}"
        logits, pairwise = logits.requires_grad_(True), pairwise.requires_grad_(True)
        loss = numbers(ask(function, described, logits, pairwise, eps, y), (), described)
        wanted = _gloro_slowly(logits.tolist(), pairwise.tolist(), eps, y.tolist())
        if abs(loss.item() - wanted) > CLOSE * max(1.0, wanted):
            clean = cross_entropy(logits, y).item()
            below = ", less than the cross-entropy of the logits alone" if loss < clean - CLOSE else ""
            raise Fault(f"on {described} the loss is {wanted:.6g}; yours is {loss.item():.6g}{below}")
        if not loss.requires_grad:
            raise Fault(f"on {described} your loss has the right value and no graph: nothing can be trained by it")
        for name, part in (("logits", logits), ("pairwise", pairwise)):
            _compare_slopes(loss, name, part, logits, pairwise, eps, y, described)
        yield


def _compare_slopes(
    loss: Tensor, name: str, part: Tensor, logits: Tensor, pairwise: Tensor, eps: float, y: Tensor, described: str
) -> None:
    """Raise Fault where the loss's gradient in one of its arguments is not the slope of the slow loop."""
    (gradient,) = torch.autograd.grad(loss, part, retain_graph=True, allow_unused=True)
    generator, step = torch.Generator().manual_seed(0), 1e-5
    direction = torch.randn(part.shape, generator=generator, dtype=torch.float64).masked_fill(
        own_class(logits, y) & (name == "pairwise"), 0.0
    )
    ends = []
    for sign in (1, -1):
        f, lip = ((p + sign * step * direction if p is part else p).tolist() for p in (logits, pairwise))
        ends.append(_gloro_slowly(f, lip, eps, y.tolist()))
    slope = (ends[0] - ends[1]) / (2 * step)
    yours = 0.0 if gradient is None else float((gradient * direction).sum())
    if not abs(slope - yours) <= 1e-4 * max(1.0, abs(slope)):
        raise Fault(
            f"on {described} the value is right, but along a random direction of {name} the loss has slope "
            f"{slope:.5g} and your gradient says {yours:.5g}: was something detached?"
        )


def _gloro_slowly(logits: list[list[float]], pairwise: list[list[float]], eps: float, y: list[int]) -> float:
    """The slow loop of the exercise, with the largest score taken out of the exponentials."""
    total = 0.0
    for f, lip, label in zip(logits, pairwise, y, strict=True):
        scores = [*f, max(f[j] + eps * lip[j] for j in range(len(f)) if j != label)]
        top = max(scores)
        total += top + log(sum(exp(score - top) for score in scores)) - f[label]
    return total / len(y)


def _batches(seed: int = 0) -> Iterator[tuple[Tensor, Tensor, float, Tensor]]:
    """Logits, pairwise constants, eps and labels: one point first, negative logits and very large ones among them."""
    generator = torch.Generator().manual_seed(seed)
    one = torch.float64
    yield torch.tensor([[2.0, 1.0]], dtype=one), torch.tensor([[0.0, 2.0]], dtype=one), 0.25, torch.tensor([0])
    yield torch.tensor([[-1.0, -3.0]], dtype=one), torch.tensor([[0.0, 1.0]], dtype=one), 0.5, torch.tensor([0])
    first, then = torch.tensor([[5.0, 1.0, 2.0]], dtype=one), torch.tensor([[0.0, 8.0, 1.0]], dtype=one)
    for eps in (0.0, 0.5):
        yield first.clone(), then.clone(), eps, torch.tensor([0])
    for batch, classes, scale in ((2, 3, 1.0), (5, 4, 3.0), (8, 10, 3.0), (3, 3, 2000.0)):
        logits = scale * torch.randn(batch, classes, generator=generator, dtype=one)
        y = torch.randint(classes, (batch,), generator=generator)
        pairwise = torch.rand(batch, classes, generator=generator, dtype=one).masked_fill(own_class(logits, y), 0.0)
        yield logits, pairwise, 0.7, y


def _local_cases(function: Callable[..., Any], seed: int) -> Iterator[None]:
    for name, net, x, y, eps in _networks(seed):
        for kappa in (0.0, 0.3, 1.0):
            described = f"{name}, x {show(x)}, y {y.tolist()}, eps {eps:g}, kappa {kappa:g}"
            described = described if x.numel() <= 4 else f"{name}, {len(x)} points, eps {eps:g}, kappa {kappa:g}"
            answer = ask(function, described, net, x, y, eps, kappa)
            loss, wanted = numbers(answer, (), described), _local_slowly(net, x, y, eps, kappa)
            _compare_losses(loss.item(), wanted.item(), described, net, x, y, eps, kappa)
            parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
            slopes = [_slope(value, parameters) for value in (loss, wanted)]
            # The fold's norms are singular values that occur twice, where a gradient may be any of many.
            if not (name.startswith("fold") or abs(slopes[0] - slopes[1]) <= 1e-5 * max(1.0, abs(slopes[1]))):
                raise Fault(
                    f"on {described} the value is right, but along a random direction of the weights the loss has "
                    f"slope {slopes[1]:.5g} and your gradient says {slopes[0]:.5g}: does the bound keep its graph?"
                )
            yield


def _compare_losses(
    loss: float, wanted: float, described: str, net: nn.Sequential, x: Tensor, y: Tensor, eps: float, kappa: float
) -> None:
    """Raise Fault for another value than the local loss: with a point of the ball, or with what seems to be behind."""
    room = CLOSE * max(1.0, wanted)
    if abs(loss - wanted) <= room:
        return
    if kappa == 0 and len(x) == 1:
        steps = torch.randn(2000, x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        points = x + eps * steps / steps.norm(dim=1, keepdim=True)
        reached = cross_entropy(net(points), y.expand(len(points)), reduction="none").detach()
        n = int(reached.argmax())
        if reached[n] > loss + room:
            raise Fault(
                f"unsound. On {described} the point {show(points[n])} of the ball has loss {reached[n]:.6g}, "
                f"but your worst case is {loss:.6g}"
            )
    behind = ""
    for story, other in _other_losses(net, x, y, eps, kappa):
        if abs(loss - other) <= room:
            behind = f": {story}"
    raise Fault(f"on {described} the loss is {wanted:.6g}; yours is {loss:.6g}{behind}")


def _other_losses(net: nn.Sequential, x: Tensor, y: Tensor, eps: float, kappa: float) -> Iterator[tuple[str, float]]:
    """What the classic mistakes compute."""
    logits = net(x)
    reaches = {
        "that is the bound for radius 0, whose masks hold at x alone": local_bound(net, x, 0.0).pairwise(y),
        "that is the global bound, with no unit struck": global_bound(net, x).pairwise(y),
        "the first point's bound serves all points": local_bound(net, x[:1].expand_as(x), eps).pairwise(y),
    }
    for story, pairwise in reaches.items():
        worst = cross_entropy(logits + eps * pairwise, y)
        yield story, (kappa * cross_entropy(logits, y) + (1 - kappa) * worst).item()
    worst = cross_entropy(logits + eps * local_bound(net, x, eps).pairwise(y), y)
    yield "the weights κ and 1 − κ are exchanged", ((1 - kappa) * cross_entropy(logits, y) + kappa * worst).item()


def _local_slowly(net: nn.Sequential, x: Tensor, y: Tensor, eps: float, kappa: float) -> Tensor:
    """The slow loop of the exercise: every point with its own ball and masks."""
    total = torch.zeros((), dtype=torch.float64)
    for n in range(len(y)):
        point, label = x[n : n + 1], y[n : n + 1]
        pairwise = local_bound(net, point, eps, differentiable="norms").pairwise(label)
        logits = net(point)
        total = total + kappa * cross_entropy(logits, label)
        total = total + (1 - kappa) * cross_entropy(logits + eps * pairwise, label)
    return total / len(y)


def _slope(loss: Tensor, parameters: list[nn.Parameter]) -> float:
    """The derivative along a fixed random direction of the weights; 0 without a graph."""
    generator = torch.Generator().manual_seed(0)
    found = torch.autograd.grad(loss, parameters, allow_unused=True) if loss.requires_grad else [None] * len(parameters)
    total = 0.0
    for parameter, gradient in zip(parameters, found, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        total += 0.0 if gradient is None else float((gradient * direction).sum())
    return total


@lru_cache(maxsize=2)
def _networks(seed: int) -> tuple[tuple[str, nn.Sequential, Tensor, Tensor, float], ...]:
    """A step that radius 0 does not see, the fold, and random networks; with points, labels and a radius."""
    one, first = torch.float64, torch.tensor([0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        step, identity = mlp(1, 1, 2).double(), fold(2, 1)
        nets = [mlp(3, 8, 3).double(), mlp(3, 8, 6, 3, activation="clipped_relu", theta=0.3).double()]
        points = [(torch.randn(4, 3, dtype=one), torch.arange(4) % 3) for _ in nets]
    with torch.no_grad():
        for parameter, value in zip(step.parameters(), ([[10.0]], [-2.0], [[0.0], [1.0]], [1.0, 0.0]), strict=True):
            parameter.copy_(torch.tensor(value, dtype=one))
    return (
        ("f(t) = (1, relu(10 t − 2))", step, torch.zeros(1, 1, dtype=one), first, 0.5),
        ("fold(2, 1), which is the identity", identity, torch.tensor([[2.0, 1.0]], dtype=one), first, 0.5),
        ("fold(2, 1), which is the identity", identity, torch.tensor([[2.0, 0.25]], dtype=one), first, 0.5),
        *(("a random network", net, x, y, 0.2) for net, (x, y) in zip(nets, points, strict=True)),
    )


gloro_loss = Exercise(
    "gloro_loss",
    told(_gloro_cases),
    (
        "Add one class: its score is the most that any *other* class can reach in the ball. Then it is cross-entropy.",
        "Exclude class y from that maximum by −inf at its index. With 0 there, negative scores of the others would "
        "lose to it; with its own logit there, a point that wins by far would be punished.",
        "worst = (logits + eps * pairwise).scatter(1, y[:, None], -torch.inf).amax(dim=1, keepdim=True); then "
        "cross_entropy(torch.cat([logits, worst], dim=1), y).",
    ),
)
local_loss = Exercise(
    "local_loss",
    told(_local_cases),
    (
        "The loss wants, for every point, the constants of f_y − f_j on *its* ball of radius eps: one call of "
        "ll.local_bound does it for the whole batch.",
        "Bound.pairwise(y) is (batch, classes), 0 at j = y: logits + eps · pairwise are the worst logits.",
        'Training has to see through the norms: ll.local_bound(net, x, eps, differentiable="norms"). Then '
        "kappa * cross_entropy(logits, y) + (1 - kappa) * cross_entropy(worst, y).",
    ),
)
