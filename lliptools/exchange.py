"""Networks handed to others: in torch's own layers, as a file of torch.export, as ONNX."""

import warnings
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from lliptools import layers
from lliptools.errors import InvalidInput, UnsupportedLayer, extra
from lliptools.nets import ClippedMaxMin, ClippedReLU, Residual
from lliptools.nets.registry import OWN
from lliptools.nets.steps import Entrywise


def export(net: nn.Module, input_shape: tuple[int, ...] | None = None, *, to: str | Path | None = None) -> nn.Module:
    """A copy of a network in plain torch, which runs where lliptools is not installed.

    * The layers of lliptools.layers are spelled out (lliptools.layers.export). A ReLU with one threshold becomes ReLU6
      or Hardtanh; where torch has no layer, for one threshold per unit, pairs and x + block(x), a torch.fx.GraphModule
      computes the same. Activations of one's own stay as they are. Precision and mode are the network's.
    * input_shape: of a sample, needed to write a file and by layers whose plain form depends on it.
    * to: a file that is written besides, with a batch of any size: `.pt2` by torch.export, or `.onnx` by torch's
      exporter, which needs the extra `onnx`. lliptools.nets.load and `lliptools bounds` read both again,
      without what lliptools.layers guarantee by construction, so that bounds may be larger.
    * A certificate is about these weights in exact arithmetic. What a runtime rounds, a lot in float32, is not in it.
      ONNX keeps numbers of layers, as slopes, in float32: of a float64 network certify what `load` reads of the file.
    * Raises InvalidInput for another kind of file, for a file without input_shape, and where that extra is missing.
    """
    path = None if to is None else Path(to)
    is_shape = isinstance(input_shape, tuple) and all(isinstance(size, int) and size > 0 for size in input_shape)
    writable = path is None or (path.suffix in {".pt2", ".onnx"} and is_shape)
    if not (isinstance(net, nn.Module) and (is_shape or input_shape is None) and writable):
        expected = "a network; for a file its path, which ends in .pt2 or .onnx, and input_shape, whole numbers"
        got = f"{type(net).__name__}, input_shape={input_shape!r}, to={to!r}"
        cause = "a tensor or a number in place of its shape, or a format that is not known"
        raise InvalidInput(expected, got, cause, 'export(net, x.shape[1:], to="net.onnx")')
    plain = _plain(layers.export(net, input_shape))
    if path is not None and input_shape is not None:
        numbers = (each for each in chain(net.parameters(), net.buffers()) if each.is_floating_point())
        like = next(numbers, torch.empty(()))
        example = torch.zeros(2, *input_shape, dtype=like.dtype, device=like.device)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(plain, example, path)
    return plain


def _plain(net: nn.Module) -> nn.Module:
    """The same with activations and residuals in torch's own operations."""
    found: nn.Module = net
    if type(net) is nn.Sequential:
        found = nn.Sequential(*map(_plain, net))
    elif type(net) is Residual:
        shortcut = None if net.shortcut is None else _plain(net.shortcut)
        found = fx.symbolic_trace(Residual(_plain(net.block), shortcut))
    elif type(net) is Entrywise or type(net) in OWN:
        found = net.plain() if isinstance(net, ClippedReLU | ClippedMaxMin) else fx.symbolic_trace(net)
    found.training = net.training  # and no part of it, which may be frozen
    return found


def _write(plain: nn.Module, example: Tensor, path: Path) -> None:
    program = torch.export.export(plain, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    if path.suffix == ".pt2":
        torch.export.save(program, path)
        return
    _divided_outside(program.graph)
    with extra("onnx"):
        import onnxscript  # noqa: F401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter copies what torch itself has deprecated
        names: dict[str, Any] = {"input_names": ["x"], "output_names": ["logits"]}
        torch.onnx.export(program, (), path, **names, dynamo=True, external_data=False, verbose=False)


def _divided_outside(graph: fx.Graph) -> None:
    """Averages with a divisor of their own become those of their windows times a factor: torch's exporter drops it."""
    for node in graph.nodes:
        if node.target is not torch.ops.aten.avg_pool2d.default or len(node.args) < 7 or not node.args[6]:
            continue
        values, kernel, stride, padding, ceil_mode, _, divisor = node.args
        if ceil_mode:
            why = "ONNX has no divisor, and other windows at the border", "build it without divisor_override"
            raise UnsupportedLayer("AvgPool2d with one of the two", f"ceil_mode and divisor_override={divisor}", *why)
        node.args, last = (values, kernel, stride, padding, False, True), node
        area = float(prod(kernel) ** (2 // len(kernel)))
        # Two whole numbers, since a quotient would be written in float32.
        for operation, number in ((torch.ops.aten.mul.Tensor, area), (torch.ops.aten.div.Tensor, float(divisor))):
            with graph.inserting_after(last):
                following = graph.call_function(operation, (last, number))
            following.meta, last = dict(node.meta), following
        first = node.next
        node.replace_all_uses_with(last, lambda user, first=first: user is not first)
