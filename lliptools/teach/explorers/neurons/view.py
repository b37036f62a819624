"""A network near one labelled point: which of its units are fixed, and what that proves."""

import math
from functools import cached_property

import torch
from torch import Tensor, nn

from lliptools.bounds import global_bound, round_down, round_up
from lliptools.certificates.certificate import Certificate
from lliptools.certificates.margins import margins
from lliptools.certificates.radius import certified_radius
from lliptools.digits import radius_text
from lliptools.nets import check_input, forward, read_blocks
from lliptools.teach.explorers.neurons.weights import Masked, Weights
from lliptools.teach.shared import efforts
from lliptools.teach.shared.efforts import Effort, Everywhere, certified_at, largest_radius
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.units import AT_ONCE, ON, UNSTABLE, Layer, dense_weights, every_unit, hidden, layers


class NeuronView:
    """A network near one labelled point x, (*sample,), for a whole grid of radii at once, in one batched call.

    * radii: (radii,), ascending. plane: of a network with two inputs
    * effort: how much may be computed. everywhere: the global bound, where it is known already
    * local: the local bound, its batch running over the radii; everywhere: the global bound, batch 1
    * holds: (radii,) bool, whether the local bound certifies
    * reach: (radii,) the distance within which no other class can catch up, by what is known of the ball of that
      radius: min over j ≠ y of margin_j / Lip(f_y − f_j), or more by the last layer's box
    * radius, radius_global: largest certified radius by either bound, searched to effort.precision, or at least that
      where its at_least is True
    """

    def __init__(
        self,
        net: nn.Sequential,
        x: Tensor,
        y: int,
        radii: Tensor,
        plane: Plane | None = None,
        *,
        effort: Effort | None = None,
        everywhere: Everywhere | None = None,
    ) -> None:
        self.point, self.label, self.radii, self.plane, self._net = x, y, radii, plane, net
        batch, label = x[None].double(), torch.tensor([y], device=x.device)
        whole = everywhere or efforts.Everywhere(net, batch)
        effort = effort or efforts.effort(whole.plain)
        found = certified_at(net, batch, label, radii, effort.bound())
        logits = forward(read_blocks(net, x.shape), check_input(net, batch)).detach()
        margin = margins(logits, label)
        self.local, self.everywhere, self.holds = found.bound, whole.plain, found.holds
        self.predicted, self.margin = int(logits.argmax()), margin.min().item()
        self.reach = _safe_distance(margin, found, label.expand(len(radii)))
        self.reach_global = reach = (margin / whole.plain.pairwise(label)).min().item()

        def local_holds(trials: Tensor) -> Tensor:
            return certified_at(net, batch, label, trials, effort.bound()).holds

        def everywhere_holds(trials: Tensor) -> Tensor:
            return certified_at(net, batch, label, trials, lambda *_: whole.at(trials)).holds

        self.radius, more = largest_radius(local_holds, radii, self.holds, effort.precision)
        if self.holds.all() and effort == Effort():  # beyond the radii
            self.radius, more = certified_radius(net, batch, label, centred=False).item(), False
        # Margin over constant, or a little further by the last layer's box.
        self.radius_global, more_global = max(reach, 0.0) if reach == reach else 0.0, False
        if 0 < reach < math.inf:
            steps = torch.tensor([0, 1 - 1e-6, 1 + 1e-6, 1.01, 1.1, 1.5, 2, 4, 16, 1e3], dtype=batch.dtype)
            steps = reach * steps.to(batch.device)
            holds, precision = everywhere_holds(steps), max(effort.precision, 1e-6)
            self.radius_global, more_global = largest_radius(everywhere_holds, steps, holds, precision)
            if holds.all() and effort == Effort():
                self.radius_global, more_global = certified_radius(net, batch, label, bound=global_bound).item(), False
        self.at_least = more, more_global

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every linear map of the network with the activation after it, in order."""
        return tuple(layers(self.local.blocks))

    @cached_property
    def hidden(self) -> tuple[Layer, ...]:
        """Those that have an activation."""
        return hidden(self.local.blocks)

    @cached_property
    def clipped(self) -> bool:
        """Whether any unit has an upper threshold."""
        return any(layer.clipped for layer in self.hidden)

    @cached_property
    def weights(self) -> tuple[Weights, ...]:
        """How the linear maps are drawn, one per layer."""
        return tuple(Weights(layer.block.linear) for layer in self.layers)

    def states(self, layer: int, index: int) -> Tensor:
        """State of every unit of a hidden layer at radii[index]: (units,) of AT_ZERO, AT_THETA, ON or UNSTABLE."""
        return self.hidden[layer].states(index).flatten()

    def masked(self, number: int, index: int) -> Masked:
        """What is left of the weights of a layer at radii[index]."""
        layer = self.layers[number]
        columns = layer.columns[index : index + 1] if len(layer.columns) > 1 else layer.columns
        return self.weights[number].masked(layer.block.row_slope[index : index + 1], columns)

    @cached_property
    def matrices(self) -> tuple[Tensor, ...]:
        """The weights of a small dense network whose units are masked or not, (rows, columns) float32; else none."""
        return dense_weights(self.local.blocks)

    @cached_property
    def moved(self) -> tuple[Tensor, Tensor]:
        """The point, moved by every radius to where its margin falls fastest at first, and the class that wins there.

        (radii, *sample) and (radii,).
        """
        blocks, center = read_blocks(self._net, self.point.shape), self.point[None].double().requires_grad_()
        label = torch.tensor([self.label], device=center.device)
        (gradient,) = torch.autograd.grad(margins(forward(blocks, center), label).amin(), center)
        step = gradient / torch.linalg.vector_norm(gradient).clamp_min(1e-300)
        with torch.no_grad():
            found = center - self.radii.reshape(-1, *[1] * self.point.dim()) * step
            return found, forward(blocks, found).argmax(dim=1)

    def kinks(self, plane: Plane, index: int) -> tuple[Tensor, Tensor]:
        """Pixels of the plane where any unit bends, and where one that is unstable at radii[index] does."""
        every = moving = torch.zeros_like(plane.classes, dtype=torch.bool)
        for layer, lines in enumerate(plane.kinks):
            every = every | lines.any(dim=0)
            moving = moving | lines[(self.states(layer, index) == UNSTABLE).cpu()].any(dim=0)
        return every, moving

    def verdict(self, index: int) -> str:
        """What is seen at radii[index], in a sentence."""
        counts = [int((layer.states(index) >= ON).sum()) for layer in self.hidden]
        total, few = sum(layer.block.slope[0].numel() for layer in self.hidden), len(counts) <= AT_ONCE
        varying = (" + ".join(map(str, counts)) if few else sum(counts)) or 0
        everywhere, local = round_up(self.everywhere.value.item(), 3), round_up(self.local.value[index].item(), 3)
        proved = "certified" if self.certified(index) else "not certified"
        end = proved if self.predicted == self.label else "misclassified"
        return f"{varying} of {total} neurons can vary within ε: L is {local} there, {everywhere} everywhere; {end}."

    def summary(self, index: int) -> tuple[str, str, str]:
        """The verdict, and in two lines the numbers of the view at radii[index]: what is fixed, and what is proved."""
        fixed = [f"ε = {radius_text(self.radii[index].item())}"]
        for layer in self.hidden:
            found, (low, high) = layer.states(index), layer.constants
            at_low, at_high, on, unstable = (int((found == code).sum()) for code in range(4))
            clipped = f", {at_high} at {high}" if self.clipped else ""
            fixed.append(f"layer {layer.name}: {at_low} at {low}{clipped}, {on + unstable} varying ({on} of them on)")
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
        return self.verdict(index), " · ".join(fixed), " · ".join(proved)

    def units_summary(self, index: int) -> tuple[str, ...]:
        """How many units can change their output at radii[index], in a sentence; then layer by layer, by state."""
        states, _ = every_unit(self.hidden, index)
        varying, total = int((states >= ON).sum()), len(states)
        eps = radius_text(self.radii[index].item())
        fixed = self.summary(index)[1]
        return f"ε = {eps}: {varying} of {total} units can change their output; {total - varying} stand still.", fixed

    def certified(self, index: int) -> bool:
        """Whether the local bound certifies radii[index]."""
        return bool(self.holds[index])


def _safe_distance(margin: Tensor, certificate: Certificate, y: Tensor) -> Tensor:
    """How far the margin lasts by what the certificate knows of each ball, (radii,): above eps where it holds.

    margin_j / Lip(f_y − f_j), or eps times the margin over what the ball can take of it where the last layer's box
    makes that more.
    """
    by_constant = (margin / certificate.bound.pairwise(y)).amin(dim=1)
    by_box = certificate.eps * certificate.margin / (certificate.margin - certificate.worst_margin)
    return torch.fmax(by_constant, by_box)
