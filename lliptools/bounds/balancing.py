"""How good multipliers are found: a balanced start, a balancing rule, gradient steps. Nothing here can break a bound.

Whatever comes out is certified afterwards (ellipsoid.py); here only the quality of the bound is at stake. A problem
offers worst(multipliers) -> λ_max, t_j (z_jᵀv)², t_j p_j²; the difference of the last two is dλ_max / d log t_j.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lliptools.bounds.ellipsoid import Problem
from lliptools.domains.slopes import Slopes

BALANCING = 8  # steps of the balancing rule before gradient steps take over
SMALL = 1e-30  # against division by 0
RATE = 0.1  # of Adam, falling to a tenth of it


def start(problem: Problem, slopes: Slopes, norm: Tensor) -> Tensor:
    """The better of two closed forms, per unit and per layer; norm: (batch,), a bound of the outputs' constant."""
    by_unit, by_layer = _by_unit(problem, norm), _by_layer(slopes)
    better = problem.worst(by_unit, 4.0)[0] <= problem.worst(by_layer, 4.0)[0]
    return torch.where(better[:, None], by_unit, by_layer)


def _by_unit(problem: Problem, norm: Tensor) -> Tensor:
    """t_j = ‖what p_j feeds‖ / norm, from the last layer to the first; norm: (batch,), a bound.

    For one unit, f = a x + b p with |p| <= |x|, the best t is b / (a + b): what it feeds over the whole.
    """
    multipliers = torch.zeros_like(problem.out[:, :, 0])
    end = multipliers.shape[1]
    for count in reversed(problem.layers):
        here, later = slice(end - count, end), slice(end, None)
        through = (problem.between[:, here, later].square() * multipliers[:, None, later]).sum(dim=2)
        fed = (problem.out[:, here].square().sum(dim=2) / norm.square()[:, None] + through).sqrt()
        multipliers[:, here] = _positive(fed)
        end -= count
    return multipliers


def _by_layer(slopes: Slopes) -> Tensor:
    """t = w_i / J_i in layer i, J_i = ‖Z_ix‖ + Σ_k ‖Z_ik‖ J_k and w_i = ‖O_i‖ / L + Σ_k w_k ‖Z_ki‖.

    L = ‖O_x‖ + Σ_i ‖O_i‖ J_i is centre plus radius. By Cauchy and Schwarz ‖z_k‖² <= J_k (‖Z_kx‖ ‖Δx‖² +
    Σ_i ‖Z_ki‖ ‖p_i‖² / J_i), and likewise for the outputs; these weights add it all up to ‖Δf‖² <= L² ‖Δx‖². So these
    are feasible, up to rounding, and the best multipliers are never worse than centre plus radius.
    """
    links = slopes.part_norms()
    joint = [torch.ones_like(links[:, 0])]
    for read in slopes.links:
        joint.append((read * torch.stack(joint, dim=1)).sum(dim=1))
    fed = list((links / (links * torch.stack(joint, dim=1)).sum(dim=1, keepdim=True)).unbind(dim=1))
    for one in reversed(range(1, len(fed))):
        for later in range(one + 1, len(fed)):
            fed[one] = fed[one] + fed[later] * slopes.links[later - 1][:, one]
    # In the problem's variables p is divided by its own bound.
    parts = [(fed[k] / joint[k])[:, None] * own.square() for k, own in enumerate(slopes.own, start=1)]
    return _positive(torch.cat([links[:, :0], *parts], dim=1))


def _positive(multipliers: Tensor) -> Tensor:
    return multipliers.nan_to_num(nan=1.0, posinf=1.0).clamp(1e-12, 1e12)


def improve(problem: Problem, multipliers: Tensor, steps: int) -> Tensor:
    """The best multipliers met in so many steps of one Cholesky each: (batch, unstable) -> (batch, unstable)."""
    if steps == 0 or multipliers.shape[1] == 0:
        return multipliers
    multipliers = balance(problem, multipliers, min(steps, BALANCING))
    return descend(problem, multipliers, steps - BALANCING) if steps > BALANCING else multipliers


def balance(problem: Problem, multipliers: Tensor, steps: int) -> Tensor:
    """Multiply t_j by a power of p_j² / (z_jᵀv)² at the worst v, which is 1 at the optimum; keep what is better.

    Small enough multipliers that fall fast enough from layer to layer are feasible: until one is met, go there.
    """
    layer = [number + 1.0 for number, count in enumerate(problem.layers) for _ in range(count)]
    downward = -torch.tensor(layer, dtype=torch.float64, device=multipliers.device).expand_as(multipliers)
    best, current = multipliers, multipliers
    best_value, direction, length = torch.full_like(best[:, :1], torch.inf), downward, torch.full_like(best[:, :1], 0.5)
    for step in range(steps + 1):
        value, read, put = (part.reshape(len(best), -1) for part in problem.worst(current, 4.0))
        better, none = value < best_value, best_value.minimum(value).isinf()
        best, best_value = torch.where(better | none, current, best), torch.minimum(best_value, value)
        if step == steps:
            break
        direction = torch.where(better, ((put + SMALL) / (read + SMALL)).log(), direction)
        length = torch.where(better, (1.3 * length).clamp_max(1.0), 0.4 * length)
        move = torch.where(none, downward, (length * direction).clamp(-2.0, 2.0))
        current = best * move.exp()
    return best


def descend(problem: Problem, multipliers: Tensor, steps: int) -> Tensor:
    """Adam on log t with the exact gradient; an infeasible iterate goes back to the best one."""
    best, current = multipliers, multipliers
    best_value = torch.full_like(best[:, :1], torch.inf)
    mean, square = torch.zeros_like(best), torch.zeros_like(best)
    for step in range(1, steps + 2):
        value, read, put = (part.reshape(len(best), -1) for part in problem.worst(current, 32.0))
        best = torch.where(value < best_value, current, best)
        best_value = torch.minimum(best_value, value)
        slope = torch.where(value.isfinite(), (read - put) / value.clamp_min(SMALL), 0.0)
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope.square()
        move = mean / (1 - 0.9**step) / ((square / (1 - 0.99**step)).sqrt() + SMALL)
        rate = RATE * (1 - 0.9 * step / (steps + 1))
        current = torch.where(value.isfinite(), current * (-rate * move).exp(), best)
    return best
