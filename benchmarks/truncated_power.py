"""Masked norms as released code of the local-Lipschitz paper estimates them: a few power iterations, from below."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

__all__ = ["adjoint", "apply", "truncated_power"]


def truncated_power(
    layer: nn.Linear | nn.Conv2d, rows: Tensor, columns: Tensor, steps: int, generator: torch.Generator | None = None
) -> Tensor:
    """Estimate of ‖D_row W D_column‖ per sample: power iteration on the masked WᵀW, then the length of W v.

    rows: (batch, *output shape) and columns: (batch, *input shape), 0 where a unit is struck and 1 elsewhere.
    Starts from Gaussian vectors, drawn afresh; works in float32; returns (batch,), 0 exactly for an all-zero mask.
    Errs below (rounding aside): never an upper bound, hence never a certificate. The fewer steps, the lower.
    """
    layer_32 = _in_float32(layer)
    rows, columns = rows.float(), columns.float()
    start = torch.randn(columns.shape, generator=generator, device=columns.device)
    with torch.no_grad():
        v = _unit(columns * start)
        for _ in range(steps):
            u = _unit(rows * apply(layer_32, v))
            v = _unit(columns * adjoint(layer_32, u, columns.shape))
        return (rows * apply(layer_32, v)).flatten(1).norm(dim=1)


def apply(layer: nn.Linear | nn.Conv2d, h: Tensor) -> Tensor:
    """W h, the layer without its bias: (batch, *input shape) -> (batch, *output shape)."""
    if isinstance(layer, nn.Linear):
        return linear(h, layer.weight)
    _check_padding(layer)
    return conv2d(h, layer.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def adjoint(layer: nn.Linear | nn.Conv2d, u: Tensor, input_shape: torch.Size) -> Tensor:
    """Wᵀ u: (batch, *output shape) -> input_shape, which is (batch, *input shape)."""
    if isinstance(layer, nn.Linear):
        return u @ layer.weight
    _check_padding(layer)
    return torch.nn.grad.conv2d_input(
        input_shape, layer.weight, u, layer.stride, layer.padding, layer.dilation, layer.groups
    )


def _check_padding(layer: nn.Conv2d) -> None:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ValueError(f"expected zero padding given in pixels, got {layer.padding!r}, mode {layer.padding_mode!r}")


def _in_float32(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    if layer.weight.dtype == torch.float32:
        return layer
    from copy import deepcopy

    return deepcopy(layer).float()


def _unit(v: Tensor) -> Tensor:
    length = v.flatten(1).norm(dim=1).view(-1, *[1] * (v.dim() - 1))
    return v / torch.where(length > 0, length, 1.0)
