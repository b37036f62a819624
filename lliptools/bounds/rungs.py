"""The rungs above the masked product: what is linear merged, and the smallest of all that can be afforded."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds.merged import center_and_radius, in_groups, in_order
from lliptools.bounds.multipliers import multipliers_bound, multipliers_pairwise
from lliptools.bounds.product import local_bound
from lliptools.bounds.record import BlockBound, Bound
from lliptools.bounds.steps import Step, count_undecided, network_steps, select
from lliptools.nets.checks import check_labels, check_steps
from lliptools.norms.rounding import is_outward, outward_rounding

__all__ = [
    "ENTRIES",
    "MergedBound",
    "PathBound",
    "TightestBound",
    "merged_bound",
    "path_bound",
    "tightest_bound",
    "widest",
]

UNDECIDED = 256  # beyond so many the cubic cost of the multipliers is not cheap
ENTRIES = 2**21  # of a layer as a matrix


@dataclass(frozen=True, eq=False)
class PathBound(Bound):
    """Centre plus radius. blocks: those of the local bound that its slopes were read from."""

    steps: tuple[Step, ...] = ()

    def pairwise(self, y: Tensor) -> Tensor:
        """Bound of the Lipschitz constant of f_y − f_j for every class j: labels y (batch,) -> (batch, classes).

        Raises InvalidInput where y does not fit.
        """
        y = check_labels(y, len(self.value), self.blocks[-1].linear.rows, self.value.device)
        with _in_arithmetic_of(self):
            groups = in_groups(self.steps, len(y), self.blocks[0].linear.columns)
            return in_order([(index, merged.differences(y[index.to(y.device)]).reach()) for index, merged in groups])


@torch.no_grad()
def path_bound(net: nn.Module, x: Tensor, eps: float | Tensor) -> PathBound:
    """Centre plus radius: the Jacobian with every open slope at its middle, plus what the slopes can add, path by path.

    ‖C‖ + Σ_k ‖B_k‖ ‖p_k‖ with p_k what the open slopes of layer k add (Merged.path, where the proof stands). Cheap, and
    above merged_bound everywhere. x: (batch, *sample). eps: a number or (batch,).
    Raises UnsupportedLayer and InvalidInput.
    """
    local = local_bound(net, x, eps, prefix=True)
    program = tuple(network_steps(local.blocks))
    value = center_and_radius(program, len(local.value), local.blocks[0].linear.columns)
    return PathBound(**(_record(local) | {"value": value}), steps=program)


@dataclass(frozen=True, eq=False)
class MergedBound(Bound):
    """The bound by diagonal multipliers. blocks: those of the local bound that its slopes were read from."""

    steps: tuple[Step, ...] = ()
    optimization_steps: int = 0

    def pairwise(self, y: Tensor) -> Tensor:
        """Bound of the Lipschitz constant of f_y − f_j for every class j: labels y (batch,) -> (batch, classes).

        The multipliers of the whole serve every pair. Raises InvalidInput where y does not fit.
        """
        y = check_labels(y, len(self.value), self.blocks[-1].linear.rows, self.value.device)
        features = self.blocks[0].linear.columns
        with _in_arithmetic_of(self):
            return multipliers_pairwise(self.steps, len(y), features, y, optimization_steps=self.optimization_steps)


def merged_bound(net: nn.Module, x: Tensor, eps: float | Tensor, *, steps: int = 0) -> MergedBound:
    """Bound by merging: units that pass their input on all over the ball are linear, only undecided ones cost.

    Every slope that the boxes leave open is weighed by a multiplier (LipSDP-Neuron on the undecided units); the
    multipliers have a closed form, and `steps` improve them. Each value is certified by a Cholesky factorisation, and
    is never above centre plus radius. At eps = ∞ this is the global semidefinite bound, found without a solver.
    The cost is cubic in the number of undecided units, not in the widths; the layers have to be small enough for their
    matrices. Not always below local_bound: see tightest_bound.
    x: (batch, *sample). eps: a number or (batch,). Raises UnsupportedLayer and InvalidInput.
    Source: Fazlyab et al., "Efficient and accurate estimation of Lipschitz constants for deep neural networks"
    (NeurIPS 2019), and lliptools.bounds.ellipsoid for the form and the proof.
    """
    check_steps(steps)
    local = local_bound(net, x, eps, prefix=True)
    program = tuple(network_steps(local.blocks))
    value = multipliers_bound(program, len(local.value), local.blocks[0].linear.columns, optimization_steps=steps)
    return MergedBound(**(_record(local) | {"value": value}), steps=program, optimization_steps=steps)


@dataclass(frozen=True, eq=False)
class TightestBound(Bound):
    """The smaller of the local and the merged bound, point by point. blocks: those of the local bound.

    merged: the points for which multipliers were affordable, (points,) indices, and their steps.
    """

    points: Tensor | None = None
    steps: tuple[Step, ...] = ()
    optimization_steps: int = 0

    def pairwise(self, y: Tensor) -> Tensor:
        """Bound of the Lipschitz constant of f_y − f_j for every class j: labels y (batch,) -> (batch, classes)."""
        with _in_arithmetic_of(self):
            found = super().pairwise(y)
            if self.points is None or not len(self.points):
                return found
            y = y.to(found.device, torch.int64)[self.points]
            features = self.blocks[0].linear.columns
            other = multipliers_pairwise(self.steps, len(y), features, y, optimization_steps=self.optimization_steps)
        return found.index_put((self.points,), torch.minimum(found[self.points], other))


def tightest_bound(net: nn.Module, x: Tensor, eps: float | Tensor, *, steps: int = 8) -> TightestBound:
    """The smallest upper bound that is affordable: the local bound, and the merged one where few units are undecided.

    No rung is below all others everywhere: merging wins at small radii, the masked product at large ones and on large
    layers. steps: of the multipliers (merged_bound). x: (batch, *sample). eps: a number or (batch,).
    Raises UnsupportedLayer and InvalidInput.
    """
    check_steps(steps)
    probe = local_bound(net, x[:1], 0.0)
    small = widest(probe.blocks) <= ENTRIES
    local = local_bound(net, x, eps, prefix=small)
    record = _record(local)
    if not small:
        return TightestBound(**record)
    program = network_steps(local.blocks)
    points = (count_undecided(program, len(local.value)) <= UNDECIDED).nonzero()[:, 0].to(local.value.device)
    if not len(points):
        return TightestBound(**record)
    chosen = tuple(select(program, points))
    features = local.blocks[0].linear.columns
    merged = multipliers_bound(chosen, len(points), features, optimization_steps=steps)
    value = local.value.index_put((points,), torch.minimum(local.value[points], merged))
    return TightestBound(
        **(record | {"value": value}), points=points, steps=chosen, optimization_steps=steps
    )  # fmt: skip


def _in_arithmetic_of(bound: Bound) -> AbstractContextManager[None]:
    """A context that encloses rounding where the bound says that it is enclosed, wherever it is asked for more."""
    return outward_rounding(is_outward() or bound.arithmetic.endswith(", rounding enclosed"))


def _record(bound: Bound) -> dict[str, Any]:
    """The fields of a bound, for one that is made of it."""
    return {field.name: getattr(bound, field.name) for field in fields(Bound)}


def widest(blocks: tuple[BlockBound, ...]) -> int:
    """The most entries that a layer has as a matrix."""
    sizes = [widest(block.inner) if block.inner else block.linear.rows * block.linear.columns for block in blocks]
    return max(sizes)
