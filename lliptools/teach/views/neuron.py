"""What a figure shows, computed by the engine: the only room of teaching that calls it. No plotting here."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, global_bound, round_up
from lliptools.certificates import Certificate, certified_radius, certify
from lliptools.margins import margins
from lliptools.nets import ClippedReLU, check_input, forward, read_blocks

__all__ = ["NeuronView", "Plane", "neuron_view", "plane_view", "scale_thresholds"]

# States of a unit over the ball. The first two are constant, the last two varying: linear all over it, or undecided.
AT_ZERO, AT_THETA, ON, UNDECIDED = range(4)


@dataclass(frozen=True, eq=False)
class Plane:
    """A square of the input plane, cut into pixels.

    x0, x1: (pixels,) coordinates. classes: (pixels, pixels) class that wins, rows along x1. border: where it changes.
    labels: a place inside each class that has one.
    kinks: one (units, pixels, pixels) bool tensor a hidden layer: where a unit passes from one linear piece to another.
    """

    x0: Tensor
    x1: Tensor
    classes: Tensor
    labels: dict[int, tuple[float, float]]
    border: Tensor
    kinks: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class NeuronView:
    """A network near one labelled point, for a whole grid of radii at once.

    point: (features,). radii: (radii,). local: the local bound, its batch running over the radii. everywhere: the
    global bound, batch 1. reach: (radii,) the distance within which no other class can catch up, by what is known
    of the ball of that radius: min over j ≠ y of margin_j / Lip(f_y − f_j), or more by the last layer's box.
    holds: (radii,) bool, whether the local bound certifies.
    radius, radius_global: largest certified radius by either bound. clipped: whether any activation is clipped.
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
    clipped: bool
    plane: Plane | None

    def states(self, layer: int, index: int) -> Tensor:
        """State of every unit of a hidden layer at radii[index]: (units,) of AT_ZERO, AT_THETA, ON or UNDECIDED."""
        block = self.local.blocks[layer]
        lower, upper = block.output.lower[index], block.output.upper[index]
        linear = (lower == block.box.lower[index]) & (upper == block.box.upper[index])
        varying = torch.where(linear, ON, UNDECIDED)
        return torch.where(block.slope[index] > 0, varying, torch.where(upper <= 0, AT_ZERO, AT_THETA)).flatten()

    def kinks(self, plane: Plane, index: int) -> tuple[Tensor, Tensor]:
        """Pixels of the plane where any unit bends, and where one that is undecided at radii[index] does."""
        every = moving = torch.zeros_like(plane.classes, dtype=torch.bool)
        for layer, lines in enumerate(plane.kinks):
            every = every | lines.any(dim=0)
            moving = moving | lines[self.states(layer, index) == UNDECIDED].any(dim=0)
        return every, moving

    def summary(self, index: int) -> tuple[str, str]:
        """Two lines with the numbers of the view at radii[index]: what is fixed, and what is proved."""
        fixed = [f"ε = {self.radii[index]:.4g}"]
        for layer in range(len(self.local.blocks) - 1):
            states = self.states(layer, index)
            at_zero, at_theta, on, undecided = (int((states == code).sum()) for code in range(4))
            clipped = f", {at_theta} at θ" if self.clipped else ""
            fixed.append(f"layer {layer + 1}: {at_zero} at 0{clipped}, {on + undecided} varying ({on} of them on)")
        local, everywhere = self.local.value[index].item(), self.everywhere.value.item()
        proved = [
            f"label {self.label}, predicted {self.predicted}",
            f"local bound {round_up(local)}, global {round_up(everywhere)}",
            f"margin {self.margin:.4g}",
            "certified" if self.certified(index) else "not certified",
            f"certified radius {self.radius:.4g} local, {self.radius_global:.4g} global",
        ]
        return " · ".join(fixed), " · ".join(proved)

    def certified(self, index: int) -> bool:
        """Whether the local bound certifies radii[index]."""
        return bool(self.holds[index])


def neuron_view(net: nn.Sequential, x: Tensor, y: int, radii: Tensor, plane: Plane | None = None) -> NeuronView:
    """Bounds, margin and certified radii near the point x, shape (features,), for all radii in one batched call."""
    batch, label = x[None], torch.tensor([y], device=x.device)
    certificate = certify(net, batch.expand(len(radii), *x.shape), label.expand(len(radii)), radii)
    everywhere = global_bound(net, batch)
    logits = forward(read_blocks(net, x.shape), check_input(net, batch)).detach()
    margin = margins(logits, label)
    return NeuronView(
        point=x,
        label=y,
        predicted=int(logits.argmax()),
        margin=margin.min().item(),
        radii=radii,
        local=certificate.bound,
        everywhere=everywhere,
        holds=certificate.holds,
        reach=_safe_distance(margin, certificate, label.expand(len(radii))),
        reach_global=(margin / everywhere.pairwise(label)).min().item(),
        radius=certified_radius(net, batch, label).item(),
        radius_global=certified_radius(net, batch, label, bound=global_bound).item(),
        clipped=any(isinstance(layer, ClippedReLU) for layer in net),
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
    labels = {int(c): _deepest(classes == c, x0, x1) for c in classes.unique()}
    return Plane(x0, x1, classes, labels, _edges(classes[None])[0], tuple(kinks))


def scale_thresholds(net: nn.Sequential, factor: float) -> nn.Sequential:
    """A copy of the network whose clip thresholds are all multiplied by factor."""
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        for layer in scaled.modules():  # each once, also where the network uses one twice
            if isinstance(layer, ClippedReLU):
                layer.theta.mul_(factor)
    return scaled


def _deepest(region: Tensor, x0: Tensor, x1: Tensor) -> tuple[float, float]:
    """The point of a region that is furthest from its border and from the edge of the plane."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(torch.nn.functional.pad(region, (1, 1, 1, 1)).cpu().numpy())[1:-1, 1:-1]
    row, column = divmod(int(depth.argmax()), len(x0))
    return x0[column].item(), x1[row].item()


def _edges(piece: Tensor) -> Tensor:
    edges = torch.zeros_like(piece, dtype=torch.bool)
    edges[:, 1:] |= piece[:, 1:] != piece[:, :-1]
    edges[:, :, 1:] |= piece[:, :, 1:] != piece[:, :, :-1]
    return edges


def _safe_distance(margin: Tensor, certificate: Certificate, y: Tensor) -> Tensor:
    """How far the margin lasts by what the certificate knows of each ball, (radii,): above eps where it holds.

    margin_j / Lip(f_y − f_j), or eps times the margin over what the ball can take of it where the last layer's box
    makes that more.
    """
    by_constant = (margin / certificate.bound.pairwise(y)).amin(dim=1)
    by_box = certificate.eps * certificate.margin / (certificate.margin - certificate.worst_margin)
    return torch.fmax(by_constant, by_box)
