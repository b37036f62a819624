"""A program held against the layers that it was read as."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from lliptools.nets.values import Value

SCALES = (1e-3, 1.0, 1e3)  # of the samples on which program and network are compared
WIDE = (None, torch.float32, torch.float64)
ROUNDING = 1e3  # units of the last place by which they may differ, which as a rule is none


def example_of(program: ExportedProgram) -> Any:
    """What the program's example has for its input."""
    (name,) = program.graph_signature.user_inputs
    return next(node for node in program.graph.nodes if node.name == name).meta["val"]


class _Sizes(fx.Interpreter):
    """Runs a program, and keeps the largest number that it has met on the way: what rounding is in relation to.

    Where its numbers are float64 now, what is made of the input is not turned to float32, and nothing is said of it.
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__(program.graph_module)
        self.extra_traceback, self.size, self.moving = False, 0.0, {*program.graph_signature.user_inputs}

    def run_node(self, n: fx.Node) -> Any:
        if n.target is torch.ops.aten._assert_tensor_metadata.default:
            return None
        moves = any(each.name in self.moving for each in n.all_input_nodes)
        self.moving |= {n.name} if moves else set()
        if moves and n.target is torch.ops.aten._to_copy.default and n.kwargs.get("dtype") in WIDE:
            return self.env[n.all_input_nodes[0]]
        found = super().run_node(n)
        if isinstance(found, Tensor) and found.is_floating_point() and n.op == "call_function" and found.numel():
            self.size = max(self.size, float(found.abs().amax().nan_to_num(posinf=0.0)))
        return found


def difference(program: ExportedProgram, net: nn.Sequential, given: list[Any], dtype: torch.dtype) -> str:
    """What tells a program from what it was read as, on samples of several scales; "" where nothing does."""
    example = example_of(program)
    generator, compared = torch.Generator("cpu").manual_seed(0), 0
    for count in _batches(program, example.shape[0]):
        for scale in SCALES:
            x = torch.randn(count, *example.shape[1:], generator=generator, dtype=torch.float64, device="cpu")
            x = (scale * x).to(example.device, dtype)
            with torch.no_grad():
                run = _Sizes(program)
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
