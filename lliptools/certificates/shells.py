"""The way to the edge of a ball, shell by shell: near the centre the constant is smaller.

Let 0 = r_0 < … < r_K = eps, and let L_j(r) bound the Lipschitz constant of f_y − f_j on the ball of radius r around x.
The segment from x to any point of the ball crosses the shell between r_{k−1} and r_k inside the ball of radius r_k, so
that f_y − f_j falls by at most Σ_k (r_k − r_{k−1}) L_j(r_k) on its way. With a convex input domain the segment stays in
it. A constant on a larger ball is one on a smaller, so the least of those further out counts as well.
"""

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound
from lliptools.bounds.record import ANY_TWO
from lliptools.errors import InvalidInput, check_whole
from lliptools.norms.kinds import product_above
from lliptools.norms.rounding import inflated


def shell_radii(radius: Tensor, shells: int) -> Tensor:
    """The outer radii of so many shells of equal width, (batch, shells); the last is the radius itself."""
    check_whole("shells", shells, 1, "a width in place of a count", "1 is the whole ball")
    inner = radius[:, None] * torch.arange(1, shells, dtype=radius.dtype, device=radius.device) / shells
    return torch.cat([torch.minimum(inner, radius[:, None]), radius[:, None]], dim=1)


def falls(bound: object, net: nn.Module, x: Tensor, y: Tensor, radii: Tensor) -> tuple[Tensor, Bound]:
    """How far each f_y − f_j can fall up to the outer radius of every shell, (batch, shells, classes), and the bound.

    radii: (batch, shells), ascending. The bound is of all shells of all points, (batch · shells), in one call.
    Raises InvalidInput for a bound that does not hold between any two points of the ball.
    """
    batch, shells = radii.shape
    found: Bound = bound(net, x.repeat_interleave(shells, dim=0), radii.flatten())  # type: ignore[operator]
    if found.between != ANY_TWO:
        why = "centred=True in the bound", "pass it without"
        raise InvalidInput("a bound between any two points", f"one of {found.between}", *why)
    pairs = found.pairwise(y.repeat_interleave(shells)).reshape(batch, shells, -1)
    pairs = pairs.nan_to_num(nan=torch.inf).flip(1).cummin(dim=1).values.flip(1)
    widths = inflated(radii.diff(dim=1, prepend=torch.zeros_like(radii[:, :1])))
    return inflated(product_above(widths[:, :, None], pairs).cumsum(dim=1), 2 * shells), found
