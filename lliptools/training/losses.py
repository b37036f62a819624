"""Losses of certified training; any bound plugs into them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lliptools.bounds import Bound
from lliptools.errors import InvalidInput
from lliptools.margins import own_class
from lliptools.nets import ClippedReLU

__all__ = ["offset_cross_entropy", "sparsity_loss", "worst_logits"]


def worst_logits(logits: Tensor, pairwise: Tensor, eps: Tensor | float, y: Tensor) -> Tensor:
    """The logits an adversary could at most reach, relative to class y's: f_j + eps · Lip(f_y − f_j).

    logits and pairwise: (batch, classes), the latter 0 at j = y. eps: a number or (batch,). y: (batch,).
    The certificate holds exactly where class y wins among them. Source: Huang et al. (NeurIPS 2021), section 4.
    """
    reach = torch.as_tensor(eps, dtype=logits.dtype, device=logits.device).expand(len(logits))[:, None] * pairwise
    return logits + reach.masked_fill(own_class(logits, y), 0.0)


def sparsity_loss(net: nn.Sequential, bound: Bound, *, at_theta: float = 0.1) -> Tensor:
    """What the pre-activation boxes lack to lie in a flat zone of the clipped ReLU, summed over the blocks.

    mean(relu(upper)) pulls boxes below 0, at_theta · mean(relu(theta − lower)) pushes them above the threshold.
    Raises InvalidInput for a network with unclipped activations.
    Source: Huang et al. (NeurIPS 2021), the sparsity-inducing loss.
    """
    thresholds = [layer.theta for layer in net if isinstance(layer, ClippedReLU)]
    if len(thresholds) != len(bound.blocks) - 1:
        raise InvalidInput(
            expected="a network whose activations are all clipped",
            got=f"{len(thresholds)} clipped activations for {len(bound.blocks) - 1} hidden blocks",
            cause="a plain ReLU, which has one flat zone only",
            next_step='build it with mlp(..., activation="clipped_relu")',
        )
    total = bound.value.new_zeros(())
    for block, theta in zip(bound.blocks[:-1], thresholds, strict=True):
        total = total + block.box.upper.relu().mean() + at_theta * (theta - block.box.lower).relu().mean()
    return total


def offset_cross_entropy(logits: Tensor, y: Tensor, *, offset: float, temperature: float = 0.25) -> Tensor:
    """τ · CE((f − u · onehot(y))/τ): the label's logit has to win by more than the offset u. 0-dim.

    logits: (batch, classes), y: (batch,). offset: in units of the logits; √2 · eps asks for a radius of eps where the
    logits are 1-Lipschitz. temperature: τ > 0; the smaller it is, the less points count that have won.
    Source: Prach and Lampert (ECCV 2022), section 3; Araujo et al. (ICLR 2023) take u = 3√2/2 and τ = ¼.
    """
    behind = logits - offset * own_class(logits, y)
    return temperature * cross_entropy(behind / temperature, y)
