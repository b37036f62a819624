"""The linear part of a block, as the matrix it is."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["LinearMap"]


@dataclass(frozen=True, eq=False)
class LinearMap:
    """The affine map h -> W h + b on flattened units, in float64.

    weight: (rows, columns); bias: (rows,).
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, layer: nn.Linear) -> "LinearMap":
        """The map of a dense layer."""
        weight = layer.weight.double()
        bias = weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.double()
        return cls(weight, bias)

    @classmethod
    def identity(cls, size: int, device: torch.device) -> "LinearMap":
        """The map that changes nothing, for a network that starts with an activation."""
        return cls(
            torch.eye(size, dtype=torch.float64, device=device),
            torch.zeros(size, dtype=torch.float64, device=device),
        )

    def then(self, other: "LinearMap") -> "LinearMap":
        """The composition other ∘ self: one matrix, never a product of two norms."""
        return LinearMap(other.weight @ self.weight, other.weight @ self.bias + other.bias)

    def apply(self, h: Tensor) -> Tensor:
        """W h + b for h of shape (batch, columns)."""
        return h @ self.weight.T + self.bias

    def apply_absolute(self, d: Tensor) -> Tensor:
        """|W| d for half-widths d of shape (batch, columns)."""
        return d @ self.weight.abs().T

    def row_norms(self, column_slope: Tensor) -> Tensor:
        """‖row_j(W) D^½‖ for every row j, D = diag(column_slope) per sample: (batch, columns) -> (batch, rows)."""
        scale = _largest(self.weight)
        squared = column_slope @ (self.weight / scale).square().T
        alive = squared > 0  # the root has no finite gradient at 0
        return scale * torch.where(alive, squared, 1.0).sqrt() * alive

    def between_rows(self, y: Tensor, column_slope: Tensor) -> Tensor:
        """‖(row_y − row_j) D^½‖ for every row j: y (batch,), column_slope (batch, columns) -> (batch, rows)."""
        scale = _largest(self.weight)
        difference = (self.weight[y, None, :] - self.weight) / scale * column_slope.sqrt()[:, None, :]
        return scale * torch.linalg.vector_norm(difference, dim=-1)


def _largest(weight: Tensor) -> Tensor:
    """Largest absolute entry, 1 for the zero matrix: dividing by it keeps the squares of 1e-200 and 1e200 finite."""
    largest = weight.detach().abs().max()
    return torch.where(largest > 0, largest, torch.ones_like(largest))
