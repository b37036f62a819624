"""What clipping makes constant: the boxes of the units between their two flat zones, and the bounds that follow."""

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, round_up
from lliptools.certificates.certificate import certify
from lliptools.digits import radius_text
from lliptools.teach.shared.efforts import Effort, scale_thresholds
from lliptools.teach.shared.units import AT_THETA, AT_ZERO, Layer, hidden

LAYERS = 3  # hidden layers that are shown side by side


class Strips:
    """Units of a hidden layer at the first point, in the order constant at the low end, varying, constant at the high.

    * name: of the layer, and names of its two constants
    * lower, upper: (units,) what each is clipped from
    * low, high: (units,) its thresholds, possibly infinite
    * states: (units,)
    * every: one unit in so many is there, where there are more than `most`; counts: of all units, in that order
    """

    def __init__(self, layer: Layer, most: int) -> None:
        found, sides = layer.states(0).flatten(), (*layer.unit_box(0), *layer.thresholds())
        lower, upper, low, high = (side[:1].flatten() for side in sides)
        rank = torch.where(found == AT_ZERO, 0, torch.where(found == AT_THETA, 2, 1))
        place = torch.where(rank == 0, upper, torch.where(rank == 2, lower, (lower + upper) / 2))
        order = place.argsort(stable=True)
        self.every = math.ceil(len(order) / most)
        order = order[rank[order].argsort(stable=True)][:: self.every]
        self.name, self.names = layer.name, layer.constants
        self.lower, self.upper, self.low, self.high = (side[order] for side in (lower, upper, low, high))
        self.states, self.counts = found[order], tuple(int((rank == k).sum()) for k in range(3))


class ClipView:
    """A network, its thresholds times theta_scale, in balls of one radius around a labelled point and some others.

    x: (1 + others, *sample), y: (1 + others,). certificate: of the point and then of the others. everywhere: the global
    bound, the same for every theta_scale. right: (1 + others,) whether the label wins. Means are over the others,
    where there are any.
    """

    def __init__(
        self,
        net: nn.Sequential,
        x: Tensor,
        y: Tensor,
        eps: float,
        theta_scale: float,
        effort: Effort,
        everywhere: Bound,
    ) -> None:
        net = scale_thresholds(net, theta_scale)
        self.eps, self.theta_scale, self.label, self.everywhere = eps, theta_scale, int(y[0]), everywhere
        self.certificate = certify(net, x, y, eps, bound=effort.bound(), centred=False)
        self.right = self.certificate.margin > 0

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
        return Strips(self.hidden[number], most)

    def summary(self) -> tuple[str, ...]:
        """What clipping does to the bound in a sentence; then what varies, and what is proved."""
        here, mean = self.varying
        moving = [f"ε = {radius_text(self.eps)}", f"θ times {_factor(self.theta_scale)}"]
        for number, layer in enumerate(self.hidden):
            low, varying, high = self.strips(number).counts
            constant = f"{low} at {layer.constants[0]}, {high} at {layer.constants[1]}"
            shares = f"{here[number]:.0%}" + (f"; mean {mean[number]:.0%}" if self.count else "")
            moving.append(f"layer {layer.name}: {constant}, {varying} varying ({shares})")
        if math.isfinite(self.theta_scale) and not any(layer.clipped for layer in self.hidden):
            moving.append("nothing is clipped: θ changes nothing")
        holds = self.certificate.holds
        local, everywhere = round_up(self.local), round_up(self.everywhere.value.item())
        held = "certified" if holds[0] else "not certified"
        proved = [
            f"label {self.label}{'' if self.right[0] else ', which does not win'}",
            f"local bound {local}, global {everywhere}",
            f"margin {self.certificate.margin[0]:.4g}",
            held,
        ]
        if self.count:
            right, sure = int(self.right[1:].sum()), int(holds[1:].sum())
            proved.append(f"of {self.count} points {right} are right and {sure} certified")
        counts = " + ".join(str(self.strips(number).counts[1]) for number in range(len(self.hidden)))
        units = sum(layer.block.slope[0].numel() for layer in self.hidden)
        scale = "∞" if math.isinf(self.theta_scale) else _factor(self.theta_scale)
        verdict = f"θ × {scale}: {counts or 0} of {units} units vary, L ≤ {local} (global {everywhere})"
        return f"{verdict}, {held} at ε = {radius_text(self.eps)}.", " · ".join(moving), " · ".join(proved)


class Member:
    """A network of a family at one radius: means over points, of which the first does not count.

    * ratio: of the local bound over the global one, 1 where both are 0
    * varying: share of all hidden units; certified, right: shares of the points
    """

    def __init__(self, name: str, view: ClipView) -> None:
        sizes = torch.tensor([float(layer.block.slope[0].numel()) for layer in view.hidden])
        self.name, self.count, varying = name, view.count, (torch.tensor(view.varying[1]) * sizes).sum().item()
        self.varying = varying / max(sizes.sum().item(), 1.0)
        self.ratio = (view.certificate.bound.value[1:] / view.everywhere.value).nan_to_num(nan=1.0).mean().item()
        self.certified, self.right = (part[1:].double().mean().item() for part in (view.certificate.holds, view.right))


def theta_curve(net: nn.Sequential, x: Tensor, eps: float, scales: Sequence[float], effort: Effort) -> Tensor:
    """The local bound at one point, (1, *sample), for all thresholds times each factor: (factors,)."""
    bound = effort.bound()
    return torch.cat([bound(scale_thresholds(net, scale), x, eps).value for scale in scales]).cpu()


def _factor(scale: float) -> str:
    return "∞: nothing is clipped" if math.isinf(scale) else f"{scale:.3g}"
