"""Margins: by how much the logit of a label beats the others. All that knows of labels stands on these."""

import torch
from torch import Tensor

__all__ = ["margins", "own_class", "smallest_margin"]


def own_class(logits: Tensor, y: Tensor) -> Tensor:
    """True at the label's own class, by index and never by value: (batch, classes), y (batch,) -> (batch, classes)."""
    return torch.zeros_like(logits, dtype=torch.bool).scatter(1, y[:, None], True)


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """f_y − f_j for every class j, inf for j = y: logits (batch, classes), y (batch,) -> (batch, classes)."""
    return (logits.gather(1, y[:, None]) - logits).masked_fill(own_class(logits, y), torch.inf)


def smallest_margin(logits: Tensor, y: Tensor) -> Tensor:
    """min over j ≠ y of f_y − f_j: logits (batch, classes), y (batch,) -> (batch,)."""
    return margins(logits, y).amin(dim=1)
