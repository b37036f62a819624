"""Bounds that merge: units that are provably linear in the ball are part of the matrices, only unstable ones cost."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds.balancing import improve, start
from lliptools.bounds.ellipsoid import Problem
from lliptools.bounds.local import local_bound
from lliptools.bounds.record import Bound, by_product
from lliptools.domains import Ball, Intersection, Interval, Slopes, Zonotope
from lliptools.nets import Block, check_input, read_blocks
from lliptools.nets.blocks import linear_maps
from lliptools.nets.calls import options_checked
from lliptools.nets.checks import check_labels, check_steps
from lliptools.nets.linear import or_one
from lliptools.norms.scaled import times_power_of_two

FULL = Interval & Ball & Slopes & Zonotope
UNSTABLE = 256  # beyond so many the cubic cost of the multipliers is not cheap
ENTRIES = 2**21  # of a layer as a matrix
GROUP = 32  # samples that have about as many unstable units are worked on together, so many at a time
OWN_STEPS = 30  # of a pair's own multipliers
HOPE = 1.3  # how far above what is needed a pair is worth them
ROOM = 2**23  # and so many times the largest matrix fits in memory


@options_checked
@torch.no_grad()
def path_bound(net: nn.Module, x: Tensor, eps: float | Tensor, *, centred: bool = False) -> Bound:
    """Centre plus radius: the Jacobian with every open slope at its middle, plus what the slopes can add, path by path.

    ‖C‖ + Σ_k ‖B_k‖ ‖p_k‖, p_k what the open slopes of layer k add (Slopes.path). Cheap, never below merged_bound.

    - x: (batch, *sample). eps: a number or (batch,). centred: as of local_bound.
    - Returns a Bound of kind "upper"; its blocks are those of the local bound that its slopes were read from.
    - Raises UnsupportedLayer and InvalidInput.
    """
    local = local_bound(net, x, eps, domain=FULL, centred=centred)
    slopes: Slopes = _slopes(local)

    def pairs(bound: Bound, y: Tensor, needed: Tensor | None) -> Tensor:
        y = _labels(bound, y)
        return by_groups(slopes, lambda index, group: group.differences(y[index]).reach())

    return replace(local, value=by_groups(slopes, lambda index, group: group.path()), pairs=pairs)


@options_checked
@torch.no_grad()
def merged_bound(net: nn.Module, x: Tensor, eps: float | Tensor, *, steps: int = 0, centred: bool = False) -> Bound:
    """Bound by merging: units that pass their input on all over the ball are linear, only unstable ones cost.

    Every slope that the boxes leave open is weighed by a multiplier (LipSDP-Neuron on the unstable units); the
    multipliers have a closed form, and `steps` improve them. Each value is certified by a Cholesky factorisation, and
    is never above centre plus radius. At eps = ∞ this is the global semidefinite bound, found without a solver.
    The cost is cubic in the number of unstable units, not in the widths; the layers have to be small enough for their
    matrices. Not always below local_bound: see tightest_bound.

    - x: (batch, *sample). eps: a number or (batch,). centred: as of local_bound.
    - Returns a Bound of kind "upper". The multipliers of the whole serve every pair of classes.
    - Raises UnsupportedLayer and InvalidInput.

    Source: Fazlyab et al., "Efficient and accurate estimation of Lipschitz constants for deep neural networks"
    (NeurIPS 2019), and lliptools.bounds.ellipsoid for the form and the proof.
    """
    check_steps(steps)
    local = local_bound(net, x, eps, domain=FULL, centred=centred)
    slopes: Slopes = _slopes(local)

    def pairs(bound: Bound, y: Tensor, needed: Tensor | None) -> Tensor:
        return pairs_by_multipliers(slopes, _labels(bound, y), steps, needed)

    return replace(local, value=by_multipliers(slopes, steps), pairs=pairs)


@options_checked
@torch.no_grad()
def tightest_bound(net: nn.Module, x: Tensor, eps: float | Tensor, *, steps: int = 8, centred: bool = False) -> Bound:
    """The smallest upper bound that is affordable: the local bound, and the merged one where few units are unstable.

    Merging wins at small radii, the masked product at large ones and on large layers. Where layers are too large for
    their matrices, or too many units unstable, it is the local bound, and Bound.left_out says so.

    - x: (batch, *sample). eps: a number or (batch,). steps: of the multipliers (merged_bound).
    - centred: as of local_bound.
    - Returns a Bound of kind "upper". Raises UnsupportedLayer and InvalidInput.
    """
    check_steps(steps)
    check_input(net, x)
    if (entries := widest(read_blocks(net, x.shape[1:]))) > ENTRIES:
        reason = f"multipliers, since a layer has {entries} entries as a matrix, more than {ENTRIES}"
        return replace(local_bound(net, x, eps, centred=centred), left_out=reason)
    local = local_bound(net, x, eps, domain=FULL, centred=centred)
    slopes: Slopes = _slopes(local)
    points = affordable(local).nonzero()[:, 0]
    if missing := len(local.value) - len(points):
        reason = f"multipliers at {missing} of {len(local.value)} points, with more than {UNSTABLE} unstable units"
        local = replace(local, left_out=reason)
    if not len(points):
        return local
    chosen = slopes.select(points.cpu())

    def pairs(bound: Bound, y: Tensor, needed: Tensor | None) -> Tensor:
        found, y = by_product(bound, y), _labels(bound, y)
        if needed is not None:  # what the product decides needs no multipliers
            needed = torch.where(found <= needed, torch.inf, needed)[points]
        merged = pairs_by_multipliers(chosen, y[points], steps, needed)
        return found.index_put((points,), torch.minimum(found[points], merged))

    merged = torch.minimum(local.value[points], by_multipliers(chosen, steps))
    return replace(local, value=local.value.index_put((points,), merged), pairs=pairs)


def affordable(bound: Bound) -> Tensor:
    """Where few enough units are unstable for multipliers, (batch,) bool; of a tightest bound."""
    if (slopes := _slopes(bound)) is None:
        return torch.zeros_like(bound.value, dtype=torch.bool)
    return (_unstable(slopes) <= UNSTABLE).to(bound.value.device).expand(len(bound.value))


def _slopes(bound: Bound) -> Any:
    """What a pass with FULL knows of slopes; None of another pass."""
    return bound.known.part(Slopes) if isinstance(bound.known, Intersection) else None


def _labels(bound: Bound, y: Tensor) -> Tensor:
    return check_labels(y, len(bound.value), bound.blocks[-1].linear.rows, bound.value.device)


def widest(blocks: tuple[Block, ...]) -> int:
    """The most entries that a layer has as a matrix."""
    return max(linear.rows * linear.columns for linear in linear_maps(blocks))


def _unstable(slopes: Slopes) -> Tensor:
    """How many unstable units each sample has, (batch,)."""
    return sum(slopes.counts, torch.zeros(len(slopes.lost), dtype=torch.int64, device="cpu"))


def by_groups(slopes: Slopes, of_group: Callable[[Tensor, Slopes], Tensor]) -> Tensor:
    """What is found of groups of samples with about as many unstable units, in the order of the samples."""
    largest = max([1, *(rows.shape[1] * rows.shape[2] for rows in slopes.rows)])
    order = _unstable(slopes).argsort(stable=True)
    groups = order.split(max(1, min(GROUP, ROOM // largest)))
    values = torch.cat([of_group(index.to(slopes.lost.device), slopes.select(index)) for index in groups])
    return values[order.argsort().to(values.device)]


def by_multipliers(slopes: Slopes, steps: int) -> Tensor:
    """Bound of the constant by diagonal multipliers, (batch,); never above centre plus radius."""

    def of_group(index: Tensor, group: Slopes) -> Tensor:
        path, problem = group.path(), Problem.of(group)
        value = problem.certify(_multipliers(problem, group, path, steps))
        return torch.minimum(path, times_power_of_two(value, group.exponent, upward=True))

    return by_groups(slopes, of_group)


def pairs_by_multipliers(slopes: Slopes, y: Tensor, steps: int, needed: Tensor | None = None) -> Tensor:
    """Bounds of the constants of f_y − f_j for every class j, (batch, classes); 0 for j = y.

    One ellipsoid, found for all outputs together, serves every pair. needed: (batch, classes), constants that would
    decide: a pair not far above has multipliers of its own, the worst of a sample first, as long as there is hope.
    """

    def of_group(index: Tensor, group: Slopes) -> Tensor:
        pairs = group.differences(y[index])
        multipliers = _multipliers(Problem.of(group), group, group.path(), steps)
        each, reach = Problem.of(pairs, each=True), pairs.reach()
        value = torch.minimum(times_power_of_two(each.certify_each(multipliers), group.exponent, upward=True), reach)
        if needed is None:
            return value

        def own(samples: Tensor, outputs: Tensor) -> Tensor:
            """By multipliers found for these pairs alone, (count,)."""
            problem = each.picked(samples, outputs)
            found = problem.certify(improve(problem, multipliers[samples], OWN_STEPS))
            return times_power_of_two(found, group.exponent, upward=True)

        return _worst_first(own, value, needed[index])

    return by_groups(slopes, of_group)


def _worst_first(own: Callable[[Tensor, Tensor], Tensor], value: Tensor, needed: Tensor) -> Tensor:
    """The values, (batch, classes), the worst of a sample found again until it is what is needed, or nothing helps."""
    value, hopeful = value.clone(), (value <= HOPE * needed).all(dim=1)
    for _ in range(value.shape[1]):
        ratio, worst = torch.where(value > needed, value / needed, 0.0).max(dim=1)
        index = (hopeful & (ratio > 0)).nonzero()[:, 0]
        if not len(index):
            break
        column = worst[index]
        value[index, column] = torch.minimum(value[index, column], own(index, column))
        hopeful[index] &= value[index, column] <= needed[index, column]
    return value


def _multipliers(problem: Problem, slopes: Slopes, path: Tensor, steps: int) -> Tensor:
    norm = times_power_of_two(path, -slopes.exponent) / or_one(problem.scale)
    return improve(problem, start(problem, slopes, norm), steps)
