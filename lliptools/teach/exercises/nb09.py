"""The exercises of notebook 09: the constant of a max-pooling layer, a network that takes pixels."""

from collections.abc import Iterator
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds import local_bound
from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.teach.exercises.answers import ask, ask_number, differs
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong

__all__ = ["PixelModule", "PoolConstant"]


class PoolConstant(Exercise):
    """pool_constant(size, stride): the Lipschitz constant of max pooling over size × size windows, on large images."""

    hints = (
        "Brighten one pixel that is the largest of all its windows. How many outputs rise?",
        "Along one axis a pixel lies in at most ⌈size / stride⌉ windows; that number squared of outputs rise.",
        "The length of a vector with n ones is √n: the constant is ⌈size / stride⌉.",
    )
    reference = staticmethod(lambda size, stride: ceil(size / stride))
    wrong = (
        (lambda size, stride: 1, "outputs rise"),
        (lambda size, stride: size / stride, "outputs rise"),
        (lambda size, stride: ceil(size / stride) ** 2, "the constant is"),
        (lambda size, stride: size, "the constant is"),
    )

    def cases(self, seed: int) -> Iterator[tuple[int, int]]:
        yield from ((3, 2), (2, 2), (2, 1), (2, 3))
        yield from torch.randint(1, 12, (8, 2)).tolist()

    def check(self, answer: Answer, size: int, stride: int) -> None:
        case, truth = self.described(size, stride), self.reference(size, stride)
        got = ask_number(answer, case, size, stride)
        if not got >= truth - 1e-9:
            raise Wrong(
                f"unsound. On {case} one pixel lies in {truth**2} windows: as many outputs rise by 1, {got:g} < {truth}"
            )
        if not got <= truth + 1e-9:
            raise differs(case, "the constant", truth, got)


class _Pixels(nn.Module):
    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.net, self.mean, self.std = net, nn.Buffer(mean), nn.Buffer(std)

    def forward(self, x: Tensor) -> Any:
        return self.net((x - self.mean) / self.std)


class PixelModule(Exercise):
    """pixel_module(net, mean, std): an nn.Module that takes pixels in [0, 1] and normalises them before net."""

    hints = (
        "A subclass of torch.nn.Module with a forward method; keep mean and std with it.",
        "In __init__ self.register_buffer('mean', mean); forward returns self.net((x - self.mean) / self.std).",
        "class Pixels(torch.nn.Module), super().__init__() first, then self.net = net and the two buffers.",
    )
    reference = staticmethod(_Pixels)
    wrong = (
        (lambda net, mean, std: net, "its logits differ"),
        (lambda net, mean, std: lambda x: net((x - mean) / std), "expected a torch.nn.Module"),
        (lambda net, mean, std: _Pixels(net, mean * std, std), "its logits differ"),
    )

    def cases(self, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        mean, std = torch.rand(2, 3, 1, 1).double() / 2 + 0.1
        yield mean, std, torch.rand(4, 3, 4, 4).double()

    def check(self, answer: Answer, mean: Tensor, std: Tensor, x: Tensor) -> None:
        torch.default_generator.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).double()
        found = ask(answer, "a small convolutional net", net, mean, std)
        if not isinstance(found, nn.Module):
            raise Wrong(f"expected a torch.nn.Module; got {type(found).__name__}")
        gap = (found.eval()(x) - net((x - mean) / std)).abs().max().item()
        if not gap <= 1e-9:
            raise Wrong(f"its logits differ from net((x - mean) / std) by {gap:.3g}")
        try:
            local_bound(found, x, 0.1)
        except (UnsupportedLayer, InvalidInput) as refused:
            raise Wrong(f"ll.local_bound does not read it: {refused}") from None
