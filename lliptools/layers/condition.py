"""The one condition T ⪰ WᵀW: where it holds, by how much, and the scales that fulfil it.

If T is diagonal and positive with T ⪰ WᵀW, then x ↦ W T^(−½) x + b is 1-Lipschitz, and so is
x ↦ x − 2 W T⁻¹ σ(Wᵀx + b) for every elementwise σ whose slopes lie in [0, 1].
Source: Araujo, Havens, Delattre, Allauzen, Hu, "A unified algebraic perspective on Lipschitz neural networks"
(ICLR 2023), theorems 1 to 3.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from lliptools.errors import InvalidInput

__all__ = [
    "balanced_scale",
    "conv_gershgorin_scale",
    "conv_overlap",
    "gershgorin_scale",
    "lmi",
    "lmi_slack",
    "overlap",
    "slack",
    "smallest",
]

WIDEST = 600.0  # log q counts at most so far below the largest: e^600 is still a number, and any q > 0 is sound


def smallest(weight: Tensor) -> float:
    """The size up to which weights count as 0: one over it is still a number in their own precision and in float64."""
    return max(torch.finfo(torch.float64).tiny * 1e9, torch.finfo(weight.dtype).tiny)


def overlap(rows: Tensor) -> Tensor:
    """|WᵀW|, symmetric to the last bit: Wᵀ as rows (inner, features) -> (inner, inner)."""
    size = (rows @ rows.T).abs()
    return torch.maximum(size, size.T)


def conv_overlap(kernel: Tensor) -> Tensor:
    """Sums of |correlations of two filters| over all shifts, symmetric: (inner, channels, k, k) -> (inner, inner).

    These are the row sums of |HHᵀ| for the convolution H with that kernel on images of any size: zeros around an image,
    strides and missing rows only take from the matrix that has all of them.
    """
    reach = tuple(size - 1 for size in kernel.shape[2:])
    size = conv2d(kernel, kernel, padding=reach).abs().sum(dim=(2, 3))
    return torch.maximum(size, size.T)


def gershgorin_scale(W: Tensor, q: Tensor) -> Tensor:
    """T_i = Σ_j |WᵀW|_ij q_j / q_i, which fulfils T ⪰ WᵀW for every q > 0: W (features, inner), q (inner,) -> (inner,).

    q = 1 is the scale of AOL, any other q one of SLL. Raises InvalidInput where q does not fit or is not positive.
    Source: Araujo et al. (ICLR 2023), theorem 3, by Gershgorin's discs of the matrix scaled by q.
    """
    check_matrix(W, "W", 2, finite=True)
    return _scale(W.T, q)


def conv_gershgorin_scale(K: Tensor, q: Tensor) -> Tensor:
    """The same for the convolution with kernel K in the place of Wᵀ: K (inner, channels, k, k), q (inner,) -> (inner,).

    T_i = Σ_j q_j/q_i Σ_shifts |correlation of filters i and j|, one number per channel. It holds for images of every
    size and every stride: for zero padding of any width, and for circular padding where the output is no larger than
    the input. It does not hold where padding repeats pixels otherwise. Raises InvalidInput.
    """
    check_matrix(K, "K", 4, finite=True)
    return _scale(K, q)


def slack(W: Tensor, T: Tensor) -> Tensor:
    """λ_min(T − WᵀW), but for rounding >= 0 where T ⪰ WᵀW: W (features, inner), T (inner,) or diagonal -> 0-dim."""
    check_matrix(W, "W", 2, finite=True)
    T = torch.diag(T) if isinstance(T, Tensor) and T.dim() == 1 else T
    check_matrix(T, "T", 2, finite=True)
    if T.shape != (W.shape[1], W.shape[1]):
        raise _misfit("T", (W.shape[1],), T)
    return _smallest_eigenvalue(T - W.T @ W)


def lmi(H: Tensor, G: Tensor, W: Tensor, multipliers: Tensor, gamma: float | Tensor) -> Tensor:
    """[[γI − HᵀH, −HᵀG − WΛ], [·, 2Λ − GᵀG]]: positive semidefinite only if h(x) = Hx + Gσ(Wᵀx + b) is √γ-Lipschitz.

    H (outputs, features), G (outputs, inner), W (features, inner), multipliers (inner,), all >= 0: the diagonal of Λ.
    Returns (features + inner, features + inner). Its slack is lmi_slack. Raises InvalidInput where shapes do not fit or
    a multiplier is negative. Source: Araujo et al. (ICLR 2023), theorem 2.
    """
    for name, found in (("H", H), ("G", G), ("W", W)):
        check_matrix(found, name, 2, finite=True)
    outputs, features, inner = len(H), H.shape[1], W.shape[1]
    for name, found, wanted in (("G", G, (outputs, inner)), ("W", W, (features, inner))):
        if found.shape != wanted:
            raise _misfit(name, wanted, found)
    if multipliers.shape != (inner,) or not ((multipliers >= 0) & multipliers.isfinite()).all():
        raise _misfit("multipliers >= 0", (inner,), multipliers)
    if not -torch.inf < gamma < torch.inf:
        why = "a constant that was divided by 0", "pass 1.0 to prove that h is 1-Lipschitz"
        raise InvalidInput("gamma, the square of a Lipschitz constant, as a finite number", f"{gamma}", *why)
    corner = gamma * torch.eye(features, dtype=H.dtype, device=H.device) - H.T @ H
    side = -H.T @ G - W * multipliers
    rest = 2 * torch.diag(multipliers) - G.T @ G
    return torch.cat([torch.cat([corner, side], dim=1), torch.cat([side.T, rest], dim=1)])


def lmi_slack(H: Tensor, G: Tensor, W: Tensor, multipliers: Tensor, gamma: float | Tensor) -> Tensor:
    """λ_min of lmi(...): above its rounding it proves h(x) = Hx + Gσ(Wᵀx + b) √γ-Lipschitz, for slopes in [0, 1]."""
    return _smallest_eigenvalue(lmi(H, G, W, multipliers, gamma))


def _smallest_eigenvalue(matrix: Tensor) -> Tensor:
    """NaN where an entry has overflown: solvers return any number then."""
    return torch.linalg.eigvalsh(matrix)[0] if matrix.isfinite().all() else matrix.new_tensor(torch.nan)


def balanced_scale(rows: Tensor, log_q: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The Gershgorin scale as (unit, size, scale): rows = size · unit, largest entry of unit 1, T = size² · scale.

    rows: Wᵀ (inner, features), or a kernel (inner, channels, k, k). Neither overflow nor underflow of WᵀW reaches the
    scale, since T_i/size_i² is the Gershgorin scale of the unit rows with q·size for q. A row of zeros adds 1 to its
    own scale: to T, never to q, so that the condition still holds.
    """
    floor, rows = smallest(rows), rows.double()
    size = rows.detach().abs().flatten(1).amax(dim=1)
    dead = size <= floor
    size = torch.where(dead, 1.0, size)
    unit = rows / size.reshape(-1, *[1] * (rows.dim() - 1))
    if log_q is not None:
        check_scales("log_q", log_q, len(rows))
    logarithm = size.log() if log_q is None else size.log() + log_q.double()
    q = (logarithm - logarithm.detach().amax()).clamp_min(-WIDEST).exp()
    return unit, size, (_overlap(unit) @ q) / q + dead


def _overlap(rows: Tensor) -> Tensor:
    """The overlap of rows or of kernels."""
    return overlap(rows) if rows.dim() == 2 else conv_overlap(rows)


def _scale(rows: Tensor, q: Tensor) -> Tensor:
    if q.shape != (len(rows),) or not (q > 0).all() or not q.isfinite().all():
        got = f"shape {tuple(q.shape)}, smallest {q.min().item() if q.numel() else float('nan'):g}"
        cause = "a weight that was not exponentiated, or one per feature instead of one per inner unit"
        step = "pass log_q.exp()"
        raise InvalidInput(f"q as {len(rows)} positive finite numbers", got, cause, step)
    found = (_overlap(rows) @ q) / q
    # Of rows that are not 0 the scale is not 0 either, even where their products are below the smallest number.
    alive = (rows != 0).flatten(1).any(dim=1)
    return torch.where(alive, found.clamp_min(torch.finfo(found.dtype).tiny), found)


def check_scales(name: str, found: Tensor, count: int) -> None:
    """Raise InvalidInput where there is not one logarithm of a scale for every inner unit."""
    if found.shape != (count,):
        raise _misfit(name, (count,), found)


def check_matrix(found: Tensor, name: str, axes: int, *, finite: bool = False) -> None:
    """Raise InvalidInput for anything but real numbers, at least one, on so many axes; finite ones if asked for."""
    real = isinstance(found, Tensor) and found.dim() == axes and found.numel() and found.is_floating_point()
    if not real:
        got = f"shape {tuple(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else repr(found)[:80]
        why = "an axis that was dropped, or integers", "look at it with print(tensor)"
        raise InvalidInput(f"{name} as a tensor of {axes} axes of real numbers", got, *why)
    if finite and not found.isfinite().all():
        why = "weights that have exploded", "load an earlier checkpoint"
        raise InvalidInput(f"{name} of finite numbers", "NaN or infinite values", *why)


def _misfit(name: str, wanted: tuple[int, ...], got: Tensor) -> InvalidInput:
    why = "a transposed matrix: W is (features, inner)", "transpose it, or pass the matrices in the order H, G, W"
    return InvalidInput(f"{name} of shape {wanted}", f"shape {tuple(got.shape)}", *why)
