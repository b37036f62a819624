"""What to say when a training run stops being finite: where it began, and which weights had grown."""

import torch
from torch import Tensor, nn


def all_finite(net: nn.Module) -> bool:
    """Whether every parameter and buffer is finite."""
    return all(bool(value.isfinite().all()) for value in net.state_dict().values())


@torch.no_grad()
def first_not_finite(net: nn.Sequential, x: Tensor) -> str:
    """The first of points, weights and outputs that is not finite, layer by layer, in words. x: (batch, *shape)."""
    if not x.isfinite().all():
        return "the points themselves are not finite"
    for index, layer in enumerate(net.eval()):
        name = f"layer {index} ({type(layer).__name__})"
        for which, value in layer.state_dict().items():
            if not value.isfinite().all():
                return f"the first that is not finite is the {which} of {name}"
        x = layer(x)
        if not x.isfinite().all():
            return f"the first that is not finite is the output of {name}"
    return "weights and outputs are finite, so it is the bound or the loss itself that overflows"


@torch.no_grad()
def largest_weight(net: nn.Sequential) -> str:
    """The finite weight of largest norm, in words. Frobenius norms: they need no shapes, and are upper bounds."""
    found = ((value.double().norm().item(), name) for name, value in net.named_parameters() if value.dim() > 1)
    finite = [each for each in found if each[0] < torch.inf]  # false for NaN
    if not finite:
        return "no weight is finite"
    norm, name = max(finite)
    index, _, which = name.partition(".")
    layer = f"layer {index} ({type(net[int(index)]).__name__})" if index.isdigit() else name
    return f"the largest finite norm is {norm:.3g}, of the {which} of {layer}"
