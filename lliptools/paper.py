"""The theorem, for a dense network with ReLU or ReLU-θ, and nothing else: f = W_L σ(… σ(W_1 x + b_1) …) + b_L.

Near x some units are constant: their pre-activations stay below 0 or above θ. Between any two points of the ball a
constant unit does not move, so its row of W_k and its column of W_{k+1} are struck, and with D_k = diag(1 where unit k
varies) the Lipschitz constant on the ball is at most ∏_k ‖D_k W_k D_{k-1}‖. The norms found so far say how far the
next layer's input can move, and that which of its units are constant.

D_k is its own square root; where slopes between 0 and 1 take its place, the library's D_k^½ W_k D_{k-1}^½ is the same.

Source: Huang, Zhang, Shi, Kolter, Anandkumar, "Training Certifiably Robust Neural Networks with Efficient Local
Lipschitz Bounds" (NeurIPS 2021). lliptools.local_bound is the same for all that it reads, in batches and enclosed.
"""

import torch
from torch import Tensor


def local_bound(
    weights: list[Tensor], biases: list[Tensor], theta: float | list[Tensor], x: Tensor, eps: float
) -> tuple[Tensor, list[Tensor]]:
    """Bound of the Lipschitz constant on the ball of radius eps around one point, in real arithmetic.

    weights: W_k, (rows, columns). biases: b_k, (rows,). theta: one threshold for all units, math.inf for ReLU, or one
    tensor per hidden layer. x: (features,). Returns the bound, 0-dim, and per hidden layer which units vary, (units,).
    """
    thetas = theta if isinstance(theta, list) else [torch.as_tensor(theta)] * (len(weights) - 1)
    center = x.flatten()
    lower, upper = center - eps, center + eps  # the box of the layer's inputs
    radius, value = torch.as_tensor(eps), torch.ones(())
    varies, masks = torch.ones_like(center, dtype=torch.bool), []
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        z = W @ center + b
        middle, half = W @ (lower + upper) / 2 + b, W.abs() @ (upper - lower) / 2  # what the box allows
        reach = radius * torch.linalg.vector_norm(W[:, varies], dim=1)  # what the ball allows
        lower, upper = torch.maximum(middle - half, z - reach), torch.minimum(middle + half, z + reach)
        last = k == len(weights) - 1
        rows = torch.ones_like(z, dtype=torch.bool) if last else (upper > 0) & (lower < thetas[k])
        norm = torch.linalg.matrix_norm(W[rows][:, varies], ord=2)  # ‖D_k W_k D_{k-1}‖; 0 where nothing is left
        value, radius = value * norm, radius * norm
        if not last:
            center, lower, upper = (v.clamp_min(0).minimum(thetas[k]) for v in (z, lower, upper))
            varies = rows
            masks.append(rows)
    return value, masks
