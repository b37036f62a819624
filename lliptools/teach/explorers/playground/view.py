"""A small network that is trained in the plane, and after every epoch what is certified of it."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lliptools.bounds import global_bound, local_bound, outward_rounding
from lliptools.certificates.certificate import certify
from lliptools.digits import radius_text
from lliptools.errors import InvalidInput
from lliptools.nets.architectures import mlp
from lliptools.teach.explorers.playground.points import SHAPES, Drawn, drawn, points
from lliptools.teach.shared.units import hidden
from lliptools.training.norms import SharedNorm
from lliptools.training.objectives import Certified, Clean, Objective

STEPS, RAMP = 5, 20  # optimiser steps in an epoch; epochs until the loss is all the bound's
# A trial radius over the disc before, where that reached its own or not; what division loses; a disc beyond all points.
WIDER, CLOSE, BELOW, FAR = 1.3, 1.03, 1 - 1e-12, 10.0
BOUNDS, ACTIVATIONS = ("none", "global", "local"), {"relu": "ReLU", "clipped_relu": "ReLU-θ", "maxmin": "MaxMin"}
LIVE = ("bound", "eps", "sparsity", "rate")  # what may change while a run goes on


@dataclass(frozen=True)
class Settings:
    """What a run is made of. A run with the same settings, on the same device, is the same run.

    * data: moons, circles, spiral, blobs, or points as (x₀, x₁, class), class 0 or 1
    * hidden: widths of one to three hidden layers. activation: relu, clipped_relu (ReLU-θ) or maxmin
    * theta: where the thresholds of ReLU-θ start. seed: of weights, points and their order. points: how many
    * bound: in the loss, none, global or local. eps: radius of the balls. sparsity: weight λ of the sparsity loss, for
      ReLU-θ and the local bound. rate: of Adam
    """

    data: str | Drawn = "moons"
    hidden: tuple[int, ...] = (16, 16)
    activation: str = "clipped_relu"
    theta: float = 1.0
    seed: int = 0
    points: int = 200
    bound: str = "local"
    eps: float = 0.1
    sparsity: float = 0.0
    rate: float = 0.01

    def __post_init__(self) -> None:
        even = self.activation != "maxmin" or all(width % 2 == 0 for width in self.hidden)
        for name, wanted, good in (
            ("data", f"one of {', '.join(SHAPES)}, or points (x0, x1, class 0 or 1)", self._has_points),
            ("hidden", "one to three widths from 1 to 64, even for MaxMin", self._has_layers and even),
            ("activation", f"one of {', '.join(ACTIVATIONS)}", self.activation in ACTIVATIONS),
            ("bound", f"one of {', '.join(BOUNDS)}", self.bound in BOUNDS),
            ("eps", "a number from 0 to 1", 0 <= self.eps <= 1),
            ("sparsity", "a number from 0 to 1", 0 <= self.sparsity <= 1),
            ("theta", "a number above 0, to 10", 0 < self.theta <= 10),
            ("rate", "a number above 0, to 1", 0 < self.rate <= 1),
            ("points", "a number from 10 to 1000", 10 <= self.points <= 1000),
        ):
            if not good:
                got, mend = repr(getattr(self, name))[:80], f"leave {name} out for a default"
                raise InvalidInput(expected=f"{name} as {wanted}", got=got, cause="a slip", next_step=mend)

    @property
    def _has_points(self) -> bool:
        return self.data in SHAPES if isinstance(self.data, str) else all(point[2] in (0, 1) for point in self.data)

    @property
    def _has_layers(self) -> bool:
        return 1 <= len(self.hidden) <= 3 and all(1 <= width <= 64 for width in self.hidden)

    def loss(self) -> Objective:
        """The loss that these settings ask for."""
        if self.bound == "none" or not self.eps:
            return Clean()
        sparse = self.bound == "local" and self.activation == "clipped_relu"
        return Certified(self.eps, self.sparsity if sparse else 0.0, ramp=1.0, bound=self.bound)


@dataclass(frozen=True, eq=False)
class Epoch:
    """A network after an epoch, and what is known of its points: tensors of float64 on the CPU.

    * state: of the network. eps: of the balls. everywhere: the global bound
    * local, centred: (points,) the local bound on the ball of radius eps, of any two points in it and of its centre and
      any. states: (points, units) by the codes of shared.units
    * discs: (2, points) certified radii by the global and by the local bound; 0 for what is classified wrongly
    * curves: loss, clean accuracy, certified accuracy at eps by the global and by the local bound
    """

    number: int
    state: dict[str, Tensor]
    eps: float
    everywhere: float
    local: Tensor
    centred: Tensor
    states: Tensor
    discs: Tensor
    curves: tuple[float, float, float, float]

    def words(self) -> str:
        """The epoch in a sentence."""
        _, clean, by_global, by_local = (percent(share) for share in self.curves)
        at = f"certified at ε = {radius_text(self.eps)}"
        return (
            f"Epoch {self.number}: {clean} right; {at}: {by_local} by the local bound, {by_global} by the global one."
        )


def percent(share: float) -> str:
    """A share of the points, never more than it is: 199 of 200 are not all."""
    return f"{math.floor(100 * share + 1e-9)} %"


@dataclass(eq=False)
class Run:
    """A run, epoch by epoch; epochs[0] is the network before it.

    * changes: other settings from an epoch on, of those in LIVE: for its balls, and for the steps after it
    * device: where it is trained and certified

    A disc is a theorem: where L bounds f_y − f_j on the ball of some radius R, rounding enclosed, no point within
    min(R, margin/L) of the centre has another class. R is a little above the disc of the epoch before, so that one pass
    over all points gives every disc. The same pass certifies the radius eps: where that holds, the disc is no smaller.
    """

    settings: Settings
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = self.settings
        x, y = points(first.data, first.points, first.seed) if isinstance(first.data, str) else drawn(first.data)
        self.x, self.y = x.to(self.device), y.to(self.device)
        with torch.random.fork_rng(devices=[]):  # a run must not change what other cells draw
            torch.manual_seed(first.seed)
            self.net = mlp(2, *first.hidden, 2, activation=first.activation, theta=first.theta).double()
        self.net.to(self.device)
        self._order, self._norm = torch.Generator().manual_seed(first.seed), SharedNorm(steps=3)
        self._optimizer = torch.optim.Adam(self.net.parameters(), lr=first.rate)
        self._trial = self._tried = torch.zeros_like(self.x[:, 0])  # of the next measurement, and of the last one
        self.epochs: list[Epoch] = []
        self.epochs.append(self._measured(0.0))

    def at(self, number: int) -> Settings:
        """The settings that hold for the balls of an epoch, and for all steps after it."""
        changed = {
            name: value for at in sorted(self.changes) if at <= number for name, value in self.changes[at].items()
        }
        return replace(self.settings, **changed)

    @property
    def present(self) -> Settings:
        """The settings of the last epoch."""
        return self.at(len(self.epochs) - 1)

    def change(self, **given: Any) -> None:
        """Go on from here with other settings, of those in LIVE; another eps is that of the last epoch too."""
        replace(self.present, **given)
        last = self.epochs.pop()
        if last.number:
            self.changes.setdefault(last.number, {}).update(given)
        else:
            self.settings = replace(self.settings, **given)
        self._trial = self._tried
        self.epochs.append(self._measured(last.curves[0]))

    def epoch(self) -> Epoch:
        """Train one more epoch. Raises FloatingPointError where the run has left the numbers, and stays where it is."""
        now, total = self.present, 0.0
        loss, progress = now.loss(), min(1.0, len(self.epochs) / RAMP)
        for group in self._optimizer.param_groups:
            group["lr"] = now.rate
        order = torch.randperm(len(self.x), generator=self._order).to(self.device)
        parts = order.tensor_split(min(STEPS, max(1, len(order))))
        for part in parts if len(order) else ():
            found = loss(self.net, self.x[part], self.y[part], progress, self._norm)
            self._optimizer.zero_grad()
            found.backward()
            self._optimizer.step()
            total += found.item() * len(part)
        if not all(parameter.isfinite().all() for parameter in self.net.parameters()):
            raise FloatingPointError("the weights are not finite any more: restart with a smaller learning rate")
        self.epochs.append(self._measured(total / max(1, len(order))))
        return self.epochs[-1]

    def _measured(self, loss: float) -> Epoch:
        """What is known of the network as it is now."""
        number = len(self.epochs)
        eps = self.at(number).eps
        state = {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}
        with torch.no_grad(), outward_rounding():
            everywhere = global_bound(self.net, self.x.new_zeros(1, 2))
            slope = everywhere.pairwise(self.y.new_zeros(1))[0, 1]
            L = everywhere.value.item()
            if not len(self.x):
                none, no_units = torch.zeros(2, 0).double(), torch.zeros(0, sum(self.settings.hidden)).byte()
                return Epoch(number, state, eps, L, none[0], none[0], no_units, none, (loss, 0.0, 0.0, 0.0))
            trial = self._tried = self._trial
            radii = torch.cat([torch.zeros_like(trial), torch.full_like(trial, eps), trial])
            y = self.y.repeat(3)
            found = certify(self.net, self.x.repeat(3, 1), y, radii, centred=False)
            centred = local_bound(self.net, self.x, eps, centred=True).value
            right, certified, held = found.holds.chunk(3)
            margin = found.worst_margin.chunk(3)[0]  # at the point itself: what rounding leaves of it
            constant = found.bound.pairwise(y).amax(dim=1).chunk(3)[2]
        by_global = torch.where(right, (margin / slope * BELOW).clamp(max=FAR), 0.0)
        within = torch.where(held, trial, torch.minimum(trial, margin / constant * BELOW))
        within = torch.where(certified, within.clamp_min(eps), within)
        by_local = torch.where(right, torch.maximum(within, by_global), 0.0)
        self._trial = torch.where(by_local >= trial, WIDER, CLOSE) * by_local
        units = [layer.states(slice(len(trial), 2 * len(trial))).flatten(1) for layer in hidden(found.bound.blocks)]
        shares = (share.double().mean().item() for share in (right, right & (by_global >= eps), certified))
        clean, with_global, with_local = shares
        return Epoch(
            number,
            state,
            eps,
            L,
            found.bound.value.chunk(3)[1].cpu(),
            centred.cpu(),
            torch.cat(units, dim=1).byte().cpu(),
            torch.stack([by_global, by_local]).cpu(),
            (loss, clean, with_global, with_local),
        )
