"""What clipping makes constant: the boxes of the units between their two flat zones, and the bounds that follow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, UpperNorm, global_bound, round_up
from lliptools.certificates.certificate import Certificate, certify
from lliptools.digits import radius_text
from lliptools.nets import forward, read_blocks
from lliptools.teach.shared.efforts import Effort, scale_thresholds
from lliptools.teach.shared.units import AT_THETA, AT_ZERO, Layer, hidden

__all__ = ["LAYERS", "ClipView", "Member", "Strips", "clip_view", "member", "theta_curve"]


LAYERS = 3  # hidden layers that are shown side by side


@dataclass(frozen=True, eq=False)
class Strips:
    """Units of a hidden layer, in the order constant at the low end, varying, constant at the high end.

    * names: of the two constants
    * lower, upper: (units,) what each is clipped from
    * low, high: (units,) its thresholds, possibly infinite
    * states: (units,)
    * every: one unit in so many is there; counts: of all units, in that order
    """

    name: str
    names: tuple[str, str]
    lower: Tensor
    upper: Tensor
    low: Tensor
    high: Tensor
    states: Tensor
    every: int
    counts: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ClipView:
    """A network near one labelled point and near some others, all in balls of one radius.

    certificate: of the point and then of the others. everywhere: the global bound. right: (1 + others,) bool. Means
    are over the others.
    """

    eps: float
    theta_scale: float
    label: int
    certificate: Certificate
    everywhere: Bound
    right: Tensor

    @cached_property
    def hidden(self) -> tuple[Layer, ...]:
        """The linear maps that an activation follows."""
        return hidden(self.certificate.bound.blocks)

    @property
    def local(self) -> float:
        """The local bound at the point."""
        return self.certificate.bound.value[0].item()

    @property
    def count(self) -> int:
        """Number of points over which means are taken."""
        return len(self.right) - 1

    @cached_property
    def varying(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Fraction of every hidden layer's units that varies: at the point, and in the mean."""
        shares = [(layer.block.slope > 0).flatten(1).double().mean(dim=1) for layer in self.hidden]
        return tuple(share[0].item() for share in shares), tuple(share[1:].mean().item() for share in shares)

    def strips(self, number: int, most: int = 150) -> Strips:
        """The units of a hidden layer at the point, one in so many where there are more."""
        layer = self.hidden[number]
        found, sides = layer.states(0).flatten(), (*layer.unit_box(0), *layer.thresholds())
        lower, upper, low, high = (side[:1].flatten() for side in sides)
        rank = torch.where(found == AT_ZERO, 0, torch.where(found == AT_THETA, 2, 1))
        place = torch.where(rank == 0, upper, torch.where(rank == 2, lower, (lower + upper) / 2))
        order = place.argsort(stable=True)
        every = math.ceil(len(order) / most)
        order = order[rank[order].argsort(stable=True)][::every]
        at_low, varying, at_high = (int((rank == k).sum()) for k in range(3))
        lower, upper, low, high, found = (each[order] for each in (lower, upper, low, high, found))
        counts = at_low, varying, at_high
        return Strips(layer.name, layer.constants, lower, upper, low, high, found, every, counts)

    def summary(self) -> tuple[str, str]:
        """Two lines: what varies, and what is proved."""
        here, mean = self.varying
        moving = [f"ε = {radius_text(self.eps)}", f"θ times {_factor(self.theta_scale)}"]
        for number, layer in enumerate(self.hidden):
            low, varying, high = self.strips(number).counts
            constant = f"{low} at {layer.constants[0]}, {high} at {layer.constants[1]}"
            shares = f"{here[number]:.0%}; mean {mean[number]:.0%}"
            moving.append(f"layer {layer.name}: {constant}, {varying} varying ({shares})")
        if math.isfinite(self.theta_scale) and not any(layer.clipped for layer in self.hidden):
            moving.append("nothing is clipped: θ changes nothing")
        holds = self.certificate.holds
        proved = [
            f"label {self.label}{'' if self.right[0] else ', predicted otherwise'}",
            f"local bound {round_up(self.local)}, global {round_up(self.everywhere.value.item())}",
            f"margin {self.certificate.margin[0]:.4g}",
            "certified" if holds[0] else "not certified",
            f"of {self.count} points {int(self.right[1:].sum())} are right and {int(holds[1:].sum())} certified",
        ]
        return " · ".join(moving), " · ".join(proved)


@dataclass(frozen=True)
class Member:
    """A network of a family at one radius: means over some points.

    * ratio: of the local bound over the global one, 1 where both are 0
    * varying: share of all hidden units; certified, right: shares of the points
    """

    name: str
    ratio: float
    varying: float
    certified: float
    right: float


def clip_view(net: nn.Sequential, x: Tensor, y: Tensor, eps: float, theta_scale: float, effort: Effort) -> ClipView:
    """The network, its thresholds times theta_scale, in the balls of radius eps around x[0] and the others.

    x: (1 + others, *sample), y: (1 + others,).
    """
    net = scale_thresholds(net, theta_scale)
    with torch.no_grad():
        logits = forward(read_blocks(net, x.shape[1:]), x.double())
    everywhere = global_bound(net, x[:1], norm=UpperNorm(tolerance=effort.tolerance))
    found = certify(net, x, y, eps, bound=effort.bound())
    return ClipView(eps, theta_scale, int(y[0]), found, everywhere, logits.argmax(dim=1) == y)


def theta_curve(net: nn.Sequential, x: Tensor, eps: float, scales: Sequence[float], effort: Effort) -> Tensor:
    """The local bound at one point, (1, *sample), for all thresholds times each factor: (factors,)."""
    bound = effort.bound()
    return torch.cat([bound(scale_thresholds(net, scale), x, eps).value for scale in scales]).cpu()


def member(
    name: str, net: nn.Sequential, x: Tensor, y: Tensor, eps: float, theta_scale: float, effort: Effort
) -> Member:
    """A network at points and a radius; x[0] and y[0] do not count."""
    view = clip_view(net, x, y, eps, theta_scale, effort)
    sizes = torch.tensor([float(layer.block.slope[0].numel()) for layer in view.hidden])
    varying = (torch.tensor(view.varying[1]) * sizes).sum().item() / max(sizes.sum().item(), 1.0)
    ratio = (view.certificate.bound.value[1:] / view.everywhere.value).nan_to_num(nan=1.0).mean().item()
    holds = view.certificate.holds[1:].double().mean().item()
    return Member(name, ratio, varying, holds, view.right[1:].double().mean().item())


def _factor(scale: float) -> str:
    return "∞: nothing is clipped" if math.isinf(scale) else f"{scale:.3g}"
