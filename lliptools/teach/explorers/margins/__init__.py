"""Margins at a point, and how far they last."""

import torch

from lliptools.teach.explorers.margins.widget import MarginExplorer
from lliptools.teach.shared.example import Example

QUESTION = "How far can the point move before the label may change?"


def _three_classes() -> MarginExplorer:
    """A linear network of three classes, whose certificate is the true distance."""
    layer = torch.nn.Linear(2, 3).double()
    layer.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-2.0, -2.0]], dtype=torch.float64)
    layer.bias.data = torch.tensor([0.0, 0.0, 1.5], dtype=torch.float64)
    net = torch.nn.Sequential(layer)
    x = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return MarginExplorer(net, x, net(x).argmax(dim=1), point=(1.0, 0.0), L=2.0)


EXAMPLES = {"margins": Example(1, "Margins and certificates", QUESTION, _three_classes, "L", (1.0, 2.0, 4.0))}
