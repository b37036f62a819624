"""1-Lipschitz layers compared: the condition, the tightness, the cost and the certified accuracy, in one page.

    python benchmarks/layers.py     # written to benchmarks/results/layers.md

The networks are those that ship with the package: four layers of 64 features of every kind on the digits, trained for
the same epochs with the same loss. Weights of the cost section: seed 0.
"""

from collections.abc import Callable
from functools import partial

import torch
from common import table, timed, write_tables
from torch import Tensor, nn

import lliptools as ll
from lliptools.certificates.accuracy import accuracy_by_bound
from lliptools.layers import condition
from lliptools.nets import Designed

RADII = (0.1, 0.3, 0.5, 1.0)
KINDS = {
    "spectral": ("SN", "‖W‖² I"),
    "aol": ("AOL", "Σ_i \\|WᵀW\\|_ij"),
    "cpl": ("CPL", "‖W‖² I"),
    "sll": ("SLL", "Σ_j \\|WᵀW\\|_ij q_j/q_i"),
    "cayley": ("orthogonal, Cayley", "I, and WᵀW = I"),
    "bro": ("orthogonal, BRO", "I, and WᵀW = I"),
    "sandwich": ("Sandwich", "its own"),
}
DENSE = 256  # features of the cost section
CHANNELS, SIZE = 32, 16
ONE_CONVOLUTION = {"channels": CHANNELS, "convolutions": 1, "dense": 0, "inner_channels": CHANNELS}


def scale(layer: Designed) -> tuple[Tensor, Tensor] | None:
    """W (features, inner) and T (inner,) of a layer, None where it has no T."""
    if isinstance(layer, ll.layers.SLLLinear):
        return layer.weight.T, condition.gershgorin_scale(layer.weight.T, layer.log_q.exp())
    if isinstance(layer, ll.layers.AOLLinear):
        return layer.weight, condition.gershgorin_scale(layer.weight, torch.ones_like(layer.weight[0]))
    if isinstance(layer, ll.layers.CPLLinear | ll.layers.SpectralLinear):
        W = layer.weight.T if isinstance(layer, ll.layers.CPLLinear) else layer.weight
        return W, ll.layers.matrix_norm(W) ** 2 * torch.ones_like(W[0])
    if isinstance(layer, ll.layers.CayleyLinear | ll.layers.BROLinear):
        return layer.matrix(), torch.ones_like(layer.weight[0, 0]).expand(64)
    return None


def jacobian_norms(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Norm of the Jacobian at every point: (batch, features) -> (batch,)."""
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: function(row[None])[0]))(x)
    return torch.linalg.matrix_norm(jacobians, ord=2)


def tightness(net: nn.Sequential, x: Tensor) -> list[object]:
    """Least slack, mean of T/‖W‖² (both empty for layers without a T), largest Jacobian norm of a layer at points x."""
    slacks, ratios, steepest, h = [], [], [], x
    for layer in list(net)[:-1]:
        if isinstance(layer, Designed):
            found = scale(layer)
            if found is not None:
                W, T = (part.detach().double() for part in found)
                slacks.append((condition.slack(W, T) / T.max()).item())
                ratios.append((T.mean() / torch.linalg.matrix_norm(W, ord=2) ** 2).item())
            steepest.append(jacobian_norms(layer, h).max().item())
        h = layer(h).detach()
    return [*([min(slacks), sum(ratios) / len(ratios)] if slacks else ["", ""]), max(steepest)]


def costs(layer: nn.Module, plain: nn.Module, x: Tensor) -> tuple[float, float, float]:
    """In a plain layer's forward passes: forward while training, forward and backward, and forward once exported."""
    x = x.clone().requires_grad_(True)
    with torch.no_grad():
        unit, training = timed(partial(plain, x), 15), timed(partial(layer, x), 5)
        exported = timed(partial(ll.layers.export(layer, tuple(x.shape[1:])), x), 15)
    return training / unit, timed(lambda: layer(x).sum().backward(), 5) / unit, exported / unit


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    x, y = ll.training.digits().x_test, ll.training.digits().y_test
    summary, accuracy, cost = list[list[object]](), list[list[object]](), list[list[object]]()
    plain_dense, plain_conv = nn.Linear(DENSE, DENSE), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
    torch.manual_seed(0)
    flat, images = torch.randn(128, DENSE), torch.randn(64, CHANNELS, SIZE, SIZE)
    for module, points in ((plain_dense, flat), (plain_conv, images)):
        costs(module, module, points)  # the first calls of a process are slower
        cost.append([f"plain {type(module).__name__}", *costs(module, module, points)])
    for kind, (name, formula) in KINDS.items():
        net = ll.nets.load(f"{kind}-digits")
        shown, body = tightness(net, x), jacobian_norms(net[:-1], x)
        dense_cost = costs(ll.layers.lipschitz_mlp(kind, DENSE, 10, depth=1)[0], plain_dense, flat)
        cost.append([f"{name}, dense", *dense_cost])
        if kind in ll.layers.networks.CONVOLUTIONAL:
            convolution = ll.layers.lipschitz_cnn(kind, (CHANNELS, SIZE, SIZE), 10, **ONE_CONVOLUTION)[1]
            cost.append([f"{name}, convolution", *costs(convolution, plain_conv, images)])
        tables = accuracy_by_bound(net, x, y, RADII, {"local": ll.local_bound, "tightest": ll.tightest_bound})
        for one, other in zip(*tables.values(), strict=True):
            accuracy.append([name, one.eps, one.clean, one.attacked, one.certified, other.certified])
        local = tables["local"]
        held = f"{local[0].clean:.3f}", " / ".join(f"{each.certified:.3f}" for each in local)
        summary.append([name, formula, *shown, body.max().item(), body.mean().item(), *dense_cost[1:], *held])
    head = ["layer", "T", "slack", "T/‖W‖²", "layer", "network, largest", "network, mean"]
    head += ["training step", "inference", "clean", "certified"]
    reached = ["layer", "eps", "clean", "attacked (PGD)", "certified, local", "certified, tightest"]
    spent = ["layer", "forward, training", "forward and backward", "forward, exported"]
    write_tables("layers.md", [table(head, summary), table(reached, accuracy), table(spent, cost)])


if __name__ == "__main__":
    main()
