"""The linear part of a block, as the matrix it is."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput

__all__ = ["LinearMap"]

SMALLEST = 1e-290  # a product this small has lost digits, or all of them


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
        # Copies: what was found of the network must not change when the network is trained on.
        bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
        if torch.is_grad_enabled():
            return cls(layer.weight.double().clone(), bias.double().clone())
        return cls(layer.weight.detach().double().clone(), bias.detach().double().clone())

    @classmethod
    def identity(cls, size: int, device: torch.device) -> "LinearMap":
        """The map that changes nothing, for a network that starts with an activation."""
        return cls(
            torch.eye(size, dtype=torch.float64, device=device),
            torch.zeros(size, dtype=torch.float64, device=device),
        )

    def then(self, other: "LinearMap") -> "LinearMap":
        """The composition other ∘ self: one matrix, never a product of two norms.

        Raises InvalidInput where the weights are so small that their products underflow.
        """
        size = other.weight.abs() @ self.weight.abs()
        reached = (other.weight != 0).double() @ (self.weight != 0).double() > 0
        if (reached & (size < SMALLEST)).any():
            raise InvalidInput(
                expected=f"consecutive linear layers whose products of weights stay above {SMALLEST:g}",
                got=f"a product of {size[reached].min().item():g}",
                cause="weights that training has driven towards 0",
                next_step="set such weights to 0, or merge the two layers",
            )
        return LinearMap(other.weight @ self.weight, other.weight @ self.bias + other.bias)

    def apply(self, h: Tensor) -> Tensor:
        """W h + b for h of shape (batch, columns); NaN where a sum overflowed, since ±inf would say too much."""
        z = h @ self.weight.T + self.bias
        return torch.where(z.isfinite(), z, torch.nan)

    def apply_absolute(self, d: Tensor) -> Tensor:
        """|W| d for half-widths d of shape (batch, columns)."""
        return d @ self.weight.abs().T

    def row_norms(self, column_slope: Tensor) -> Tensor:
        """‖row_j(W) D^½‖ for every row j, D = diag(column_slope) per sample: (batch, columns) -> (batch, rows)."""
        scale = _or_one(self.weight.detach().abs().amax(dim=1))
        squared = column_slope @ (self.weight / scale[:, None]).square().T
        alive = (column_slope > 0).double() @ (self.weight != 0).double().T > 0
        # Squares that underflow are made up for; the root has no finite gradient at 0.
        squared = squared.clamp_min(self.weight.shape[1] * torch.finfo(torch.float64).tiny)
        return scale * torch.where(alive, squared, 1.0).sqrt() * alive

    def between_rows(self, y: Tensor, column_slope: Tensor) -> Tensor:
        """‖(row_y − row_j) D^½‖ for every row j: y (batch,), column_slope (batch, columns) -> (batch, rows)."""
        difference = (self.weight[y, None, :] - self.weight) * column_slope.sqrt()[:, None, :]
        scale = _or_one(difference.detach().abs().amax(dim=2))
        return scale * torch.linalg.vector_norm(difference / scale[:, :, None], dim=2)


def _or_one(largest: Tensor) -> Tensor:
    """Scales to divide by, so that the squares of 1e-200 and 1e200 stay finite: 1 in place of 0."""
    return torch.where(largest > 0, largest, 1.0)
