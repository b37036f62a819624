"""The exact local constant: the largest Jacobian norm over the regions on which the network is affine."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.bounds.checks import check_finite_eps, check_labels
from lliptools.bounds.exact_cells import cells, clip, nearest
from lliptools.bounds.exact_patterns import patterns
from lliptools.bounds.pieces import Layer, TooManyRegions, read_layers
from lliptools.bounds.product import local_bound
from lliptools.bounds.reading import read
from lliptools.bounds.record import Bound, round_up
from lliptools.errors import InvalidInput
from lliptools.nets import check_input

__all__ = ["ExactBound", "adversarial_distance", "exact_bound"]

KIND = "upper"  # it is the constant itself, and so what certificates take
ARITHMETIC = "float64, rounding enclosed in the regions and not in their Jacobians"
TINIEST, LARGEST = 1e-250, 1e250


@dataclass(frozen=True, eq=False)
class ExactBound(Bound):
    """The exact local constant, and all that it was found from.

    jacobians: for every point of the batch (regions, classes, features), of the regions that meet its ball.
    blocks: those of the local bound, for comparison: the product of their norms is not the value.
    """

    jacobians: tuple[Tensor, ...] = ()

    def pairwise(self, y: Tensor) -> Tensor:
        """Exact Lipschitz constant of f_y − f_j on the ball for every class j: labels y (batch,) -> (batch, classes).

        It is 0 for j = y. Raises InvalidInput where y does not fit.
        """
        y = check_labels(y, len(self.value), self.jacobians[0].shape[1], self.value.device)
        between = [j[:, None, own] - j for j, own in zip(self.jacobians, y.tolist(), strict=True)]
        return torch.stack([torch.linalg.matrix_norm(rows[:, :, None], ord=2).amax(dim=0) for rows in between])

    def __str__(self) -> str:
        """One line: the value and how many regions it was found from, of the one point or the mean over the batch."""
        many = "" if len(self.value) == 1 else f", mean over {len(self.value)} points"
        regions = sum(len(j) for j in self.jacobians) / len(self.jacobians)
        value = round_up(self.value.mean().item())
        return f"exact constant {value} at eps = {self.eps.mean():.4g}, from {regions:.4g} regions{many}"


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
    Hyperplanes that agree in all but the last digits are taken for one. All units of a network without biases break at
    the origin, so that a ball which holds it is refused as soon as there are more than a few of them.

        >>> import torch, lliptools as ll
        >>> x = torch.tensor([[1.0, -2.0, 0.5]])
        >>> ll.bounds.exact_bound(ll.nets.fold(3, 4), x, eps=0.6).value.item()
        1.0

    max_cells and max_patterns: how many cells, or branches of the search, a point may take.
    Raises UnsupportedLayer, and InvalidInput where the search would be longer than that.
    Source: Jordan and Dimakis, "Exactly Computing the Local Lipschitz Constant of ReLU Networks" (NeurIPS 2020), for
    why regions without interior are left out.
    """
    center, radius, layers = _read(net, x, eps)
    masks = local_bound(net, x, radius)
    jacobians: list[Tensor] = []
    for point, reach in zip(center.cpu().numpy(), radius.tolist(), strict=True):
        try:
            if len(point) == 2:
                maps = [whole for _, whole in cells(layers, point, reach, max_cells)]
            else:
                maps = patterns(layers, point, reach, max_patterns)
        except TooManyRegions:
            limit = f"{max_cells} cells" if len(point) == 2 else f"{max_patterns} branches"
            raise _too_many(limit, masks, layers, len(jacobians)) from None
        jacobians.append(torch.as_tensor(np.stack(maps)[:, :, :-1], device=center.device))
    value = torch.stack([torch.linalg.matrix_norm(j, ord=2).amax() for j in jacobians])
    failure = masks.failure_probability  # of the blocks, whose boxes certificates may use
    return ExactBound(value, KIND, radius, masks.blocks, failure, ARITHMETIC, jacobians=tuple(jacobians))


def adversarial_distance(
    net: nn.Module, x: Tensor, y: Tensor, within: float | Tensor, *, max_cells: int = 20_000
) -> tuple[Tensor, Tensor]:
    """Exact distance to the nearest point at which class y does not strictly win, of a network with two inputs.

    x: (batch, 2), y: (batch,) integers, within: radius of the disc that is searched, a number or (batch,).
    Returns the distances (batch,), 0 where y does not win at x and inf where there is no such point in the disc, and
    the nearest points themselves (batch, 2), which lie where class y ties with another; NaN where there is none.
    Raises UnsupportedLayer and InvalidInput.
    """
    center, radius, layers = _read(net, x, within)
    if center.shape[1] != 2:
        raise InvalidInput(
            expected="points with two features",
            got=f"{center.shape[1]}",
            cause="a network whose inputs are not points of the plane",
            next_step="attack with lliptools.attacks.pgd, whose distances are not exact",
        )
    y = check_labels(y, len(center), len(layers[-1].bias), center.device)
    masks = local_bound(net, x, radius)
    steps: list[tuple[float, float]] = []
    for point, label, reach in zip(center.cpu().numpy(), y.tolist(), radius.tolist(), strict=True):
        try:
            found = cells(layers, point, reach, max_cells)
        except TooManyRegions:
            raise _too_many(f"{max_cells} cells", masks, layers, len(steps)) from None
        best, shortest = (np.nan, np.nan), np.inf
        for polygon, whole in found:
            for a, b, c in np.delete(whole - whole[label], label, axis=0).tolist():
                lost = clip(polygon, a * reach, b * reach, c)  # there, f_j − f_y >= 0
                step = nearest(lost) if lost else (np.inf, np.inf)
                if (length := float(np.hypot(*step))) < shortest and length <= 1:
                    best, shortest = step, length
        steps.append(best)
    moved = torch.as_tensor(steps, dtype=torch.float64, device=center.device) * radius[:, None]
    return moved.norm(dim=1).nan_to_num(nan=torch.inf), center + moved


def _read(net: nn.Module, x: Tensor, eps: float | Tensor) -> tuple[Tensor, Tensor, list[Layer]]:
    """The points (batch, features), the radii (batch,) and the network's layers, checked."""
    center = check_input(net, x)
    radius = check_finite_eps(eps, center)
    layers = read_layers(read(net, x))
    smallest, largest = 1.0, max(1.0, float(center.abs().max()))
    for layer in layers:
        for part in (layer.weight, layer.slopes):
            smallest *= min(1.0, float(np.abs(part[part != 0]).min(initial=1.0)))
        whole = float(np.abs(layer.weight).max(initial=0.0)) * layer.weight.shape[1] + float(np.abs(layer.bias).max())
        largest *= max(1.0, whole * float(np.abs(layer.slopes).max()))
    if smallest < TINIEST or largest > LARGEST:
        raise InvalidInput(
            expected=f"a network whose products of weights stay between {TINIEST:g} and {LARGEST:g}",
            got=f"products from {smallest:.3g} to {largest:.3g}",
            cause="weights that training has driven towards 0, or that it has let explode",
            next_step="set such weights to 0, or use local_bound",
        )
    return center, radius, layers


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
