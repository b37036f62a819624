"""The exercises of notebook 05 on thresholds: the sparsity loss that trains with them, and no clipping at all."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds import local_bound
from lliptools.nets import ClippedReLU, mlp
from lliptools.teach.exercises.answers import ask, differs, same_gradients
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong, show
from lliptools.teach.exercises.nb05 import ReluThetaMask

__all__ = ["SparsityLoss", "ThetaToInfinity"]


class SparsityLoss(Exercise):
    """sparsity_loss(lower, upper, theta, s): mean relu(upper) plus s · mean relu(theta − lower), with its graph."""

    hints = (
        "How far is a box [lower, upper] from the zone below 0? By how much does it fail to be above θ?",
        "relu(upper) and relu(theta - lower): 0 once the box is there. Mean over the units, the second times s.",
        "upper.relu().mean() + s * (theta - lower).relu().mean(), and no .item(): training needs the gradient.",
    )

    reference = staticmethod(lambda lower, upper, theta, s: upper.relu().mean() + s * (theta - lower).relu().mean())
    wrong = (
        (lambda lower, upper, theta, s: upper.relu().sum() + s * (theta - lower).relu().sum(), "the loss is"),
        (lambda lower, upper, theta, s: upper.relu().mean() + (theta - lower).relu().mean(), "the loss is 1.5"),
        (lambda lower, upper, theta, s: upper.relu().mean() + s * (lower - theta).relu().mean(), "the loss is"),
        (lambda lower, upper, theta, s: ReluThetaMask.reference(lower, upper, theta).double().mean(), "the loss is"),
        (lambda *case: SparsityLoss.reference(*case).item(), "its gradient in lower"),
        (lambda lower, upper, *rest: SparsityLoss.reference(lower, upper.detach(), *rest), "its gradient in upper"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor, float]]:
        for low, high in ((-2.0, -1.0), (2.0, 3.0), (0.25, 0.5), (-1.0, 0.5), (-1.0, 2.0)):
            yield torch.tensor([low]).double(), torch.tensor([high]).double(), torch.tensor(1.0).double(), 0.5
        for units in (2, 3, 6):
            lower = torch.randn(units).double()
            upper = lower + torch.rand(units).double()
            yield lower, upper, torch.rand(units).double(), 0.1
            yield lower, upper, torch.tensor(0.5).double(), 1.0

    def check(self, answer: Answer, lower: Tensor, upper: Tensor, theta: Tensor, s: float) -> None:
        case, ends = self.described(lower, upper, theta, s), [lower.requires_grad_(), upper.requires_grad_()]
        loss = ask(answer, case, *ends, theta, s, read=_loss, wanted="a tensor with one number")
        truth = self.reference(lower, upper, theta, s)
        if not abs(loss.item() - truth.item()) <= 1e-9:
            raise differs(case, "the loss", truth.item(), loss.item())
        same_gradients(case, truth, loss, dict(zip(("lower", "upper"), ends, strict=True)))


def _loss(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).reshape(())


def _clipped_at(theta: float, net: nn.Sequential) -> nn.Sequential:
    layers = (ClippedReLU(theta) if isinstance(layer, ClippedReLU) else layer for layer in net)
    return nn.Sequential(*layers)


def _in_place(net: nn.Sequential) -> nn.Sequential:
    for layer in net:
        if isinstance(layer, ClippedReLU):
            layer.theta.data.fill_(torch.inf)
    return net


class ThetaToInfinity(Exercise):
    """theta_to_infinity(net): a network with the same weights that never clips; net stays as it is."""

    hints = (
        "min(max(z, 0), θ) is relu(z) as soon as z never reaches θ. Which θ is never reached?",
        "torch.inf is a threshold like any other. Leave the given network as it is: build a new Sequential.",
        "torch.nn.Sequential(*(ll.nets.ClippedReLU(torch.inf) if isinstance(layer, ll.nets.ClippedReLU) else layer "
        "for layer in net)); it may share the linear layers.",
    )

    reference = staticmethod(partial(_clipped_at, torch.inf))
    wrong = (
        (_in_place, "you changed the network"),
        (lambda net: net, "the outputs differ"),
        (partial(_clipped_at, 100.0), "the outputs differ"),
        (partial(_clipped_at, 0.0), "the outputs differ"),
        (lambda net: nn.Sequential(*_clipped_at(torch.inf, net), nn.ReLU(), nn.ReLU()), "differ"),
    )

    def cases(self, seed: int) -> Iterator[tuple[nn.Sequential, Tensor, str]]:
        for sizes, theta, scale in (((1, 2, 1), 1.0, 1.0), ((2, 4, 2), 0.1, 1.0), ((3, 8, 8, 2), 0.5, 1e4)):
            net = mlp(*sizes, activation="clipped_relu", theta=theta).double()
            x = 3 * torch.randn(20, sizes[0]).double()
            with torch.no_grad():
                for layer in net:
                    if isinstance(layer, nn.Linear):
                        layer.weight.mul_(scale)
            yield net, x, f"mlp{(*sizes,)} clipped at {theta:g}, weights × {scale:g}"

    def check(self, answer: Answer, net: nn.Sequential, x: Tensor, case: str) -> None:
        plain = nn.Sequential(*(nn.ReLU() if isinstance(layer, ClippedReLU) else layer for layer in deepcopy(net)))
        before = deepcopy(net.state_dict())
        free = ask(answer, case, net, read=_network, wanted="a network")
        if any(not torch.equal(value, before[key]) for key, value in net.state_dict().items()):
            raise Wrong(f"on {case} you changed the network that was given to you; work on a copy")
        expected = plain(x)
        outputs = ask(free, f"{case}, applied to points,", x, read=expected.sub, wanted="outputs")
        apart, largest = outputs.abs().amax().item(), expected.abs().amax().item()
        if not apart <= 1e-9 * largest:
            raise Wrong(f"on {case} the outputs differ from those of the same weights with ReLU by up to {apart:.4g}")
        for eps in (0.0, 0.1, 1.0):
            truth = local_bound(plain, x[:3], eps).value
            found = ask(lambda *where: local_bound(free, *where).value, f"{case}, to be bounded,", x[:3], eps)
            if not torch.allclose(found, truth, rtol=1e-9):
                raise Wrong(f"on {case} at eps = {eps:g} the local bounds are {show(truth)}; yours are {show(found)}")


def _network(value: Any) -> nn.Sequential:
    if not isinstance(value, nn.Sequential):
        raise TypeError
    return value.double()
