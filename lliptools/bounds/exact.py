"""The exact local constant: the largest Jacobian norm over the regions on which the network is affine."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.bounds.exact_cells import Cell, cells
from lliptools.bounds.exact_centred import Secants, secants, steepest
from lliptools.bounds.exact_patterns import patterns
from lliptools.bounds.exact_search import Search
from lliptools.bounds.pieces import SPACING, Array
from lliptools.bounds.record import CENTRED, Bound
from lliptools.domains.center import Center, at_center
from lliptools.nets.calls import options_checked
from lliptools.nets.checks import check_labels
from lliptools.norms.rounding import enclosed, inflated, outward_rounding, unit
from lliptools.norms.scaled import length, norm


@options_checked
def exact_bound(
    net: nn.Module,
    x: Tensor,
    eps: float | Tensor,
    *,
    max_cells: int = 20_000,
    max_patterns: int = 20_000,
    centred: bool = False,
) -> Bound:
    """The Lipschitz constant of net on the closed ball of radius eps around each point of a batch, exactly.

    The largest ‖J‖ over the regions of a piecewise-linear network that meet the ball: in two input dimensions the cells
    into which the units' lines cut the disc, in others the activation patterns, each ruled out only by a proof.

    - x: (batch, *sample). eps: a finite number or (batch,), in the units of x; at 0 over the regions that x touches.
    - max_cells and max_patterns: how many cells, or branches of the search, one point may take. Time and memory grow
      with them; a ball around the origin meets every unit of a network without biases.
    - centred: as of local_bound, in the plane at eps > 0: at most 1.3e-7 above the constant, relatively, unless a unit
      breaks within 1e-5 eps of the point. Elsewhere the constant stays that between any two points (Bound.between).
    - Returns a Bound, kind "upper", with the blocks of the local bound, whose norms' product is not the value. It errs
      upward only: regions that rounding leaves open are counted in. Inside bounds.outward_rounding() it encloses the
      rounding of the Jacobians too.
    - Raises UnsupportedLayer, and InvalidInput where the search would be longer.

        >>> import torch, lliptools as ll
        >>> x = torch.tensor([[1.0, -2.0, 0.5]])
        >>> ll.bounds.exact_bound(ll.nets.fold(3, 4), x, eps=0.6).value.item()
        1.0

    Source: Jordan and Dimakis, "Exactly Computing the Local Lipschitz Constant of ReLU Networks" (NeurIPS 2020), for
    why regions without interior are left out.
    """
    search = Search.of(net, x, eps)
    in_plane, found = search.center.shape[1] == 2, []
    if in_plane:
        found = search.each(cells, max_cells, "cells")
        regions = [[cell.affine for cell in each] for each in found]
    else:
        regions = search.each(patterns, max_patterns, "branches")

    def stacked(parts: Iterable[Array]) -> Tensor:
        return torch.as_tensor(np.stack([part[:, :-1] for part in parts]), device=search.center.device)

    jacobians = tuple(stacked(region.map for region in each) for each in regions)
    errors = tuple(stacked(region.error for region in each) * enclosed(1.0) for each in regions)
    value = torch.stack([_norms(j, e).amax() for j, e in zip(jacobians, errors, strict=True)])
    pairs, many = partial(_pairs, jacobians, errors), tuple(map(len, regions))
    # Certificates may use the boxes of the local bound's blocks: it fails as seldom.
    exact = replace(search.masks, value=value, pairs=pairs, regions=many)
    return _centred(exact, search, found) if centred and in_plane and (search.radius > 0).all() else exact


@outward_rounding()
@torch.no_grad()
def _centred(exact: Bound, search: Search, found: list[list[Cell]]) -> Bound:
    """The same of secants from the centre."""
    outputs = at_center(search.blocks, Center.exact(search.center))[-1]
    value, doubt = (part.flatten(1).cpu().numpy() for part in (outputs.value, outputs.doubt))
    each = [
        [secants(cell.affine, here, error, eps) for cell in one]
        for one, here, error, eps in zip(found, value, doubt, search.radius.tolist(), strict=True)
    ]

    def pairs(bound: Bound, y: Tensor, needed: Tensor | None) -> Tensor:
        two = exact.pairs(bound, y, needed)
        rows = [
            steepest(one, [_against(*maps, own) for maps in all_maps])
            for one, all_maps, own in zip(found, each, y.tolist(), strict=True)
        ]
        return torch.minimum(two, torch.as_tensor(np.stack(rows), device=two.device))

    largest = [steepest(*pair).max() for pair in zip(found, each, strict=True)]
    least = torch.minimum(exact.value, torch.as_tensor(np.array(largest), device=exact.value.device))
    return replace(exact, value=least, between=CENTRED, pairs=pairs)


def _against(maps: Array, error: Array, own: int) -> Secants:
    """The secants of one output minus each."""
    difference = maps[0, own] - maps[0]
    lost = (error[0, own] + error[0] + SPACING * np.abs(difference)) * (1 + 4 * SPACING)
    lost[own] = 0.0
    return difference[:, None], lost[:, None]


def _pairs(
    jacobians: tuple[Tensor, ...], errors: tuple[Tensor, ...], bound: Bound, y: Tensor, needed: Tensor | None
) -> Tensor:
    """The exact constants of f_y − f_j, (batch, classes); errors: how far rounding may have moved the Jacobians."""
    y = check_labels(y, len(bound.value), jacobians[0].shape[1], bound.value.device)
    found = []
    for jacobian, error, own in zip(jacobians, errors, y.tolist(), strict=True):
        rows = jacobian[:, None, own] - jacobian
        between = (error[:, None, own] + error + unit(error) * rows.abs()) * (1 + 4 * unit(error))
        between[:, own] = 0.0  # the difference of a class and itself
        found.append(_norms(rows[:, :, None], between[:, :, None]).amax(dim=0))
    return torch.stack(found)


def _norms(matrices: Tensor, errors: Tensor) -> Tensor:
    """Spectral norms of matrices (…, rows, columns), with the given errors of their entries the largest they can be."""
    found = norm(matrices.flatten(0, -3)).reshape(matrices.shape[:-2])
    found = inflated(found + length(errors.flatten(-2), dim=-1))
    return torch.where(found.isfinite(), found, torch.inf)
