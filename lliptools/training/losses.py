"""Losses of certified training; any bound plugs into them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lliptools.bounds import Bound
from lliptools.certificates.margins import own_class
from lliptools.errors import InvalidInput
from lliptools.nets.clips import Clipped

AT_THETA = 0.1  # weight of the flat zone above θ
LEAST_SHARE = 0.01  # of eps within which a class is attacked


def worst_logits(logits: Tensor, pairwise: Tensor, eps: Tensor | float, y: Tensor) -> Tensor:
    """The largest logits that an adversary could produce, relative to class y's: f_j + eps · Lip(f_y − f_j).

    logits and pairwise: (batch, classes), the latter 0 at j = y. eps: a number or (batch,). y: (batch,).
    The certificate holds exactly where class y wins among them. Source: Huang et al. (NeurIPS 2021), section 4.
    """
    return logits + _change(pairwise, eps).masked_fill(own_class(logits, y), 0.0)


def _change(pairwise: Tensor, eps: Tensor | float) -> Tensor:
    """eps · pairwise; a number is not made a tensor first, which a GPU would wait for."""
    if not isinstance(eps, Tensor):
        return eps * pairwise
    return eps.to(pairwise).expand(len(pairwise))[:, None] * pairwise


def gloro(logits: Tensor, pairwise: Tensor, eps: Tensor | float, y: Tensor) -> Tensor:
    """CE([f, max over j ≠ y of worst_j], y), cross-entropy with one class more: the adversary's best. 0-dim.

    Arguments as of worst_logits; a single class leaves nothing to compare and is refused by Bound.pairwise.
    Source: Leino, Wang, Fredrikson, "Globally-robust neural networks" (ICML 2021), equation 4.
    """
    worst = worst_logits(logits, pairwise, eps, y).masked_fill(own_class(logits, y), -torch.inf)
    return cross_entropy(torch.cat([logits, worst.amax(dim=1, keepdim=True)], dim=1), y)


def bcp(logits: Tensor, pairwise: Tensor, eps: Tensor | float, y: Tensor, *, kappa: float = 0.0) -> Tensor:
    """κ · CE(f, y) + (1 − κ) · CE(worst, y). 0-dim.

    Arguments as of worst_logits. kappa: κ in [0, 1], the weight of the logits themselves.
    Source: Lee, Lee, Park (NeurIPS 2020); with the local bound, Huang et al. (NeurIPS 2021).
    """
    worst = worst_logits(logits, pairwise, eps, y)
    return kappa * cross_entropy(logits, y) + (1 - kappa) * cross_entropy(worst, y)


def adaptive_rise(logits: Tensor, pairwise: Tensor, eps: Tensor | float, y: Tensor) -> Tensor:
    """The rise of every logit within its own radius, over eps: a class is attacked no further than it is certified.

    The radius of class j, eps · clip((f_y − f_j) / (eps · Lip), .01, 1), has no gradient. Arguments as of worst_logits,
    whose pairwise this takes the place of. Source: Lai et al., "Enhancing certified robustness via block reflector
    orthogonal layers and logit annealing loss" (ICML 2025), efficient margin maximisation.
    """
    with torch.no_grad():
        margins = logits.gather(1, y[:, None]) - logits
        reach = _change(pairwise, eps)
        share = (margins / torch.where(reach > 0, reach, 1.0)).clamp(LEAST_SHARE, 1.0)
    return share * pairwise


def annealed(logits: Tensor, y: Tensor, *, temperature: float = 0.75, beta: float = 5.0) -> Tensor:
    """−τ · (1 − p)^β · log p, p = softmax(logits/τ)_y: what is won counts less and less. 0-dim.

    logits: (batch, classes), for a network whose constant is fixed less an offset at y, as of offset_cross_entropy.
    Source: as of adaptive_rise; τ = ¾, β = 5.
    """
    won = (logits / temperature).log_softmax(dim=1).gather(1, y[:, None])
    left = (-won.expm1()).clamp_min(torch.finfo(won.dtype).eps)  # a power below 1 has no finite gradient at 0
    return -temperature * (left**beta * won).mean()


def lmt(logits: Tensor, lipschitz: Tensor, eps: Tensor | float, y: Tensor) -> Tensor:
    """CE of the logits raised by √2 · eps · L for every j ≠ y. 0-dim.

    lipschitz: L, (batch,), a constant of the network (Bound.value); the others as of worst_logits.
    Source: Tsuzuku, Sato, Sugiyama, "Lipschitz-margin training" (NeurIPS 2018), algorithm 1.
    """
    return cross_entropy(worst_logits(logits, 2**0.5 * lipschitz[:, None].expand_as(logits), eps, y), y)


def sparsity_loss(net: nn.Sequential, bound: Bound) -> Tensor:
    """What the pre-activation boxes lack to lie in a flat zone of a clipped activation, summed over the blocks. 0-dim.

    ClippedReLU: mean(relu(upper)) + mean(relu(θ − lower)) / 10. ClippedMaxMin: mean(relu(θ_max − lower of the larger))
    + mean(relu(upper of the smaller − θ_min)), over the pairs.
    Raises InvalidInput for a network with unclipped activations.
    Source: Huang et al. (NeurIPS 2021), the sparsity-inducing loss.
    """
    clipped = [layer for layer in net.modules() if isinstance(layer, Clipped)]
    if len(clipped) != len(bound.blocks) - 1:
        got = f"{len(clipped)} clipped activations for {len(bound.blocks) - 1} hidden blocks"
        why = "a plain ReLU, which has only one flat zone", 'build it with mlp(..., activation="clipped_relu")'
        raise InvalidInput("a network whose activations are all clipped", got, *why)
    total = bound.value.new_zeros(())
    for block, layer in zip(bound.blocks[:-1], clipped, strict=True):
        below, above = layer.excess(block.box.lower, block.box.upper)
        total = total + below.mean() + (AT_THETA if layer.elementwise else 1.0) * above.mean()
    return total


def offset_cross_entropy(logits: Tensor, y: Tensor, *, offset: float, temperature: float = 0.25) -> Tensor:
    """τ · CE((f − u · onehot(y))/τ): the label's logit has to win by more than the offset u. 0-dim.

    logits: (batch, classes), y: (batch,). offset: in units of the logits; √2 · eps asks for a radius of eps where the
    logits are 1-Lipschitz. temperature: τ > 0; the smaller it is, the less points count that have won.
    Source: Prach and Lampert (ECCV 2022), section 3; Araujo et al. (ICLR 2023) take u = 3√2/2 and τ = ¼.
    """
    behind = logits - offset * own_class(logits, y)
    return temperature * cross_entropy(behind / temperature, y)
