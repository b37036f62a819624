"""Attacks: what an adversary finds inside the ball. They only ever break a point; they certify nothing."""

import copy

import torch
from torch import Tensor, nn

__all__ = ["is_correct", "pgd"]


def is_correct(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Whether class y strictly wins at x, in float64: x (batch, *sample), y (batch,) -> (batch,) bool. Ties lose."""
    net = copy.deepcopy(net).double()
    with torch.no_grad():
        return smallest_margin(net(x.double()), y) > 0


def pgd(
    net: nn.Module, x: Tensor, y: Tensor, eps: float, *, steps: int = 50, restarts: int = 3, seed: int = 0
) -> Tensor:
    """Projected gradient descent on the smallest margin, in the L2 ball of radius eps around each point.

    x: (batch, *sample), y: (batch,). Returns points of the ball, in float64: the one of smallest margin that was seen,
    so that a point which is misclassified already stays as it is.
    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (ICLR 2018), with L2 steps.
    """
    net = copy.deepcopy(net).double().requires_grad_(False)
    x = x.detach().double()
    generator = torch.Generator(device=x.device).manual_seed(seed)
    best, lowest = x.clone(), smallest_margin(net(x), y)
    for restart in range(restarts):
        moved = x.clone()
        if restart:
            start = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            moved = x + eps * _unit(start)
        for step in range(steps):
            moved.requires_grad_(True)
            (gradient,) = torch.autograd.grad(smallest_margin(net(moved), y).sum(), moved)
            length = 2.5 * eps / steps if step < steps // 2 else eps / steps
            moved = _project(moved.detach() - length * _unit(gradient), x, eps)
            margin = smallest_margin(net(moved), y)
            better = margin < lowest
            lowest = torch.where(better, margin, lowest)
            best[better] = moved[better]
    return best


def smallest_margin(logits: Tensor, y: Tensor) -> Tensor:
    """min over j ≠ y of f_y − f_j: logits (batch, classes), y (batch,) -> (batch,)."""
    margins = logits.gather(1, y[:, None]) - logits
    own = torch.zeros_like(margins, dtype=torch.bool).scatter(1, y[:, None], True)
    return margins.masked_fill(own, torch.inf).amin(dim=1)


def _norm(d: Tensor) -> Tensor:
    return torch.linalg.vector_norm(d.flatten(1), dim=1).view(-1, *[1] * (d.dim() - 1))


def _unit(d: Tensor) -> Tensor:
    return d / _norm(d).clamp_min(1e-300)


def _project(moved: Tensor, x: Tensor, eps: float) -> Tensor:
    d = moved - x
    inside = eps * (1 - 1e-12)  # rounding must not carry an adversarial point out of the ball
    return x + d * (inside / _norm(d).clamp_min(1e-300)).clamp_max(1.0)
