"""Networks with a forward method that is written down, and their programs of torch.export."""

import pytest
import torch
from torch import nn
from torch.export import Dim, export

import lliptools as ll
from lliptools.nets import read_program

THETA = torch.tensor([0.5, 0.0, 2.0, 1.0])


class Written(nn.Module):
    """A module whose forward method is a function of the module and its input."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                self.add_module(name, part)
        self.written = forward

    def forward(self, x):
        return self.written(self, x)


def program(forward, shape, *, batch=None, dtype=torch.float32, **parts):
    torch.manual_seed(0)
    for part in parts.values():
        for tensor in part.state_dict().values() if isinstance(part, nn.Module) else ():
            if tensor.is_floating_point():  # also the statistics of a normalisation
                tensor.copy_(torch.rand_like(tensor) - 0.3 * (tensor.dim() > 1))
    module = Written(forward, **parts).eval().to(dtype)
    sizes = None if batch else ({0: Dim("batch")},)
    return export(module, (torch.randn(batch or 2, *shape, dtype=dtype),), dynamic_shapes=sizes)


def pairs(z, low=None, high=None):
    a, b = z.chunk(2, dim=1)
    larger, smaller = torch.maximum(b, a), torch.minimum(a, b)
    larger = larger if high is None else larger.clamp(max=high)
    return torch.cat([larger, smaller if low is None else smaller.clamp(min=low)], dim=1)


def refusal(made):
    with pytest.raises(ll.UnsupportedLayer) as error:
        read_program(made)
    return str(error.value).split(": no rule is known")[0]


def randomised(net):
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) - 0.5 * (tensor.dim() > 1))
    return net.eval()


def own(forward, **parts):
    return randomised(Written(forward, **parts))
