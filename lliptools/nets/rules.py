"""Which activation reads which layer of torch."""

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from lliptools.nets.activations import Activation, Monotone
from lliptools.nets.checked import Checked
from lliptools.nets.clips import Clip, ClippedReLU, Hardtanh, LeakyReLU
from lliptools.nets.pairs import ClippedMaxMin, MaxMin
from lliptools.nets.smooth import ELU, Sigmoid, Softplus, Tanh

__all__ = ["OWN", "RULES", "rule"]

DEFINED = ("forward", "slopes", "image", "pieces")
OWN = {MaxMin, ClippedMaxMin, ClippedReLU}

# How each layer of torch is read: the attributes that its forward uses. What they must be stands in layers.py.
RULES: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda layer: Hardtanh(0.0, math.inf),
    nn.ReLU6: lambda layer: Hardtanh(layer.min_val, layer.max_val),
    nn.Hardtanh: lambda layer: Hardtanh(layer.min_val, layer.max_val),
    nn.LeakyReLU: lambda layer: LeakyReLU(layer.negative_slope) if layer.negative_slope else Hardtanh(0.0, math.inf),
    nn.Tanh: lambda layer: Tanh(),
    nn.Sigmoid: lambda layer: Sigmoid(),
    nn.Softplus: lambda layer: Softplus(layer.beta, layer.threshold),
    nn.ELU: lambda layer: ELU(layer.alpha),
}


def rule(layer: nn.Module) -> Activation | None:
    """The rule by which the bounds read a layer, or None where there is none.

    A class that derives from an activation and changes what it computes must say its slopes, image and pieces anew:
    one that redefines forward alone has no rule, and neither has an object of which a method was replaced.
    """
    if type(layer) in RULES:
        return RULES[type(layer)](layer)
    if any(callable(getattr(type(layer), name, None)) for name in vars(layer)):
        return None
    if isinstance(layer, Activation) and type(layer) in OWN:
        return layer
    if isinstance(layer, Activation) and not isinstance(layer, Clip | MaxMin | Checked):
        owner = {name: next(c for c in type(layer).__mro__ if name in vars(c)) for name in DEFINED}
        forward = owner["forward"]
        general = {forward, Monotone, Activation}
        if owner["slopes"] is forward is not Activation and owner["image"] in general and owner["pieces"] in general:
            return Checked(layer)
    return None
