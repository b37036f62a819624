"""What a figure shows, computed by the engine: the only room of teaching that calls it. No plotting here."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, global_bound, local_bound
from lliptools.certificates import certified_radius, certify
from lliptools.nets import ClippedReLU, check_input, forward, read_blocks

__all__ = ["NeuronView", "Plane", "neuron_view", "plane_view", "scale_thresholds"]

CONSTANT_AT_ZERO, CONSTANT_AT_THETA, VARYING = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Plane:
    """A square of the input plane, cut into pixels.

    x0, x1: (pixels,) coordinates. classes: (pixels, pixels) class that wins, rows along x1. border: where it changes.
    kinks: one (units, pixels, pixels) bool tensor a hidden layer: where a unit passes from one linear piece to another.
    """

    x0: Tensor
    x1: Tensor
    classes: Tensor
    border: Tensor
    kinks: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class NeuronView:
    """A network near one labelled point, for a whole grid of radii at once.

    point: (features,). radii: (radii,). local: the local bound, its batch running over the radii. everywhere: the
    global bound, batch 1. reach: (radii,) min over j ≠ y of margin_j / Lip(f_y − f_j) on the ball of that radius, the
    distance within which no other class can catch up; a radius certifies where reach > radius.
    radius, radius_global: largest certified radius by either bound.
    """

    point: Tensor
    label: int
    predicted: int
    margin: float
    radii: Tensor
    local: Bound
    everywhere: Bound
    reach: Tensor
    reach_global: float
    radius: float
    radius_global: float
    plane: Plane | None

    def states(self, layer: int, index: int) -> Tensor:
        """State of every unit of a hidden layer at radii[index]: (units,) of 0 (at 0), 1 (at θ) or 2 (varying)."""
        block = self.local.blocks[layer]
        at_zero = block.output.upper[index] <= 0
        constant = torch.where(at_zero, CONSTANT_AT_ZERO, CONSTANT_AT_THETA)
        return torch.where(block.slope[index] > 0, VARYING, constant)

    def kinks(self, plane: Plane, index: int) -> tuple[Tensor, Tensor]:
        """Pixels of the plane where any unit bends, and where one that varies at radii[index] does."""
        every = moving = torch.zeros_like(plane.classes, dtype=torch.bool)
        for layer, lines in enumerate(plane.kinks):
            every = every | lines.any(dim=0)
            moving = moving | lines[self.states(layer, index) == VARYING].any(dim=0)
        return every, moving

    def summary(self, index: int) -> str:
        """One line with the numbers of the view at radii[index]."""
        layers = []
        for layer in range(len(self.local.blocks) - 1):
            at_zero, at_theta, varying = (int((self.states(layer, index) == code).sum()) for code in range(3))
            layers.append(f"layer {layer + 1}: {at_zero} at 0, {at_theta} at θ, {varying} varying")
        local, everywhere = self.local.value[index].item(), self.everywhere.value.item()
        ratio = f" ({local / everywhere:.3f} of global {everywhere:.4g})" if everywhere else ""
        certified = "certified" if self.certified(index) else "not certified"
        return " · ".join(
            [
                f"label {self.label}, predicted {self.predicted}",
                f"ε = {self.radii[index]:.4g}: {certified}",
                *layers,
                f"local bound {local:.4g}{ratio}",
                f"margin {self.margin:.4g}",
                f"certified radius {self.radius:.4g} local, {self.radius_global:.4g} global",
            ]
        )

    def certified(self, index: int) -> bool:
        """Whether the local bound certifies radii[index]."""
        return bool(self.reach[index] > self.radii[index])


def neuron_view(net: nn.Sequential, x: Tensor, y: int, radii: Tensor, plane: Plane | None = None) -> NeuronView:
    """Bounds, margin and certified radii near the point x, shape (features,), for all radii in one batched call."""
    batch, label = x[None], torch.tensor([y], device=x.device)
    local = local_bound(net, batch.expand(len(radii), *x.shape), radii)
    everywhere = global_bound(net, batch)
    here = certify(net, batch, label, 0.0)
    logits = forward(read_blocks(net, x.shape), check_input(net, batch))[0].detach()
    other = torch.arange(len(logits), device=x.device) != y
    margins = (logits[y] - logits)[other]
    return NeuronView(
        point=x,
        label=y,
        predicted=int(logits.argmax()),
        margin=here.margin.item(),
        radii=radii,
        local=local,
        everywhere=everywhere,
        reach=(margins / local.pairwise(label.expand(len(radii)))[:, other]).amin(dim=1),
        reach_global=(margins / everywhere.pairwise(label)[:, other]).amin().item(),
        radius=certified_radius(net, batch, label).item(),
        radius_global=certified_radius(net, batch, label, bound=global_bound).item(),
        plane=plane,
    )


def plane_view(net: nn.Sequential, points: Tensor, pixels: int = 200) -> Plane:
    """Classes and kinks of a network with two inputs over the square that holds the points, (samples, 2)."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    middle, half = (low + high) / 2, 0.55 * (high - low).max()
    x0, x1 = (torch.linspace(m - half, m + half, pixels, dtype=torch.float64) for m in middle.tolist())
    h = torch.stack([x0.repeat(pixels), x1.repeat_interleave(pixels)], dim=1).to(points.device)
    kinks: list[Tensor] = []
    with torch.no_grad():
        blocks = read_blocks(net, torch.Size([2]))
        for block in blocks[:-1]:
            assert block.activation is not None
            z, h = block.linear.apply(h), block.activation(block.linear.apply(h))
            piece = ((z > 0) & (h == z)).byte() + 2 * ((z > 0) & (h < z)).byte()
            kinks.append(_edges(piece.T.reshape(-1, pixels, pixels)))
        classes = forward(blocks[-1:], h).argmax(dim=1).reshape(pixels, pixels)
    return Plane(x0, x1, classes, _edges(classes[None])[0], tuple(kinks))


def scale_thresholds(net: nn.Sequential, factor: float) -> nn.Sequential:
    """A copy of the network whose clip thresholds are all multiplied by factor."""
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        for layer in scaled.modules():  # each once, also where the network uses one twice
            if isinstance(layer, ClippedReLU):
                layer.theta.mul_(factor)
    return scaled


def _edges(piece: Tensor) -> Tensor:
    edges = torch.zeros_like(piece, dtype=torch.bool)
    edges[:, 1:] |= piece[:, 1:] != piece[:, :-1]
    edges[:, :, 1:] |= piece[:, :, 1:] != piece[:, :, :-1]
    return edges
