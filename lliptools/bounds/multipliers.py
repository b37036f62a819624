"""The semidefinite bound on the undecided units, without a solver: find multipliers, then certify what they give."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lliptools.bounds.balancing import BALANCING, improve, start
from lliptools.bounds.ellipsoid import Problem
from lliptools.bounds.merged import Merged, in_groups, in_order
from lliptools.bounds.steps import Step
from lliptools.norms.kinds import errs
from lliptools.norms.scaled import or_one, times_power_of_two

__all__ = ["multipliers_bound", "multipliers_pairwise"]


@errs("upper")
@torch.no_grad()
def multipliers_bound(
    steps: Sequence[Step], batch: int, features: int, *, optimization_steps: int = BALANCING
) -> Tensor:
    """Bound of the Lipschitz constant over the ball by diagonal multipliers, (batch,); never above center_and_radius.

    steps: what the network does to its first `features` inputs (merged.py), for a batch of so many samples.
    optimization_steps: 0 for the closed form; more of them never make it worse. inf where nothing is known.
    """
    found = []
    for index, merged in in_groups(steps, batch, features):
        path, problem = merged.path(), Problem.of(merged)
        multipliers = _multipliers(problem, merged, path, optimization_steps)
        value = times_power_of_two(problem.certify(multipliers), merged.exponent, upward=True)
        found.append((index, torch.minimum(path, value)))
    return in_order(found)


@errs("upper")
@torch.no_grad()
def multipliers_pairwise(
    steps: Sequence[Step],
    batch: int,
    features: int,
    y: Tensor,
    *,
    optimization_steps: int = BALANCING,
    own_steps: int = 0,
) -> Tensor:
    """Bound of the Lipschitz constant of f_y − f_j over the ball for every class j, (batch, classes); 0 for j = y.

    y: (batch,) labels. One ellipsoid, found for all outputs together, serves every pair; own_steps: so many steps more
    for each pair by itself, at the cost of a Cholesky for every class.
    """
    found = []
    for index, merged in in_groups(steps, batch, features):
        pairs = merged.differences(y[index.to(y.device)])
        whole, each = Problem.of(merged), Problem.of(pairs, each=True)
        multipliers = _multipliers(whole, merged, merged.path(), optimization_steps)
        value = each.certify_each(multipliers)
        if own_steps:
            single, classes = each.single(), value.shape[1]
            better = improve(single, multipliers.repeat_interleave(classes, dim=0), own_steps)
            value = torch.minimum(value, single.certify(better).reshape(-1, classes))
        value = times_power_of_two(value, merged.exponent, upward=True)
        found.append((index, torch.minimum(value, pairs.reach())))
    return in_order(found)


def _multipliers(problem: Problem, merged: Merged, path: Tensor, steps: int) -> Tensor:
    norm = times_power_of_two(path, -merged.exponent) / or_one(problem.scale)
    return improve(problem, start(problem, merged, norm), steps)
