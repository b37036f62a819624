"""How much of the engine a picture may ask for: everything of a small network, less of a large one."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, global_bound, local_bound, outward_rounding
from lliptools.certificates.certificate import BoundFunction, Certificate, certify
from lliptools.certificates.margins import margins
from lliptools.certificates.radius import narrowed
from lliptools.nets import check_input, forward, read_blocks
from lliptools.nets.checks import check_labels
from lliptools.nets.clips import Clipped
from lliptools.norms.auto import UpperNorm
from lliptools.teach.shared.units import layers

DELTA = 5e-10  # failure probability of one norm of a large layer, where one is needed
TRIALS = 11  # radii that are tried together


@dataclass(frozen=True)
class Effort:
    """steps: of a grid of radii. tolerance: of the norms of large layers, relatively.

    precision: to which a certified radius is searched for, relatively; inf leaves it on the grid of radii.
    """

    steps: int = 100
    tolerance: float = 1e-3
    precision: float = 1e-6

    def bound(self) -> BoundFunction:
        """The local bound at this effort."""
        return partial(local_bound, norm=UpperNorm(tolerance=self.tolerance))


def effort(found: Bound) -> Effort:
    """What can be asked of a network whose bound this is, within about a second."""
    norm = UpperNorm()
    linear = [layer.block.linear for layer in layers(found.blocks)]
    entries = sum(one.rows * one.columns for one in linear if not norm.is_exact(one))
    if not entries:
        return Effort()
    return Effort(20, 1e-2, 1e-2) if entries < 2e7 else Effort(10, 0.1, math.inf)


class Everywhere:
    """The global bound for points like x, (batch, *sample), the norms of large layers to a percent.

    plain: to be shown. enclosed: with its rounding, to certify with.
    """

    def __init__(self, net: nn.Sequential, x: Tensor) -> None:
        norm = UpperNorm(DELTA, 1e-2)
        self.plain = global_bound(net, x[:1].double(), norm=norm)
        with torch.no_grad(), outward_rounding():
            self.enclosed = global_bound(net, x[:1].double(), norm=norm)

    def at(self, radii: Tensor) -> Bound:
        """The enclosed bound on balls of these radii, (radii,), around any point: all that certificates read of it."""
        count = len(radii)
        blocks = tuple(block.mapped(lambda part: part.expand(count, *part.shape[1:])) for block in self.enclosed.blocks)
        return replace(self.enclosed, value=self.enclosed.value.expand(count), eps=radii, blocks=blocks, outputs=None)


def labels(found: Bound, x: Tensor, y: Tensor) -> Tensor:
    """y (points,) beside points x (points, *sample) of the network with this bound; raises InvalidInput."""
    return check_labels(y, len(x), found.blocks[-1].slope.shape[1], x.device)


def is_scaled(net: nn.Module) -> bool:
    """Whether the network has clip thresholds."""
    return any(isinstance(layer, Clipped) for layer in net.modules())


def scale_thresholds(net: nn.Sequential, factor: float) -> nn.Sequential:
    """A copy of the network whose clip thresholds are all multiplied by factor; inf leaves the units unclipped."""
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        for layer in scaled.modules():  # each once, also where the network uses one twice
            if isinstance(layer, Clipped):
                for theta in (*layer.parameters(), *layer.buffers()):
                    theta.copy_(_times(theta, factor))
    return scaled


def _times(theta: Tensor, factor: float) -> Tensor:
    return torch.where(theta == 0, theta, theta * factor)  # 0 · inf is no threshold


def certified_at(
    net: nn.Module, x: Tensor, y: Tensor, radii: Tensor, bound: BoundFunction, *, centred: bool = False
) -> Certificate:
    """One point, x (1, *sample), y (1,), at each of the radii, (radii,), in one batched call."""
    points, labels = x.expand(len(radii), *x.shape[1:]), y.expand(len(radii))
    return certify(net, points, labels, radii, bound=bound, centred=centred)


def largest_radius(
    certifies: Callable[[Tensor], Tensor], radii: Tensor, holds: Tensor, precision: float
) -> tuple[float, bool]:
    """The largest radius that certifies, itself certified, and whether it is only known to be at least that.

    certifies: radii (11,) -> bool (11,). radii, holds: (count,), ascending from 0, what is known already.
    """
    first = int(holds.long().cumprod(0).sum())
    if first == 0:
        return 0.0, False
    if first == len(holds) or math.isinf(precision):
        return radii[first - 1].item(), True
    ends, least = radii[first - 1 : first + 1], 1e-12 * radii[-1].item()
    found = narrowed(lambda index, trials: certifies(trials), ends[:1], ends[1:], precision, trials=TRIALS, least=least)
    return found.item(), False


def typical_radius(net: nn.Sequential, x: Tensor, y: Tensor, everywhere: Everywhere, share: float = 0.5) -> float:
    """The radius below which the global bound certifies this share of the points, by some of them."""
    some = torch.linspace(0, len(x) - 1, min(len(x), 64), device=x.device).round().long()
    x, y = x[some], y[some]
    logits = forward(read_blocks(net, x.shape[1:]), check_input(net, x)).detach()
    constants = everywhere.at(logits.new_zeros(len(x))).pairwise(y)
    ordered = (margins(logits, y) / constants).amin(dim=1).clamp_min(0).sort().values
    return ordered[int(share * (len(ordered) - 1))].item()
