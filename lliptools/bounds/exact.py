"""The exact local constant: the largest Jacobian norm over the regions on which the network is affine."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.bounds.exact_cells import Cell, Point, cells, clip, nearest, room
from lliptools.bounds.exact_patterns import patterns
from lliptools.bounds.pieces import SPACING, Array, Layer, TooManyRegions, read_layers
from lliptools.bounds.product import local_bound
from lliptools.bounds.reading import read
from lliptools.bounds.record import Bound
from lliptools.digits import radius_text, round_up
from lliptools.errors import InvalidInput
from lliptools.nets import Block, check_input, forward
from lliptools.nets.checks import check_finite_eps, check_labels
from lliptools.norms.rounding import enclosed, gamma, is_outward, outward_rounding, unit
from lliptools.norms.scaled import length

__all__ = ["ExactBound", "adversarial_distance", "exact_bound"]

ENCLOSED, NOT_ENCLOSED = "float64, rounding enclosed", "float64, rounding not enclosed"
KIND = "upper"  # it is the constant itself, and so what certificates take
TINIEST, LARGEST = 1e-250, 1e250
REAL = 1e-9  # what a margin at the nearest point may be, in relation to the numbers that it is computed from


@dataclass(frozen=True, eq=False)
class ExactBound(Bound):
    """The exact local constant, and all that it was found from.

    jacobians: for every point of the batch (regions, classes, features), of the regions that meet its ball.
    errors: how far rounding may have moved each of their entries, of the same shapes; 0 where it is not enclosed.
    blocks: those of the local bound, for comparison: the product of their norms is not the value.
    """

    jacobians: tuple[Tensor, ...] = ()
    errors: tuple[Tensor, ...] = ()

    def pairwise(self, y: Tensor) -> Tensor:
        """Exact Lipschitz constant of f_y − f_j on the ball for every class j: labels y (batch,) -> (batch, classes).

        It is 0 for j = y. Raises InvalidInput where y does not fit.
        """
        y = check_labels(y, len(self.value), self.jacobians[0].shape[1], self.value.device)
        found = []
        with outward_rounding(self.arithmetic == ENCLOSED):
            for jacobian, error, own in zip(self.jacobians, self.errors, y.tolist(), strict=True):
                rows = jacobian[:, None, own] - jacobian
                between = (error[:, None, own] + error + unit(error) * rows.abs()) * (1 + 4 * unit(error))
                between[:, own] = 0.0  # the difference of a class and itself
                found.append(_norms(rows[:, :, None], between[:, :, None]).amax(dim=0))
        return torch.stack(found)

    def __str__(self) -> str:
        """One line: the value and how many regions it was found from, of the one point or the mean over the batch."""
        many = "" if len(self.value) == 1 else f", mean over {len(self.value)} points"
        regions = sum(len(j) for j in self.jacobians) / len(self.jacobians)
        value, eps = round_up(self.value.mean().item()), radius_text(self.eps.mean().item())
        return f"exact constant {value} at eps = {eps}, from {regions:.4g} regions{many}"


def exact_bound(
    net: nn.Module, x: Tensor, eps: float | Tensor, *, max_cells: int = 20_000, max_patterns: int = 20_000
) -> ExactBound:
    """The Lipschitz constant of net on the closed ball of radius eps around each point of a batch, exactly.

    That of a piecewise-linear network is the largest ‖J‖ over the regions that have points inside the ball: in two
    input dimensions the cells into which the units' lines cut the disc, in others the activation patterns that occur,
    each ruled out only by a proof. Time and memory grow with the number of regions, so that this is a rung for small
    networks or small radii.

    x: (batch, *sample). eps: a finite number or (batch,), in the units of x. At eps = 0 it is the limit from above: the
    largest ‖J‖ over the regions that x belongs to or borders on.
    Returns an ExactBound: value (batch,), and jacobians region by region; certify takes it as it takes a local bound.

    It errs upward only. Each of the units' hyperplanes is moved outward by more than rounding can have moved it, and
    regions that this leaves open are counted in: a region of no width where three lines meet in one point, or where the
    radius is near the spacing of the numbers around x, can make the value larger than the constant, never smaller.
    A region between two planes is left out only where exact arithmetic proves that they are one. Inside
    bounds.outward_rounding() the value also encloses the rounding of the Jacobians.
    All units of a network without biases break at the origin, so that a ball which contains it is refused as soon as
    there are more than a few of them.

        >>> import torch, lliptools as ll
        >>> x = torch.tensor([[1.0, -2.0, 0.5]])
        >>> ll.bounds.exact_bound(ll.nets.fold(3, 4), x, eps=0.6).value.item()
        1.0

    max_cells and max_patterns: how many cells, or branches of the search, a point may take.
    Raises UnsupportedLayer, and InvalidInput where the search would be longer than that.
    Source: Jordan and Dimakis, "Exactly Computing the Local Lipschitz Constant of ReLU Networks" (NeurIPS 2020), for
    why regions without interior are left out.
    """
    center, radius, layers, _ = _read(net, x, eps)
    masks = local_bound(net, x, radius)
    maps: list[Array] = []
    errors: list[Array] = []
    for point, reach in zip(center.cpu().numpy(), radius.tolist(), strict=True):
        try:
            if len(point) == 2:
                regions = [cell.affine for cell in cells(layers, point, reach, max_cells)]
            else:
                regions = patterns(layers, point, reach, max_patterns)
        except TooManyRegions:
            limit = f"{max_cells} cells" if len(point) == 2 else f"{max_patterns} branches"
            raise _too_many(limit, masks, layers, len(maps)) from None
        maps.append(np.stack([region.map[:, :-1] for region in regions]))
        errors.append(np.stack([region.error[:, :-1] for region in regions]))
    jacobians = tuple(torch.as_tensor(part, device=center.device) for part in maps)
    doubts = tuple(torch.as_tensor(part, device=center.device) * enclosed(1.0) for part in errors)
    value = [_norms(j, e).amax() for j, e in zip(jacobians, doubts, strict=True)]
    return ExactBound(
        value=torch.stack(value),
        kind=KIND,
        eps=radius,
        blocks=masks.blocks,
        failure_probability=masks.failure_probability,  # of the blocks, whose boxes certificates may use
        arithmetic=ENCLOSED if is_outward() else NOT_ENCLOSED,
        jacobians=jacobians,
        errors=doubts,
    )


def _norms(matrices: Tensor, errors: Tensor) -> Tensor:
    """Spectral norms of matrices (…, rows, columns), with the given errors of their entries the largest they can be."""
    found = torch.linalg.matrix_norm(matrices, ord=2)
    # The solver is backward stable, and norms of so many entries are rounded.
    rows, columns = matrices.shape[-2:]
    found = found * (1 + 32 * (rows + columns) * unit(matrices))
    found = (found + length(errors.flatten(-2), dim=-1) * (1 + gamma(rows * columns, errors))) * (1 + 4 * unit(found))
    return torch.where(found.isfinite(), found, torch.inf)


def adversarial_distance(
    net: nn.Module, x: Tensor, y: Tensor, within: float | Tensor, *, max_cells: int = 20_000
) -> tuple[Tensor, Tensor]:
    """Exact distance to the nearest point at which class y does not strictly win, of a network with two inputs.

    x: (batch, 2), y: (batch,) integers, within: radius of the disc that is searched, a number or (batch,).
    Returns the distances (batch,), 0 where y does not win at x and inf where there is no such point in the disc, and
    the nearest points themselves (batch, 2), which lie where class y ties with another; NaN where there is none.
    The distances err downward only: regions and the half-planes in which another class wins are moved outward by what
    rounding may have moved them, so that each is at most the true one. The points are ties to within rounding: where
    the margin at one of them is larger, rounding is too large for an answer, and InvalidInput is raised.
    Raises UnsupportedLayer and InvalidInput.
    """
    center, radius, layers, blocks = _read(net, x, within)
    if center.shape[1] != 2:
        raise InvalidInput(
            expected="points with two features",
            got=f"{center.shape[1]}",
            cause="a network whose inputs are not points of the plane",
            next_step="attack with lliptools.attacks.pgd, whose distances are not exact",
        )
    y = check_labels(y, len(center), len(layers[-1].bias), center.device)
    masks = local_bound(net, x, radius)
    steps: list[Point] = []
    shares: list[float] = []  # distances in units of the radius
    for point, label, reach in zip(center.cpu().numpy(), y.tolist(), radius.tolist(), strict=True):
        try:
            found = cells(layers, point, reach, max_cells)
        except TooManyRegions:
            raise _too_many(f"{max_cells} cells", masks, layers, len(steps)) from None
        share, step = min((_nearest_loss(cell, label, reach) for cell in found), key=lambda loss: loss[0])
        steps.append(step if share <= 1 else (np.nan, np.nan))
        shares.append(share if share <= 1 else np.inf)
    nearest_ones = center + torch.as_tensor(steps, dtype=torch.float64, device=center.device) * radius[:, None]
    _check_ties(blocks, nearest_ones, y, masks.value * (radius + center.abs().amax(dim=1)))
    share_of = torch.as_tensor(shares, dtype=torch.float64, device=center.device)
    distance = torch.where(share_of.isfinite(), share_of * radius * (1 - 2 * SPACING), torch.inf)
    return distance, nearest_ones


def _nearest_loss(cell: Cell, label: int, reach: float) -> tuple[float, Point]:
    """The point of a cell nearest to the centre at which a class does not strictly win, and at most how far it is.

    Both in units of the radius; inf where there is none.
    """
    margins = cell.affine.against(label)  # f_j − f_y, whose unit breaks where the classes tie
    planes = margins.planes(np.zeros((1, len(margins.map))), reach)
    extra = room(len(cell.sides))
    around = bool((cell.sides.rows[:, -2:].sum(axis=1) + extra >= 0).all())  # whether the cell may hold the centre
    best, shortest = (np.inf, np.inf), np.inf
    offsets, slacks = planes.offset[0].tolist(), planes.slack[0].tolist()
    for normal, offset, slack in zip(planes.normal.tolist(), offsets, slacks, strict=True):
        moved = offset + slack + extra
        lost = clip(cell.polygon, normal[0], normal[1], moved)
        step = (0.0, 0.0) if around and moved >= 0 else nearest(lost) if lost else (np.inf, np.inf)
        if (far := float(np.hypot(*step))) < shortest:
            best, shortest = step, far
    return max(shortest - room(len(cell.sides) + 1), 0.0), best


def _check_ties(blocks: tuple[Block, ...], points: Tensor, y: Tensor, change: Tensor) -> None:
    """Raises InvalidInput where class y wins at a point by more than rounding; change: of the outputs, (batch,)."""
    with torch.no_grad():
        logits = forward(blocks, points)
    won = logits.gather(1, y[:, None])
    margin = (won - logits).scatter(1, y[:, None], torch.inf).amin(dim=1)
    real = margin <= REAL * (logits.abs().amax(dim=1) + change)
    if not (real | points.isnan().any(dim=1)).all():
        sample = int((~real & ~points.isnan().any(dim=1)).nonzero()[0])
        raise InvalidInput(
            expected="a network whose rounding is small beside its margins",
            got=f"a margin of {margin[sample]:.3g} where rounding leaves a tie open, near point {sample}",
            cause="weights that cancel, or a radius near the spacing of the numbers around the point",
            next_step="take a larger radius, or attack with lliptools.attacks.pgd",
        )


def _read(net: nn.Module, x: Tensor, eps: float | Tensor) -> tuple[Tensor, Tensor, list[Layer], tuple[Block, ...]]:
    """The points (batch, features), the radii (batch,), the network's layers, checked, and its blocks.

    Products of numbers different from 0 stay far from underflow along every path: a product or sum that is smaller has
    cancelled, and what it may lose to underflow is nothing beside the rounding error that it carries (Affine).
    """
    center = check_input(net, x)
    radius = check_finite_eps(eps, center)
    blocks = read(net, x)
    layers = read_layers(blocks)
    smallest, largest = _tiniest(center.cpu().numpy()), max(1.0, float(center.abs().max()))
    peak = largest
    for layer in layers:
        smallest = min(smallest * _tiniest(layer.weight), _tiniest(layer.bias))
        smallest = min(smallest * _tiniest(layer.slopes), _tiniest(layer.intercepts))
        largest = largest * float(np.abs(layer.weight).max(initial=0.0)) * layer.weight.shape[1]
        largest = max(1.0, largest + float(np.abs(layer.bias).max()))
        peak = max(peak, largest)
        largest = largest * max(1.0, float(np.abs(layer.slopes).max())) + float(np.abs(layer.intercepts).max())
        peak = max(peak, largest)
    if not (smallest >= TINIEST and peak <= LARGEST):
        raise InvalidInput(
            expected=f"a network and points whose products of weights stay between {TINIEST:g} and {LARGEST:g}",
            got=f"products from {smallest:.3g} to {peak:.3g}",
            cause="weights that training has driven towards 0, or that it has let explode",
            next_step="set such weights to 0, or use local_bound",
        )
    return center, radius, layers, blocks


def _tiniest(values: Array) -> float:
    """The least absolute value that is not 0, and at most 1."""
    return min(1.0, float(np.abs(values[values != 0]).min(initial=1.0)))


def _too_many(limit: str, masks: Bound, layers: list[Layer], sample: int) -> InvalidInput:
    undecided = 0
    for block, layer in zip(masks.blocks, layers, strict=True):
        lower, upper = (side[sample].flatten().cpu().numpy() for side in (block.box.lower, block.box.upper))
        undecided += int(((lower < layer.breakpoints) & (layer.breakpoints < upper)).any(axis=0).sum())
    return InvalidInput(
        expected=f"a ball that the search covers in {limit}",
        got=f"more than that, with {undecided} undecided units in the ball of radius {masks.eps[sample]:g} "
        f"around point {sample}",
        cause="a radius, or a network, that is large for an exact search",
        next_step="take a smaller eps, raise the limit, or use local_bound",
    )
