"""The Jacobians of designed layers at the worst activation patterns, and convolutions as dense matrices by loops."""

import itertools

import torch
from torch import Tensor, nn

from lliptools.nets import Designed


def matrix(function, shape, dtype=torch.float64) -> Tensor:
    """The matrix of a function that is affine on samples of a shape."""
    count = int(torch.tensor(shape).prod())
    eye = torch.eye(count, dtype=dtype).reshape(count, *shape)
    return (function(eye) - function(torch.zeros_like(eye))).flatten(1).T.double()


def worst_norm(layer: Designed, shape, dtype=torch.float64, patterns: int = 40) -> float:
    """The largest norm of the Jacobian over patterns of slopes 0 and 1: all of up to 8 inner units, or some of more.

    The weights are those of the given precision, the products are in float64.
    """
    with torch.no_grad():
        chain = layer.chain(shape, dtype)
        linear = [step for step in chain.steps if not isinstance(step, nn.Module)]
        maps = []
        for step in linear:
            operator = step.operators[0].with_entries(Tensor.double)
            maps.append(matrix(operator, operator.in_shape))
        if len(maps) == 1:
            return torch.linalg.matrix_norm(maps[0], 2).item()
        there, back = maps
        inner = len(there)
        if inner <= 8:
            slopes = torch.tensor(list(itertools.product((0.0, 1.0), repeat=inner)), dtype=torch.float64)
        else:
            slopes = (torch.rand(patterns, inner) < torch.rand(patterns, 1)).double()
            slopes = torch.cat([slopes, torch.ones(1, inner).double()])
        whole = (back * slopes[:, None]) @ there
        if chain.skip:
            whole = whole + torch.eye(len(back), dtype=torch.float64)
        return torch.linalg.matrix_norm(whole, 2).max().item()


def sampled_norm(layer: nn.Module, shape, count: int = 10, size: float = 2.0) -> float:
    """The largest norm of the Jacobian of forward itself at random points, by automatic differentiation."""
    x = size * torch.randn(count, *shape, dtype=torch.float64)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: layer(row[None])[0].flatten()))(x)
    return torch.linalg.matrix_norm(jacobians.flatten(2), 2).max().item()


def dense_convolution(kernel: Tensor, size: tuple[int, int], padding: int, stride: int, circular: bool) -> Tensor:
    """The matrix of a convolution, entry by entry: kernel (out, in, k, l)."""
    out, channels, *sides = kernel.shape
    rows = [(n + 2 * padding - k) // stride + 1 for n, k in zip(size, sides, strict=True)]
    found = torch.zeros(out, *rows, channels, *size, dtype=torch.float64)
    for i, j, a, b in itertools.product(range(rows[0]), range(rows[1]), range(sides[0]), range(sides[1])):
        y, x = i * stride + a - padding, j * stride + b - padding
        if circular:
            y, x = y % size[0], x % size[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            found[:, i, j, :, y, x] += kernel[:, :, a, b].double()
    return found.reshape(out * rows[0] * rows[1], -1)


def trained(layer: nn.Module, shape, steps: int = 10, rate: float = 0.1) -> nn.Module:
    """The layer after a few steps towards large outputs, which every parameter takes part in."""
    for parameter in layer.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    optimiser = torch.optim.Adam(layer.parameters(), rate)
    parameter = next(layer.parameters())
    for _ in range(steps):
        x = torch.randn(8, *shape, dtype=parameter.dtype)
        optimiser.zero_grad()
        (-(layer(x) ** 2).sum()).backward()
        optimiser.step()
    return layer
