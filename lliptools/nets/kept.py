"""Layers in a module's own forward method that are read as themselves: those of lliptools.layers, and activations.

torch.export follows a module down to operations of torch. Where such a layer is called it finds one operation, `kept`,
with the number of the call, for which the layer stands.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy

import torch
from torch import Tensor, nn

from lliptools.nets.activations import Activation
from lliptools.nets.designed import Designed

Calls = list[tuple[nn.Module, torch.Size]]
CALLS: ContextVar[Calls] = ContextVar("calls")


@torch.library.custom_op("lliptools::kept", mutates_args=())
def _kept(x: Tensor, call: int) -> Tensor:
    return layer_at(call)(x).clone()


@_kept.register_fake
def _(x: Tensor, call: int) -> Tensor:
    return x.new_empty(CALLS.get()[call][1])


KEPT = torch.ops.lliptools.kept.default


def layer_at(call: int) -> nn.Module:
    """A copy in float64 of the layer that is called as this one."""
    return CALLS.get()[call][0]


class _StandIn(nn.Module):
    """Runs a layer and notes the call, or, from then on, names the calls one after the other."""

    def __init__(self, layer: nn.Module, running: Iterator[int] | None) -> None:
        super().__init__()
        self.copied, self.running = (deepcopy(layer).double(),), running

    def forward(self, x: Tensor) -> Tensor:
        if self.running is not None:
            return KEPT(x, next(self.running))
        (layer,) = self.copied  # in a tuple, so that it is no part of the module
        y: Tensor = layer(x.double()).to(x.dtype)
        CALLS.get().append((layer, y.shape))
        return y


@contextmanager
def kept_in(net: nn.Module, example: Tensor) -> Iterator[None]:
    """Such layers are kept while a module is followed and read; example: (batch, *sample). Sets back what it changes.

    The module is called once. Where that fails, or in training mode, nothing is kept.
    """
    places = [
        (module, name, child)
        for module in net.modules()
        for name, child in module._modules.items()
        if isinstance(child, Designed | Activation) and not isinstance(module, Designed) and not net.training
    ]
    token = CALLS.set([])
    try:
        try:
            for module, name, child in places:
                module._modules[name] = _StandIn(child, None)
            if places:
                net(example)
            calls = iter(range(len(CALLS.get())))
            for module, name, child in places:
                module._modules[name] = _StandIn(child, calls)
        except Exception:  # as of a forward method that looks into the layer
            for module, name, child in places:
                module._modules[name] = child
        yield
    finally:
        for module, name, child in places:
            module._modules[name] = child
        CALLS.reset(token)
