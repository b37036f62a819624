"""The exercises of notebook 05 on thresholds: the sparsity loss that trains with them, and no clipping at all."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds import local_bound
from lliptools.nets import ClippedReLU, mlp
from lliptools.teach.checks.answers import ask
from lliptools.teach.exercise import Exercise, show

__all__ = ["sparsity_loss", "theta_to_infinity"]


def _loss_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str]:
    for lower, upper, theta, s in _loss_cases(seed):
        described = f"lower = {show(lower)}, upper = {show(upper)}, theta = {show(theta)}, s = {s:g}"
        lower.requires_grad_()
        upper.requires_grad_()
        loss = ask(function, described, lower, upper, theta, s, read=_loss, wanted="a tensor with one number")
        slow = sum(max(u, 0.0) for u in upper.tolist()) / len(upper)
        limits = theta.expand_as(lower).tolist()
        slow += s * sum(max(t - low, 0.0) for t, low in zip(limits, lower.tolist(), strict=True)) / len(lower)
        if not abs(loss.item() - slow) <= 1e-9:
            yield f"on {described} the loss is {slow:.4g}; yours is {loss.item():.4g}"
            continue
        wanted = (-s * (theta > lower).double() / len(lower), (upper > 0).double() / len(upper))
        got = torch.autograd.grad(loss, (lower, upper), allow_unused=True) if loss.requires_grad else (None, None)
        for name, mine, truth in zip(("lower", "upper"), got, wanted, strict=True):
            mine = torch.zeros_like(truth) if mine is None else mine
            if not torch.allclose(mine, truth, atol=1e-9):
                yield (
                    f"on {described} the value is right, but its gradient in {name} is {show(mine)} and not "
                    f"{show(truth)}: training could not follow it"
                )
                break
        else:
            yield ""


def _loss(value: Any) -> Tensor:
    loss = torch.as_tensor(value, dtype=torch.float64)
    return loss.reshape(())


def _loss_cases(seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor, float]]:
    """Boxes off every kink, thresholds and weights: one unit in each zone and across both, then random ones."""
    for low, high in ((-2.0, -1.0), (2.0, 3.0), (0.25, 0.5), (-1.0, 0.5), (-1.0, 2.0)):
        yield torch.tensor([low]).double(), torch.tensor([high]).double(), torch.tensor(1.0).double(), 0.5
    generator = torch.Generator().manual_seed(seed)
    for units in (2, 3, 6):
        lower = torch.randn(units, generator=generator).double()
        upper = lower + torch.rand(units, generator=generator).double()
        yield lower, upper, torch.rand(units, generator=generator).double(), 0.1
        yield lower, upper, torch.tensor(0.5).double(), 1.0


def _infinity_faults(function: Callable[..., Any], seed: int = 0) -> Iterator[str]:
    for sizes, theta, scale in (((1, 2, 1), 1.0, 1.0), ((2, 4, 2), 0.1, 1.0), ((3, 8, 8, 2), 0.5, 1e4)):
        described = f"mlp{(*sizes,)} clipped at {theta:g}, weights × {scale:g}"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = mlp(*sizes, activation="clipped_relu", theta=theta).double()
            x = 3 * torch.randn(20, sizes[0]).double()
        with torch.no_grad():
            for layer in net:
                if isinstance(layer, nn.Linear):
                    layer.weight.mul_(scale)
        plain = nn.Sequential(*(nn.ReLU() if isinstance(layer, ClippedReLU) else layer for layer in copy.deepcopy(net)))
        before = copy.deepcopy(net.state_dict())
        free = ask(function, described, net, read=_network, wanted="a network")
        if any(not torch.equal(value, before[key]) for key, value in net.state_dict().items()):
            yield f"on {described} you changed the network that was given to you; work on a copy"
            continue
        expected = plain(x)
        outputs = ask(free, f"{described}, applied to points,", x, read=expected.sub, wanted="outputs")
        apart, largest = outputs.abs().amax().item(), expected.abs().amax().item()
        if not apart <= 1e-9 * largest:
            yield f"on {described} the outputs differ from those of the same weights with ReLU by up to {apart:.4g}"
            continue
        for eps in (0.0, 0.1, 1.0):
            truth = local_bound(plain, x[:3], eps).value
            bound = ask(_local_values, f"{described}, to be bounded,", free, x[:3], eps)
            if not torch.allclose(bound, truth, rtol=1e-9):
                yield f"on {described} at eps = {eps:g} the local bounds are {show(truth)}; yours are {show(bound)}"
                break
        else:
            yield ""


def _local_values(net: nn.Sequential, x: Tensor, eps: float) -> Tensor:
    return local_bound(net, x, eps).value


def _network(value: Any) -> nn.Sequential:
    if not isinstance(value, nn.Sequential):
        raise TypeError
    return value.double()


sparsity_loss = Exercise(
    "sparsity_loss",
    _loss_faults,
    (
        "How far is a box [lower, upper] from the zone below 0? By how much does it fail to be above θ?",
        "relu(upper) and relu(theta - lower): 0 once the box is there. Mean over the units, the second times s.",
        "upper.relu().mean() + s * (theta - lower).relu().mean(), and no .item(): training needs the gradient.",
    ),
)
theta_to_infinity = Exercise(
    "theta_to_infinity",
    _infinity_faults,
    (
        "min(max(z, 0), θ) is relu(z) as soon as z never reaches θ. Which θ is never reached?",
        "torch.inf is a threshold like any other. Leave the given network as it is: build a new Sequential.",
        "torch.nn.Sequential(*(ll.nets.ClippedReLU(torch.inf) if isinstance(layer, ll.nets.ClippedReLU) else layer "
        "for layer in net)); it may share the linear layers.",
    ),
)
