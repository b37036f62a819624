"""A network around a batch of balls, as the steps that differences of its values take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lliptools.bounds.record import BlockBound
from lliptools.domains.box import Box
from lliptools.nets.activations import Activation, Pairs, Units
from lliptools.nets.linear import LinearMap
from lliptools.norms.rounding import gamma, is_outward

__all__ = [
    "Linear",
    "Pairs",
    "Residual",
    "Step",
    "Units",
    "activation_steps",
    "count_undecided",
    "network_steps",
    "select",
    "widest",
]


@dataclass(frozen=True, eq=False)
class Linear:
    """h -> W h (the bias does not matter).

    weight: (rows, columns) float64. error: how far its entries may be from those of W, (rows, columns), or None where
    they are exact, or where rounding is not enclosed.
    """

    weight: Tensor
    error: Tensor | None = None

    @classmethod
    def of(cls, linear: LinearMap) -> Linear:
        """The matrix of a linear map."""
        return cls(linear.weight.detach(), _error(linear) if is_outward() else None)


@dataclass(frozen=True, eq=False)
class Residual:
    """h -> h + g(h), g given by its steps."""

    steps: Sequence[Step]


Step = Linear | Units | Pairs | Residual


def _error(linear: LinearMap) -> Tensor | None:
    """How far rounding may have moved the entries of the matrix."""
    if linear.matrix_error is not None:
        return linear.matrix_error.detach()
    summed = len(linear.operators) > 1 or any(operator.copies > 1 for operator in linear.operators)
    share = linear.relative_error + (gamma(linear.terms, linear.bias) if summed else 0.0)
    if share == 0:
        return None
    absolute = tuple(operator.with_entries(torch.abs) for operator in linear.operators)
    return share * replace(linear, operators=absolute).weight.detach()


def activation_steps(activation: Activation | None, box: Box) -> list[Step]:
    """What an activation does to units in a box, as steps; box: (batch, *units)."""
    if activation is None:
        return []
    return list(activation.split(box.lower, box.upper))


def network_steps(blocks: Sequence[BlockBound]) -> list[Step]:
    """A bound's blocks as steps: their matrices, and the slopes over their boxes."""
    steps: list[Step] = []
    for block in blocks:
        if block.inner:
            inside = network_steps(block.inner)
            steps += [Residual(inside)] if block.skip else inside
        else:
            steps += [Linear.of(block.linear), *activation_steps(block.activation, block.box)]
    return steps


def select(steps: Sequence[Step], index: Tensor) -> list[Step]:
    """The steps of some of the samples."""
    chosen: list[Step] = []
    for step in steps:
        if isinstance(step, Units):
            step = Units(step.least[index], step.greatest[index])
        elif isinstance(step, Pairs):
            step = Pairs(step.resolved[index])
        elif isinstance(step, Residual):
            step = Residual(select(step.steps, index))
        chosen.append(step)
    return chosen


def widest(steps: Sequence[Step]) -> int:
    """Entries of the largest matrix."""
    inner = [widest(step.steps) for step in steps if isinstance(step, Residual)]
    return max([1, *inner, *(step.weight.numel() for step in steps if isinstance(step, Linear))])


def count_undecided(steps: Sequence[Step], batch: int) -> Tensor:
    """How many undecided units each sample has, (batch,)."""
    total = torch.zeros(batch, dtype=torch.int64, device="cpu")
    for step in steps:
        if isinstance(step, Units):
            total = total + (step.least != step.greatest).sum(dim=1).cpu()
        elif isinstance(step, Pairs):
            total = total + (step.resolved == 0).sum(dim=1).cpu()
        elif isinstance(step, Residual):
            total = total + count_undecided(step.steps, batch)
    return total
