"""What a training run minimises: a loss of a network, a batch and how far the run has come."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lliptools.bounds import local_bound
from lliptools.training.losses import offset_cross_entropy, sparsity_loss, worst_logits

__all__ = ["Certified", "Clean", "Objective", "Offset"]


class Objective(Protocol):
    """(net, x, y, progress) -> 0-dim loss; progress runs from 0 to 1 over the epochs."""

    def __call__(self, net: nn.Sequential, x: Tensor, y: Tensor, progress: float) -> Tensor:
        """The loss of a batch."""


@dataclass(frozen=True)
class Clean:
    """Cross-entropy alone."""

    def __call__(self, net: nn.Sequential, x: Tensor, y: Tensor, progress: float) -> Tensor:
        """CE(f)."""
        return cross_entropy(net(x), y)


@dataclass(frozen=True)
class Certified:
    """Cross-entropy of the logits that a ball of radius eps allows at worst, by the local bound with exact norms.

    eps: in input units; it grows from 0 over the first half of the run, and the weight κ of the plain cross-entropy
    falls from 1 to 0 with it. sparsity: weight of the sparsity loss.
    Source: Huang et al. (NeurIPS 2021), the loss that is there combined with BCP.
    """

    eps: float
    sparsity: float = 0.0

    def __call__(self, net: nn.Sequential, x: Tensor, y: Tensor, progress: float) -> Tensor:
        """κ·CE(f) + (1 − κ)·(CE(worst logits) + sparsity · sparsity loss)."""
        logits, ramp = net(x), min(1.0, 2 * progress)
        clean = cross_entropy(logits, y)
        if ramp == 0:
            return clean
        bound = local_bound(net, x, ramp * self.eps, differentiable=True)
        certified = cross_entropy(worst_logits(logits, bound.pairwise(y), bound.eps, y), y)
        if self.sparsity:
            certified = certified + self.sparsity * sparsity_loss(net, bound)
        return (1 - ramp) * clean + ramp * certified


@dataclass(frozen=True)
class Offset:
    """Cross-entropy with an offset and a temperature: margins are asked for, since the network cannot stretch.

    For networks whose Lipschitz constant is fixed by design. Source: as of losses.offset_cross_entropy.
    """

    offset: float
    temperature: float = 0.25

    def __call__(self, net: nn.Sequential, x: Tensor, y: Tensor, progress: float) -> Tensor:
        """The loss, the same all along."""
        return offset_cross_entropy(net(x), y, offset=self.offset, temperature=self.temperature)
