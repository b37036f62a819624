"""Networks by name, and networks whose Lipschitz constants are known."""

from itertools import pairwise

import torch
from torch import nn

from lliptools.errors import InvalidInput
from lliptools.nets.activations import ClippedReLU

__all__ = ["fold", "mlp"]


def mlp(*sizes: int, activation: str = "relu", theta: float = 1.0) -> nn.Sequential:
    """A multi-layer perceptron: Linear(sizes[0], sizes[1]), activation, …, Linear(sizes[-2], sizes[-1]).

    activation: "relu", or "clipped_relu" with one learnable threshold a unit, all starting at theta.
    Raises InvalidInput for fewer than two sizes, a size below 1 or another activation.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise InvalidInput(
            expected="at least two layer sizes, each 1 or more",
            got=f"{sizes}",
            cause="the input or output size was left out",
            next_step="for example mlp(64, 128, 10)",
        )
    if activation not in {"relu", "clipped_relu"}:
        raise InvalidInput(
            expected='activation "relu" or "clipped_relu"',
            got=repr(activation),
            cause="a spelling that differs, or an activation without a rule",
            next_step='mlp(64, 128, 10, activation="clipped_relu")',
        )
    layers: list[nn.Module] = []
    for width, following in pairwise(sizes[:-1]):
        layers.append(nn.Linear(width, following))
        layers.append(nn.ReLU() if activation == "relu" else ClippedReLU(torch.full((following,), theta)))
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def fold(size: int, depth: int) -> nn.Sequential:
    """The identity, written depth times as x = relu(x) − relu(−x): every coordinate is split and folded back.

    A float64 network of size inputs and outputs. Its true Lipschitz constant is 1, the product of the norms of its
    layers is 2^depth. The local bound is 1 near a point whose coordinates are all further than eps from 0, and
    2^depth again as soon as one of them is not.
    """
    split = torch.cat([torch.eye(size), -torch.eye(size)]).double()
    layers: list[nn.Module] = []
    for _ in range(depth):
        into, back = nn.Linear(size, 2 * size).double(), nn.Linear(2 * size, size).double()
        with torch.no_grad():
            into.weight.copy_(split)
            back.weight.copy_(split.T)
            into.bias.zero_()
            back.bias.zero_()
        layers += [into, nn.ReLU(), back]
    return nn.Sequential(*layers)
