"""What a training run minimises: a loss of a network, a batch and how far the run has come."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lliptools.bounds import Bound, global_bound, local_bound
from lliptools.bounds.estimated import estimated_bound
from lliptools.certificates.attacks import pgd
from lliptools.errors import InvalidInput
from lliptools.training import losses
from lliptools.training.norms import SharedNorm

Net = nn.Sequential
BOUNDS = ("global", "local", "centred", "shells")
GROUPS = 10  # of classes, whose points share estimated norms


class Objective(Protocol):
    """(net, x, y, progress from 0 to 1, norm) -> 0-dim loss; norm: how norms are estimated, None: exact, in float64."""

    def __call__(self, net: Net, x: Tensor, y: Tensor, progress: float, norm: SharedNorm | None = None) -> Tensor:
        """The loss of a batch."""


def ramped(progress: float, warmup: float, ramp: float) -> float:
    """0 up to warmup, then rising to 1 within ramp; all of them fractions of the run."""
    if progress <= warmup:
        return 0.0
    return min(1.0, (progress - warmup) / ramp) if ramp else 1.0


@dataclass(frozen=True)
class Clean:
    """Cross-entropy alone."""

    def __call__(self, net: Net, x: Tensor, y: Tensor, progress: float, norm: SharedNorm | None = None) -> Tensor:
        return cross_entropy(net(x), y)


@dataclass(frozen=True)
class Adversarial:
    """Cross-entropy at the points that an attack finds in the ball of radius eps: robust as far as is known, unproved.

    eps, warmup, ramp: as of Certified. steps: of attacks.pgd, which starts at the point itself.
    Source: Madry, Makelov, Schmidt, Tsipras, Vladu (ICLR 2018).
    """

    eps: float
    steps: int = 5
    warmup: float = 0.0
    ramp: float = 0.5

    def __call__(self, net: Net, x: Tensor, y: Tensor, progress: float, norm: SharedNorm | None = None) -> Tensor:
        share = ramped(progress, self.warmup, self.ramp)
        attacked = pgd(net, x, y, share * self.eps, steps=self.steps, restarts=1) if share else x
        return cross_entropy(net(attacked.to(x.dtype)), y)


@dataclass(frozen=True)
class _ByBound(ABC):
    """What the losses by a bound share: the radius that grows, the bound, and how far each logit can rise.

    Raises InvalidInput for another bound than those of BOUNDS, and for sparsity where there are no boxes to train.
    """

    eps: float
    sparsity: float = 0.0
    warmup: float = 0.0
    ramp: float = 0.5
    bound: str = "local"

    def __post_init__(self) -> None:
        if self.bound not in BOUNDS or (self.bound == "global" and self.sparsity):
            why = "no form for training, or a loss of boxes, of which the global bound has none", 'take bound="local"'
            given = f"bound {self.bound!r:.60}, sparsity={self.sparsity}"
            raise InvalidInput(f"a bound of {', '.join(BOUNDS)}, and with the global one sparsity=0", given, *why)

    def __call__(self, net: Net, x: Tensor, y: Tensor, progress: float, norm: SharedNorm | None = None) -> Tensor:
        """The loss at this point of the run, and share · sparsity · sparsity loss."""
        share = ramped(progress, self.warmup, self.ramp)
        if share == 0:
            logits = net(x)
            return self.loss(logits, torch.zeros_like(logits), 0.0, y, 0.0)
        shells = 2 if self.bound == "shells" else 1
        shell = torch.arange(shells, device=x.device).repeat_interleave(len(x))
        points, labels, radii = x.repeat(shells, *[1] * (x.dim() - 1)), y.repeat(shells), (shell + 1) / shells
        groups = torch.arange(GROUPS * shells, device=x.device)[:, None] == labels % GROUPS + GROUPS * shell
        bound = self._found(net, points, share * self.eps * radii.to(x), groups.to(x), norm)
        outputs = bound.outputs  # of a global bound at one point only
        logits = net(x) if outputs is None or len(outputs) < len(x) else outputs[: len(x)]
        rise = self.rise(bound, labels).unflatten(0, (shells, -1)).mean(dim=0)
        loss = self.loss(logits, rise, share * self.eps, y, share)
        return loss + share * self.sparsity * losses.sparsity_loss(net, bound) if self.sparsity else loss

    def _found(self, net: Net, x: Tensor, eps: Tensor, groups: Tensor, norm: SharedNorm | None) -> Bound:
        """The bound, with the graph of its boxes where the sparsity loss needs it."""
        is_global, centred = self.bound == "global", self.bound == "centred"
        if norm is not None:
            graph = bool(self.sparsity)
            return estimated_bound(net, x, eps, norm, is_global=is_global, graph=graph, centred=centred, groups=groups)
        if is_global:
            return global_bound(net, x, eps, differentiable=True)
        return local_bound(net, x, eps, centred=centred, differentiable=True)

    def rise(self, bound: Bound, y: Tensor) -> Tensor:
        """Per unit of the radius, how far f_j − f_y can rise: (batch, classes)."""
        return bound.pairwise(y)

    @abstractmethod
    def loss(self, logits: Tensor, rise: Tensor, eps: float, y: Tensor, share: float) -> Tensor:
        """Of logits that can rise by eps · rise, both (batch, classes), where the radius has grown to share."""


@dataclass(frozen=True)
class Certified(_ByBound):
    """Cross-entropy of the logits that a ball of radius eps allows at worst (losses.bcp).

    * eps: in input units; it is 0 for the fraction warmup of the run and grows to its full value within the fraction
      ramp, and the weight κ of the plain cross-entropy falls from 1 to 0 with it.
    * bound: "local"; "global" for norms of whole layers; "centred" for slopes from the centre, through which gradients
      flow; "shells" for the mean of the local bounds at eps/2 and eps, what the margin loses on the way to the edge.
    * sparsity: weight of the sparsity loss, which needs boxes: no global bound.
    * temperature: τ > 0 in τ · CE(logits/τ): the smaller, the less wide margins count; at 0 the worst margin's hinge.

    Source: Huang et al. (NeurIPS 2021), the loss that is there combined with BCP.
    """

    temperature: float = 1.0

    def loss(self, logits: Tensor, rise: Tensor, eps: float, y: Tensor, share: float) -> Tensor:
        tau = self.temperature
        return tau * losses.bcp(logits / tau, rise / tau, eps, y, kappa=1 - share)


@dataclass(frozen=True)
class EMMA(Certified):
    """As Certified, where each class is attacked within its own certified radius only (losses.adaptive_rise)."""

    def loss(self, logits: Tensor, rise: Tensor, eps: float, y: Tensor, share: float) -> Tensor:
        return super().loss(logits, losses.adaptive_rise(logits, rise, eps, y), eps, y, share)


@dataclass(frozen=True)
class Annealed(Certified):
    """As Certified, with losses.annealed of the worst logits; its exponent beta grows with the radius."""

    beta: float = 5.0

    def loss(self, logits: Tensor, rise: Tensor, eps: float, y: Tensor, share: float) -> Tensor:
        worst = losses.worst_logits(logits, rise, eps, y)
        return losses.annealed(worst, y, temperature=self.temperature, beta=share * self.beta)


@dataclass(frozen=True)
class GloRo(_ByBound):
    """Cross-entropy with one class more, the best that the ball of radius eps allows another class (losses.gloro)."""

    def loss(self, logits: Tensor, rise: Tensor, eps: float, y: Tensor, share: float) -> Tensor:
        return losses.gloro(logits, rise, eps, y)


@dataclass(frozen=True)
class LMT(_ByBound):
    """Cross-entropy of logits raised by what √2 times the network's constant allows (losses.lmt)."""

    bound: str = "global"

    def rise(self, bound: Bound, y: Tensor) -> Tensor:
        return bound.value[:, None].expand(-1, bound.blocks[-1].linear.rows)

    def loss(self, logits: Tensor, rise: Tensor, eps: float, y: Tensor, share: float) -> Tensor:
        return losses.lmt(logits, rise[:, 0], eps, y)


@dataclass(frozen=True)
class Offset:
    """Cross-entropy with an offset and a temperature (losses.offset_cross_entropy), for networks of known constants."""

    offset: float
    temperature: float = 0.25

    def __call__(self, net: Net, x: Tensor, y: Tensor, progress: float, norm: SharedNorm | None = None) -> Tensor:
        return losses.offset_cross_entropy(net(x), y, offset=self.offset, temperature=self.temperature)


def changed(objective: Objective, loss: str | None = None, bound: str | None = None) -> Objective:
    """An objective with another loss, of those in LOSSES, or another bound, of those in BOUNDS; None changes nothing.

    Radius and ramps stay, and the sparsity loss where the other loss and bound know it. Raises InvalidInput for another
    name, where the objective has no radius to keep, and for a bound where the loss has none.
    """
    if loss is None and bound is None:
        return objective
    if loss == "clean" and bound is None:
        return Clean()
    kind: Any = type(objective) if loss is None else LOSSES.get(loss, Clean)
    known = {field.name for field in fields(kind)}
    if "eps" not in known or not hasattr(objective, "eps") or (bound is not None and "bound" not in known):
        why = "a recipe that is trained without a bound, or a spelling that differs", "`lliptools recipes` lists them"
        expected = f"a loss of {', '.join(LOSSES)}, a bound where it has one, a recipe that is trained for a radius"
        raise InvalidInput(expected, f"loss {loss!r}, bound {bound!r} in place of {objective}", *why)
    kept = {field.name: getattr(objective, field.name) for field in fields(objective)}  # type: ignore[arg-type]
    kept |= {} if bound is None else {"bound": bound}
    known -= {"sparsity"} if kept.get("bound") == "global" else set()
    return kind(**{name: value for name, value in kept.items() if name in known})


LOSSES: dict[str, Any] = {
    **{"clean": Clean, "adversarial": Adversarial, "gloro": GloRo, "bcp": Certified, "lmt": LMT},
    **{"emma": EMMA, "annealed": Annealed},
}
