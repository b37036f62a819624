"""Linear maps of a few inputs for every output: paddings, repetitions, permutations, means of windows."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from lliptools.nets.operators import Operator, Shape


@dataclass(frozen=True, eq=False)
class Gather(Operator):
    """Sums of a few inputs, different ones but for weights of 0: weight (*out_shape, terms), index (outputs, terms)."""

    index: Tensor

    @property
    def out_shape(self) -> Shape:
        return tuple(self.weight.shape[:-1])

    @property
    def terms(self) -> int:
        return self.weight.shape[-1]

    def __call__(self, h: Tensor) -> Tensor:
        picked = h.flatten(1)[:, self.index.to(h.device)].reshape(len(h), *self.weight.shape)
        return torch.where(self.weight == 0, 0.0, picked * self.weight).sum(dim=-1)

    def adjoint(self, z: Tensor) -> Tensor:
        spread = (z.reshape(len(z), *self.out_shape, 1) * self.weight).flatten(1)
        found = z.new_zeros(len(z), prod(self.in_shape))
        return found.index_add(1, self.index.to(z.device).flatten(), spread).reshape(len(z), *self.in_shape)


def selection(move: Callable[[Tensor], Tensor], shape: Shape, dtype: torch.dtype) -> Gather:
    """What moves, repeats or drops inputs and fills with 0, by what it does to numbers. Raises if it cannot."""
    numbers = torch.arange(1.0, prod(shape) + 1, dtype=torch.float64, device="cpu").reshape(1, *shape)
    moved, again = move(numbers)[0], move(-numbers)[0]
    if not ((moved == -again) & (moved == moved.round()) & (moved >= 0) & (moved <= prod(shape))).all():
        raise ValueError("something that is neither an input nor 0")  # torch leaves memory as it is
    index, weight = moved.long().flatten()[:, None] - 1, (moved > 0).to(dtype)[..., None]
    return Gather(weight, shape, index.clamp_min(0))
