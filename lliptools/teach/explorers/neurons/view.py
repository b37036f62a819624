"""A network near one labelled point: which of its units are fixed, and what that proves."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, global_bound, round_down, round_up
from lliptools.certificates.certificate import Certificate, certify
from lliptools.certificates.margins import margins
from lliptools.certificates.radius import certified_radius
from lliptools.digits import radius_text
from lliptools.nets import check_input, forward, read_blocks
from lliptools.teach.explorers.neurons.weights import Struck, Weights, drawn
from lliptools.teach.shared import efforts
from lliptools.teach.shared.efforts import Effort, Everywhere, largest_radius
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.units import UNDECIDED, Station, constants, is_clipped, states, stations

__all__ = ["NeuronView", "neuron_view"]


@dataclass(frozen=True, eq=False)
class NeuronView:
    """A network near one labelled point, for a whole grid of radii at once.

    point: (*sample,). radii: (radii,). local: the local bound, its batch running over the radii. everywhere: the
    global bound, batch 1. reach: (radii,) the distance within which no other class can catch up, by what is known
    of the ball of that radius: min over j ≠ y of margin_j / Lip(f_y − f_j), or more by the last layer's box.
    holds: (radii,) bool, whether the local bound certifies.
    radius, radius_global: largest certified radius by either bound, searched to effort.precision, or at least that
    where its at_least is True. plane: of a network with two inputs.
    """

    point: Tensor
    label: int
    predicted: int
    margin: float
    radii: Tensor
    local: Bound
    everywhere: Bound
    holds: Tensor
    reach: Tensor
    reach_global: float
    radius: float
    radius_global: float
    at_least: tuple[bool, bool]
    plane: Plane | None

    @cached_property
    def stations(self) -> tuple[Station, ...]:
        """Every linear map of the network with the activation after it, in order."""
        return tuple(stations(self.local.blocks))

    @cached_property
    def hidden(self) -> tuple[Station, ...]:
        """Those that have an activation."""
        return tuple(station for station in self.stations if station.block.activation is not None)

    @cached_property
    def clipped(self) -> bool:
        """Whether any unit has an upper threshold."""
        return any(is_clipped(station.block) for station in self.hidden)

    @cached_property
    def weights(self) -> tuple[Weights, ...]:
        """How the linear maps are drawn, one a station."""
        return tuple(drawn(station.block.linear) for station in self.stations)

    def states(self, layer: int, index: int) -> Tensor:
        """State of every unit of a hidden layer at radii[index]: (units,) of AT_ZERO, AT_THETA, ON or UNDECIDED."""
        return states(self.hidden[layer].block, index).flatten()

    def struck(self, number: int, index: int) -> Struck:
        """What is left of the weights of station number at radii[index]."""
        station = self.stations[number]
        columns = station.columns[index : index + 1] if len(station.columns) > 1 else station.columns
        return self.weights[number].struck(station.block.row_slope[index : index + 1], columns)

    def kinks(self, plane: Plane, index: int) -> tuple[Tensor, Tensor]:
        """Pixels of the plane where any unit bends, and where one that is undecided at radii[index] does."""
        every = moving = torch.zeros_like(plane.classes, dtype=torch.bool)
        for layer, lines in enumerate(plane.kinks):
            every = every | lines.any(dim=0)
            moving = moving | lines[(self.states(layer, index) == UNDECIDED).cpu()].any(dim=0)
        return every, moving

    def summary(self, index: int) -> tuple[str, str]:
        """Two lines with the numbers of the view at radii[index]: what is fixed, and what is proved."""
        fixed = [f"ε = {radius_text(self.radii[index].item())}"]
        for layer, station in enumerate(self.hidden):
            found, (low, high) = self.states(layer, index), constants(station.block.activation)
            at_low, at_high, on, undecided = (int((found == code).sum()) for code in range(4))
            clipped = f", {at_high} at {high}" if self.clipped else ""
            fixed.append(
                f"layer {station.name}: {at_low} at {low}{clipped}, {on + undecided} varying ({on} of them on)"
            )
        local, everywhere = self.local.value[index].item(), self.everywhere.value.item()
        by_local, by_global = (
            f"{'≥ ' if more else ''}{round_down(radius)}"
            for radius, more in zip((self.radius, self.radius_global), self.at_least, strict=True)
        )
        proved = [
            f"label {self.label}, predicted {self.predicted}",
            f"local bound {round_up(local)}, global {round_up(everywhere)}",
            f"margin {self.margin:.4g}",
            "certified" if self.certified(index) else "not certified",
            f"certified radius {by_local} local, {by_global} global",
        ]
        if self.local.failure_probability:
            chance = self.local.failure_probability + self.everywhere.failure_probability
            proved.append(f"norms by chance: false with probability ≤ {round_up(chance, 1)}")
        return " · ".join(fixed), " · ".join(proved)

    def certified(self, index: int) -> bool:
        """Whether the local bound certifies radii[index]."""
        return bool(self.holds[index])


def neuron_view(
    net: nn.Sequential,
    x: Tensor,
    y: int,
    radii: Tensor,
    plane: Plane | None = None,
    *,
    effort: Effort | None = None,
    everywhere: Everywhere | None = None,
) -> NeuronView:
    """Bounds, margin and certified radii near the point x, (*sample,), for all radii (ascending) in one batched call.

    everywhere: the global bound where it is known already. effort: how much may be computed.
    """
    batch, label = x[None].double(), torch.tensor([y], device=x.device)
    everywhere = everywhere or efforts.everywhere(net, batch)
    effort = effort or efforts.effort(everywhere.plain)
    certificate = certify(net, *_many(batch, label, len(radii)), radii, bound=effort.rung())
    logits = forward(read_blocks(net, x.shape), check_input(net, batch)).detach()
    margin = margins(logits, label)
    reach_global = (margin / everywhere.plain.pairwise(label)).min().item()
    radius, more = _radius(net, batch, label, radii, certificate, effort)
    radius_global, more_global = _radius_global(net, batch, label, everywhere, reach_global, effort)
    return NeuronView(
        point=x,
        label=y,
        predicted=int(logits.argmax()),
        margin=margin.min().item(),
        radii=radii,
        local=certificate.bound,
        everywhere=everywhere.plain,
        holds=certificate.holds,
        reach=_safe_distance(margin, certificate, label.expand(len(radii))),
        reach_global=reach_global,
        radius=radius,
        radius_global=radius_global,
        at_least=(more, more_global),
        plane=plane,
    )


def _many(batch: Tensor, label: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return batch.expand(count, *batch.shape[1:]), label.expand(count)


def _safe_distance(margin: Tensor, certificate: Certificate, y: Tensor) -> Tensor:
    """How far the margin lasts by what the certificate knows of each ball, (radii,): above eps where it holds.

    margin_j / Lip(f_y − f_j), or eps times the margin over what the ball can take of it where the last layer's box
    makes that more.
    """
    by_constant = (margin / certificate.bound.pairwise(y)).amin(dim=1)
    by_box = certificate.eps * certificate.margin / (certificate.margin - certificate.worst_margin)
    return torch.fmax(by_constant, by_box)


def _radius(
    net: nn.Sequential, batch: Tensor, label: Tensor, radii: Tensor, known: Certificate, effort: Effort
) -> tuple[float, bool]:
    """The largest radius that the local bound certifies, and whether it is only known that it is at least that."""

    def certifies(trials: Tensor) -> Tensor:
        return certify(net, *_many(batch, label, len(trials)), trials, bound=effort.rung()).holds

    radius, found = largest_radius(certifies, radii, known.holds, effort.precision)
    if known.holds.all() and effort == Effort():  # beyond the radii
        return certified_radius(net, batch, label).item(), False
    return radius, not found


def _radius_global(
    net: nn.Sequential, batch: Tensor, label: Tensor, everywhere: Everywhere, reach: float, effort: Effort
) -> tuple[float, bool]:
    """The same by the global bound, which the last layer's box can take a little further than margin over constant."""
    if not reach > 0 or math.isinf(reach):
        return max(reach, 0.0) if reach == reach else 0.0, False

    def certifies(trials: Tensor) -> Tensor:
        return certify(net, *_many(batch, label, len(trials)), trials, bound=lambda *_: everywhere.at(trials)).holds

    radii = reach * torch.tensor([0, 1 - 1e-6, 1 + 1e-6, 1.01, 1.1, 1.5, 2, 4, 16, 1e3], dtype=batch.dtype)
    radii = radii.to(batch.device)
    holds = certifies(radii)
    if holds.all() and effort == Effort():
        return certified_radius(net, batch, label, bound=global_bound).item(), False
    radius, found = largest_radius(certifies, radii, holds, max(effort.precision, 1e-6))
    return radius, not found
