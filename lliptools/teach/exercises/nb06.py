"""The exercises of notebook 06 on losses: GloRo, and the local loss."""

from collections.abc import Iterator
from math import inf

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lliptools.bounds import global_bound, local_bound
from lliptools.certificates.margins import own_class
from lliptools.nets import fold, mlp
from lliptools.teach.exercises.answers import ask_numbers, differs, same_gradients
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show

__all__ = ["GloroLoss", "LocalLoss"]

CLOSE = 1e-7


def _gloro(logits: Tensor, pairwise: Tensor, eps: float, y: Tensor, *, own: float | None) -> Tensor:
    """The loss with the own class's score, in the maximum over the others, replaced by `own`, if by anything."""
    reached = logits + eps * pairwise
    worst = (reached if own is None else reached.scatter(1, y[:, None], own)).amax(dim=1, keepdim=True)
    return cross_entropy(torch.cat([logits, worst], dim=1), y)


def _gloro_overflowing(logits: Tensor, pairwise: Tensor, eps: float, y: Tensor) -> Tensor:
    worst = (logits + eps * pairwise).scatter(1, y[:, None], -inf).amax(dim=1, keepdim=True)
    return (torch.cat([logits, worst], dim=1).exp().sum(dim=1).log() - logits.gather(1, y[:, None])[:, 0]).mean()


class GloroLoss(Exercise):
    """gloro_loss(logits, pairwise, eps, y): cross-entropy with one more class, the worst of the others in the ball.

    logits, pairwise (batch, classes), y (batch,); returns the mean, with its graph.
    """

    hints = (
        "Add one class: its score is the most that any *other* class can reach in the ball. Then it is cross-entropy.",
        "Exclude class y from that maximum by −inf at its index. With 0 there, negative scores of the others would "
        "lose to it; with its own logit there, a point that wins by far would be punished.",
        "worst = (logits + eps * pairwise).scatter(1, y[:, None], -torch.inf).amax(dim=1, keepdim=True); then "
        "cross_entropy(torch.cat([logits, worst], dim=1), y).",
    )

    reference = staticmethod(lambda logits, pairwise, eps, y: _gloro(logits, pairwise, eps, y, own=-inf))
    wrong = (
        (lambda *case: _gloro(*case, own=0.0), "logits = [[-1.0, -3.0]]"),
        (lambda *case: _gloro(*case, own=None), "the loss is"),
        (lambda logits, pairwise, eps, y: cross_entropy(logits, y), "the loss is"),
        (lambda logits, pairwise, eps, y: len(y) * GloroLoss.reference(logits, pairwise, eps, y), "the loss is"),
        (_gloro_overflowing, "not finite"),
        (lambda f, pairwise, eps, y: GloroLoss.reference(f, pairwise.detach(), eps, y), "its gradient in pairwise"),
        (lambda *case: GloroLoss.reference(*case).item(), "no graph"),
        (lambda logits, pairwise, eps, y: GloroLoss.reference(logits, 2**0.5 * pairwise, eps, y), "the loss is"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, float, Tensor]]:
        # One point first, negative logits and very large ones among them.
        for f, constants, eps in (
            ([2.0, 1.0], [0.0, 2.0], 0.25),
            ([-1.0, -3.0], [0.0, 1.0], 0.5),
            ([5.0, 1.0, 2.0], [0.0, 8.0, 1.0], 0.0),
            ([5.0, 1.0, 2.0], [0.0, 8.0, 1.0], 0.5),
        ):
            yield torch.tensor([f]).double(), torch.tensor([constants]).double(), eps, torch.tensor([0])
        for batch, classes, scale in ((2, 3, 1.0), (5, 4, 3.0), (8, 10, 3.0), (3, 3, 2000.0)):
            logits = scale * torch.randn(batch, classes, dtype=torch.float64)
            y = torch.randint(classes, (batch,))
            pairwise = torch.rand(batch, classes, dtype=torch.float64)
            yield logits, pairwise.masked_fill(own_class(logits, y), 0.0), 0.7, y

    def check(self, answer: Answer, logits: Tensor, pairwise: Tensor, eps: float, y: Tensor) -> None:
        case = self.described(logits, pairwise, eps, y)
        logits.requires_grad_(), pairwise.requires_grad_()
        arguments = logits, pairwise.masked_fill(own_class(logits, y), 0.0), eps, y  # no gradient in what stays 0
        loss, truth = ask_numbers(answer, case, (), *arguments), self.reference(*arguments)
        if not abs(loss.item() - truth.item()) <= CLOSE * max(1.0, truth.item()):
            clean = cross_entropy(logits, y).item()
            below = ", less than the cross-entropy of the logits alone" if loss < clean - CLOSE else ""
            raise differs(case, "the loss", truth.item(), loss.item(), below)
        if not loss.requires_grad:
            raise Wrong(f"on {case} your loss has the right value and no graph: nothing can be trained by it")
        same_gradients(case, truth, loss, {"logits": logits, "pairwise": pairwise})


def _loss_by(constants: Answer) -> Answer:
    """The loss for constants(net, x, y, eps) of f_y − f_j, (batch, classes)."""

    def loss(net: nn.Sequential, x: Tensor, y: Tensor, eps: float, kappa: float) -> Tensor:
        logits = net(x)
        worst = logits + eps * constants(net, x, y, eps)
        return kappa * cross_entropy(logits, y) + (1 - kappa) * cross_entropy(worst, y)

    return loss


def _local(net: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> Tensor:
    return local_bound(net, x, eps, differentiable=True).pairwise(y)


def _exchanged(net: nn.Sequential, x: Tensor, y: Tensor, eps: float, kappa: float) -> Tensor:
    return _loss_by(_local)(net, x, y, eps, 1 - kappa)


_at_radius_0 = _loss_by(lambda net, x, y, eps: _local(net, x, y, 0.0))
_everywhere = _loss_by(lambda net, x, y, eps: global_bound(net, x, differentiable=True).pairwise(y))
_first_serves_all = _loss_by(lambda net, x, y, eps: _local(net, x[:1].expand_as(x), y, eps))
STORIES = (
    (_at_radius_0, "that is the bound for radius 0, whose masks are true at x alone"),
    (_everywhere, "that is the global bound, with no unit masked"),
    (_first_serves_all, "the first point's bound serves all points"),
    (_exchanged, "the weights κ and 1 − κ are exchanged"),
)


class LocalLoss(Exercise):
    """local_loss(net, x, y, eps, kappa): kappa · cross-entropy + (1 − kappa) · cross-entropy of the worst logits.

    x (batch, inputs), y (batch,); every point has its own ball and masks. Returns the mean, with its graph.
    """

    hints = (
        "The loss wants, for every point, the constants of f_y − f_j on *its* ball of radius eps: one call of "
        "ll.local_bound does it for the whole batch.",
        "Bound.pairwise(y) is (batch, classes), 0 at j = y: logits + eps · pairwise are the worst logits.",
        "Training has to see through the norms: ll.local_bound(net, x, eps, differentiable=True). Then "
        "kappa * cross_entropy(logits, y) + (1 - kappa) * cross_entropy(worst, y).",
    )

    reference = staticmethod(_loss_by(_local))
    wrong = (
        (_at_radius_0, "unsound. On f(t) = (1, relu(10 t − 2))"),
        (_loss_by(lambda net, x, *_: torch.zeros(len(x), net(x).shape[1])), "unsound"),
        (_everywhere, "that is the global bound"),
        (_loss_by(lambda net, x, y, eps: local_bound(net, x, eps).pairwise(y)), "was something detached?"),
        (_first_serves_all, "the first point's bound serves all points"),
        (_exchanged, "unsound"),
        (lambda net, x, y, eps, kappa: _exchanged(net, x, y, eps, kappa or 1.0), "exchanged"),
    )

    def cases(self, seed: int) -> Iterator[tuple[nn.Sequential, Tensor, Tensor, float, float, str]]:
        one, first = torch.float64, torch.tensor([0])
        nets = [mlp(3, 8, 3).double(), mlp(3, 8, 6, 3, activation="clipped_relu", theta=0.3).double()]
        points = [torch.randn(4, 3, dtype=one) for _ in nets]
        step, identity = mlp(1, 1, 2).double(), fold(2, 1)
        with torch.no_grad():
            values = ([[10.0]], [-2.0], [[0.0], [1.0]], [1.0, 0.0])
            for parameter, value in zip(step.parameters(), values, strict=True):
                parameter.copy_(torch.tensor(value, dtype=one))
        for net, x, y, eps, story in (
            (step, torch.zeros(1, 1, dtype=one), first, 0.5, "f(t) = (1, relu(10 t − 2))"),
            (identity, torch.tensor([[2.0, 1.0]], dtype=one), first, 0.5, "fold(2, 1), which is the identity"),
            (identity, torch.tensor([[2.0, 0.25]], dtype=one), first, 0.5, "fold(2, 1), which is the identity"),
            *((net, x, torch.arange(4) % 3, 0.2, "a random network") for net, x in zip(nets, points, strict=True)),
        ):
            yield from ((net, x, y, eps, kappa, story) for kappa in (0.0, 0.3, 1.0))

    def check(
        self, answer: Answer, net: nn.Sequential, x: Tensor, y: Tensor, eps: float, kappa: float, story: str
    ) -> None:
        where = f"x {show(x)}, y {y.tolist()}" if x.numel() <= 4 else f"{len(x)} points"
        case = f"{story}, {where}, eps {eps:g}, kappa {kappa:g}"
        loss = ask_numbers(answer, case, (), net, x, y, eps, kappa)
        alone = [self.reference(net, x[n : n + 1], y[n : n + 1], eps, kappa) for n in range(len(y))]
        truth = torch.stack(alone).mean()
        room = CLOSE * max(1.0, truth.item())
        if not abs(loss.item() - truth.item()) <= room:
            if kappa == 0 and len(x) == 1:
                _refute_worst(net, x, y, eps, loss.item() + room, case)
            stories = [f": {story}" for other, story in STORIES if abs(loss - other(net, x, y, eps, kappa)) <= room]
            raise differs(case, "the loss", truth.item(), loss.item(), stories[-1] if stories else "")
        # The fold's norms are singular values that occur twice, where a gradient may be any of many.
        if not story.startswith("fold"):
            same_gradients(case, truth, loss, dict(net.named_parameters()))


def _refute_worst(net: nn.Sequential, x: Tensor, y: Tensor, eps: float, worst: float, case: str) -> None:
    """Raise Wrong for a point on the sphere around x, (1, inputs), whose loss is above the worst one."""
    steps = torch.randn(2000, x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = x + eps * steps / steps.norm(dim=1, keepdim=True)
    reached = cross_entropy(net(points), y.expand(len(points)), reduction="none").detach()
    n = int(reached.argmax())
    if reached[n] > worst:
        raise Wrong(
            f"unsound. On {case} the point {show(points[n])} of the ball has loss {reached[n]:.6g}, "
            f"but your worst case is {worst:.6g}"
        )
