"""Attacks: what an adversary finds inside the ball. They only ever break a point; they certify nothing."""

import sys

import torch
from torch import Tensor, nn

from lliptools.bounds.reading import read
from lliptools.certificates.margins import smallest_margin
from lliptools.errors import InvalidInput
from lliptools.nets import check_input, forward
from lliptools.nets.checks import check_labels
from lliptools.norms.scaled import unit_vectors

__all__ = ["is_correct", "pgd"]


def is_correct(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Whether class y strictly wins at x, in float64: x (batch, *sample), y (batch,) -> (batch,) bool. Ties lose."""
    center = check_input(net, x)
    with torch.no_grad():
        logits = forward(read(net, x), center)
        return smallest_margin(logits, check_labels(y, len(x), logits.shape[1], center.device)) > 0


@torch.inference_mode(False)
def pgd(net: nn.Module, x: Tensor, y: Tensor, eps: float, *, steps: int = 50, restarts: int = 3) -> Tensor:
    """Projected gradient descent on the smallest margin, in the L2 ball of radius eps around each point.

    * x: (batch, *sample), y: (batch,), eps: one finite number.
    * Returns points of the ball, in float64 and of x's shape: of the least margin seen; a misclassified point stays.

    Raises InvalidInput. Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks"
    (ICLR 2018), with steps measured in L2.
    """
    is_radius = isinstance(eps, int | float) and not isinstance(eps, bool) and 0 <= eps <= sys.float_info.max
    if not (is_radius and isinstance(steps, int) and isinstance(restarts, int) and steps >= 1 and restarts >= 1):
        got = f"eps={eps!r:.60}, steps={steps}, restarts={restarts}"
        cause = "a tensor of radii, or an attack that does nothing"
        then = "attack at one radius at a time, and leave steps and restarts at their defaults"
        raise InvalidInput("eps as one finite number >= 0, at least one step and one restart", got, cause, then)
    center, eps = check_input(net, x), float(eps)
    with torch.no_grad():
        blocks = read(net, x)
        logits = forward(blocks, center)
        y = check_labels(y, len(x), logits.shape[1], center.device).clone()
        best, lowest = center.clone(), smallest_margin(logits, y)
    generator = torch.Generator("cpu").manual_seed(0)  # of the CPU: the same starts on every device
    for restart in range(restarts):
        moved = center
        if restart:
            start = torch.randn(center.shape, generator=generator, dtype=center.dtype, device="cpu")
            moved = center + eps * unit_vectors(start.to(center.device))
        for step in range(steps + 1):
            moved = _project(moved.detach(), center, eps).requires_grad_(True)
            with torch.enable_grad():
                margin = smallest_margin(forward(blocks, moved), y)
                (gradient,) = torch.autograd.grad(margin.sum(), moved)
            # An output that is not a number is the label's end as well, where nothing worse has been found.
            better = (margin.detach() < lowest) | (margin.detach().isnan() & ~(lowest <= 0) & ~lowest.isnan())
            lowest = torch.where(better, margin.detach(), lowest)
            best[better] = moved.detach()[better]
            length = 2.5 * eps / steps if step < steps // 2 else eps / steps
            moved = moved.detach() - length * unit_vectors(gradient)
    return best.view(x.shape)


def _project(moved: Tensor, center: Tensor, eps: float) -> Tensor:
    """The nearest points of the ball; the centre where rounding to the numbers around it leads out of the ball."""
    d = moved - center
    inside = eps * (1 - 1e-12)
    length = torch.linalg.vector_norm(d, dim=1, keepdim=True)
    found = center + d * (inside / length.clamp_min(1e-300)).clamp_max(1.0)
    return torch.where(torch.linalg.vector_norm(found - center, dim=1, keepdim=True) <= eps, found, center)
