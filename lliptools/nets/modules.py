"""Modules with a forward method of their own, followed by torch.export and read as the layers that do the same."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer, first_line, in_words
from lliptools.nets.calls import alone
from lliptools.nets.kept import kept_in
from lliptools.nets.operators import Shape
from lliptools.nets.programs import code_line, layers_of

EXAMPLE = 2  # samples with which a module is followed


@alone
def read_module(net: nn.Module, shape: Shape, batch: int = EXAMPLE) -> nn.Sequential:
    """The layers that a module with a forward method of its own computes samples of a shape by, in float64.

    What its parametrisations compute of its weights is computed in float64. The module is left as it was.
    Raises UnsupportedLayer, naming the operation, for a module that torch.export or read_program cannot read.
    """
    like = next(
        (each for each in (*net.parameters(), *net.buffers()) if each.is_floating_point()),
        torch.empty((), dtype=torch.float64, device="cpu"),
    )
    example = torch.zeros(batch, *shape, dtype=like.dtype, device=like.device)
    wide = torch.autocast(like.device.type, enabled=False)  # what is read is computed in float64, and as it stands
    try:
        with (
            left_as_it_was(net),
            torch.no_grad(),
            warnings.catch_warnings(),
            kept_in(net, example),
            example.device,
            wide,
        ):
            warnings.simplefilter("ignore")
            with redirect_stderr(io.StringIO()):  # where torch prints the graph of what it cannot follow
                program = torch.export.export(net, (example,))
            return layers_of(program, torch.float64).to(like.device)
    except (InvalidInput, UnsupportedLayer):
        raise
    except Exception as error:  # whatever torch meets in a forward method
        _check_runs(net, example)
        got = f"{type(net).__name__}{code_line(str(error))}, of which it says: {first_line(error)}"
        why = "steps that depend on values, or are not of torch", "write forward(x) in operations of torch"
        wanted = "a forward method that torch.export can follow (docs/supported.md)"
        raise UnsupportedLayer(wanted, got, *why) from error


def without_softmax(net: nn.Module, x: Tensor) -> nn.Sequential:
    """The network without the softmax over its outputs, or its logarithm, in which it ends: their order stays.

    * net: any module that can be read. x: a batch, of which the shape counts. Returns copies, in float64.
    * Raises InvalidInput where it ends in something else, UnsupportedLayer for operations that cannot be read.
    """
    with in_words("a network, and a batch that it takes", "no torch.nn.Module, or no tensor", "make net(x) work"):
        layers = list(read_module(net, tuple(x.shape[1:])))
    if not (layers and isinstance(layers[-1], nn.Softmax | nn.LogSoftmax)):
        why = "none, or one over other axes", "bound net itself"
        raise InvalidInput("a network that ends in a softmax", f"{layers[-1:]}", *why)
    return nn.Sequential(*layers[:-1])


def _check_runs(net: nn.Module, example: Tensor) -> None:
    """Raise InvalidInput for a module that does not take samples of this shape."""
    if net.training:  # it might keep statistics
        return
    takes = f"samples that {type(net).__name__} takes, not of shape {tuple(example.shape[1:])}"
    why = "points of another data set, or without their batch axis", "make net(x) work"
    with in_words(takes, *why), left_as_it_was(net), torch.no_grad():
        net(example)


@contextmanager
def left_as_it_was(net: nn.Module) -> Iterator[None]:
    """What a forward method sets besides tensors' values is set back, and the random stream of the CPU is kept."""
    modules = [(module, dict(vars(module))) for module in net.modules()]
    tensors = [(module, dict(module._parameters), dict(module._buffers)) for module, _ in modules]
    silent = logging.root.manager.disable  # torch logs what it cannot follow; the error says it
    logging.disable(logging.CRITICAL)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        logging.disable(silent)
        for module, attributes in modules:
            vars(module).clear()
            vars(module).update(attributes)
        for module, parameters, buffers in tensors:
            module._parameters, module._buffers = parameters, buffers
