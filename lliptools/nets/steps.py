"""The library's own layers for what programs do: entries moved, scaled and shifted one by one; sums of branches."""

import torch
from torch import Tensor, nn


class Entrywise(nn.Module):
    """Every output is one input times a factor, plus a shift: 0 · x + shift where an output reads none.

    weight, bias: of a shape that broadcasts to an output sample's. index: the shape of an output sample, the place of
    the input in the flat sample; None where every output reads its own input.
    """

    weight: Tensor
    bias: Tensor
    index: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None, index: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", torch.zeros_like(weight) if bias is None else bias.detach().clone())
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        return (x if self.index is None else x.flatten(1)[:, self.index]) * self.weight + self.bias


class Residual(nn.Module):
    """x + block(x), or shortcut(x) + block(x), for two branches with samples of one shape.

    block, shortcut: modules that the bounds can read; they may contain residual layers.
    Source: He et al., "Deep residual learning for image recognition" (CVPR 2016).
    """

    def __init__(self, block: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.block = block
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return (x if self.shortcut is None else self.shortcut(x)) + self.block(x)
