"""The blocks of the theory: one linear map and one activation each, or a sum of two branches."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.nets.activations import Activation
from lliptools.nets.linear import LinearMap


@dataclass(frozen=True, eq=False)
class Block:
    """One step of the network: h -> activation(linear(h)); no activation stands for the identity.

    A residual step is h -> h + inner(h), with the identity as its linear map; without skip it is h -> inner(h), with
    the blocks of a shortcut h -> shortcut(h) + inner(h).
    lipschitz, lipschitz_error: the constant of the step that its layer guarantees, as of LinearMap.
    """

    linear: LinearMap
    activation: Activation | None
    inner: tuple["Block", ...] = ()
    skip: bool = True
    shortcut: tuple["Block", ...] = ()
    lipschitz: float = math.inf
    lipschitz_error: float = 0.0


def forward(blocks: tuple[Block, ...], h: Tensor) -> Tensor:
    """The network's output: (batch, features) or (batch, *sample) -> (batch, *outputs)."""
    for block in blocks:
        h = block.linear.apply(h)
        if block.activation is not None:
            h = block.activation(h)
        if block.inner:
            inside = forward(block.inner, h)
            h = forward(block.shortcut, h) + inside if block.skip else inside
    return h


def alike(one: Any, other: Any) -> bool:
    """Whether two objects that blocks are made of have the same numbers, to the last digit."""
    if one is other or type(one) is not type(other):
        return one is other
    if isinstance(one, Tensor):
        return one.device == other.device and torch.equal(one, other)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if is_dataclass(one):
        return all(alike(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    return alike(vars(one), vars(other)) if isinstance(one, nn.Module) else bool(np.all(one == other))


def linear_maps(blocks: Iterable[Any]) -> Iterator[LinearMap]:
    """The linear maps of blocks, or of what a pass has found of them, in its order, those inside of others included."""
    for block in blocks:
        yield from linear_maps(block.inner + block.shortcut) if block.inner else [block.linear]


def masks_sum(block: Block, sum_before: Block) -> bool:
    """Whether a block is the activation of the sum of two branches before it, so that it masks their last rows."""
    is_sum = bool(sum_before.inner) and sum_before.skip and math.isinf(sum_before.lipschitz)
    return is_sum and block.activation is not None and not block.linear.operators


def normed_maps(blocks: tuple[Block, ...], guaranteed: bool = False) -> Iterator[tuple[LinearMap, bool]]:
    """The maps whose norms a pass finds, each with whether it is a part of a layer that guarantees a constant.

    The last maps of branches whose sum an activation masks come once more, for their norm with fewer rows.
    """
    for block, before in zip(blocks, (None, *blocks), strict=False):
        if block.inner:
            yield from normed_maps(block.inner + block.shortcut, guaranteed or math.isfinite(block.lipschitz))
        else:
            yield block.linear, guaranteed
        if before is not None and masks_sum(block, before):
            yield from ((branch[-1].linear, guaranteed) for branch in (before.inner, before.shortcut) if branch)
