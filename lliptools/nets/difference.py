"""A program held against the layers that it was read as."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from lliptools.nets.values import Value

__all__ = ["difference", "example_of"]

SCALES = (1e-3, 1.0, 1e3)  # of the samples on which program and network are compared
ROUNDING = 1e3  # units of the last place by which they may differ, which as a rule is none


def example_of(program: ExportedProgram) -> Any:
    """What the program's example has for its input."""
    (name,) = program.graph_signature.user_inputs
    return next(node for node in program.graph.nodes if node.name == name).meta["val"]


class _Sizes(fx.Interpreter):
    """Runs a program, and keeps the largest number that it has met on the way: what rounding is in relation to.

    What was float32 in the program may be float64 here: it is not converted, and nothing is said of it.
    """

    size = 0.0

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is torch.ops.aten._assert_tensor_metadata.default:
            return None
        if target is torch.ops.aten._to_copy.default and args[0].is_floating_point() and _is_floating(kwargs):
            return args[0]
        return super().call_function(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        if isinstance(found, Tensor) and found.is_floating_point() and n.op == "call_function" and found.numel():
            self.size = max(self.size, float(found.abs().amax().nan_to_num(posinf=0.0)))
        return found


def _is_floating(kwargs: dict[str, Any]) -> bool:
    return kwargs.get("dtype") in (None, torch.float32, torch.float64)


def difference(program: ExportedProgram, net: nn.Sequential, given: list[Any], dtype: torch.dtype) -> str:
    """What tells a program from what it was read as, on samples of several scales; "" where nothing does."""
    example = example_of(program)
    generator, compared = torch.Generator("cpu").manual_seed(0), 0
    for count in _batches(program, example.shape[0]):
        for scale in SCALES:
            x = torch.randn(count, *example.shape[1:], generator=generator, dtype=torch.float64, device="cpu")
            x = (scale * x).to(example.device, dtype)
            with torch.no_grad():
                run = _Sizes(program.graph_module)
                run.extra_traceback = False
                tensors = [x if isinstance(each, Value) else each.to(example.device) for each in given]
                wanted, found = run.run(*tensors)[0], net(x)
            if not wanted.isfinite().all():
                continue
            compared += 1
            near = ROUNDING * torch.finfo(wanted.dtype).eps * max(run.size, float(wanted.abs().amax()))
            if wanted.shape != found.shape or not ((found - wanted).abs() <= near).all():
                return "a program that computes something else than the layers it was read as"
    return "" if compared else "a program whose outputs are not finite"


def _batches(program: ExportedProgram, size: Any) -> list[int]:
    """How many samples the program is compared on: what it was made with, or two numbers where it leaves them open."""
    if isinstance(size, int):
        return [size]
    symbols = size.node.expr.free_symbols
    lowest = {symbol: max(2, int(program.range_constraints[symbol].lower)) for symbol in symbols}
    return [int(size.node.expr.subs({symbol: low + more for symbol, low in lowest.items()})) for more in (0, 3)]
