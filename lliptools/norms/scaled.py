"""Norms of numbers whose squares may not be finite or may be 0: each is computed at a scale of 1, and rounded up."""

import torch
from torch import Tensor

from lliptools.nets.linear import TINY, or_one
from lliptools.norms.eigenvalues import norms_of_wide
from lliptools.norms.rounding import inflated


def length(values: Tensor, dim: int) -> Tensor:
    """Euclidean norms along an axis, also of 1e-200 and 1e200; inf where an entry is not finite."""
    largest = or_one(values.abs().amax(dim=dim, keepdim=True))
    found = inflated(torch.linalg.vector_norm(values / largest, dim=dim) * largest.squeeze(dim), values.shape[dim])
    return torch.where(largest.squeeze(dim).isfinite(), found, torch.inf)


def unit_vectors(values: Tensor) -> Tensor:
    """Every sample at length 1: (batch, …) -> the same. 0 where it is 0 or not finite."""
    flat = values.flatten(1)
    flat = flat / or_one(flat.abs().amax(dim=1, keepdim=True))
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return torch.where((length > 0) & length.isfinite(), flat / length, 0.0).view_as(values)


def norm(matrices: Tensor) -> Tensor:
    """Spectral norms, (batch, rows, columns) -> (batch,); inf where an entry is not finite."""
    if not matrices.shape[1] or not matrices.shape[2]:
        return matrices.new_zeros(len(matrices))
    largest = matrices.abs().amax(dim=(1, 2))
    scaled = torch.where(largest.isfinite()[:, None, None], matrices, 0.0) / or_one(largest)[:, None, None]
    found = largest * norms_of_wide(scaled if scaled.shape[1] <= scaled.shape[2] else scaled.mT)
    return torch.where(largest.isfinite(), found, torch.inf)


def times_power_of_two(values: Tensor, exponent: int, *, upward: bool = False) -> Tensor:
    """values · 2^exponent, exact except for overflow and underflow; upward: what is above 0 stays above 0."""
    if abs(exponent) > 2000:
        return torch.full_like(values, torch.inf)
    half = exponent // 2  # 2^2000 overflows, its root does not
    scaled = values * 2.0**half * 2.0 ** (exponent - half)
    return torch.where(values > 0, scaled.clamp_min(TINY), scaled) if upward else scaled
