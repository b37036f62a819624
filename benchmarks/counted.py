"""What a call costs: seconds, vectors to which operators are applied, additions and multiplications."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from common import clocked
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lliptools.nets.operators import Convolution, Dense, Operator, Scale

BUDGET = 0.4  # seconds for the repetitions of one measurement, of which there are at least two


@dataclass(frozen=True)
class Cost:
    """Of one call: seconds, applications, and operations in these and in all."""

    seconds: float
    applications: int
    applied: int
    operations: int


def least(run: Callable[[], object]) -> float:
    """Seconds of processor time of the quickest of a few runs."""
    seconds: list[float] = []
    while len(seconds) < 2 or (sum(seconds) < BUDGET and len(seconds) < 100):
        seconds.append(clocked(run, time.process_time)[1])
    return min(seconds)


def cubed(matrices: Tensor) -> int:
    """n³, summed over symmetric matrices (…, n, n)."""
    return matrices.numel() * matrices.shape[-1]


FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    # Only the eigenvalues: the reduction to three diagonals. Cholesky's factors. A triangle, solved for many columns.
    torch.ops.aten._linalg_eigh: lambda matrices, *_, **__: 4 * cubed(matrices) // 3,
    torch.ops.aten.linalg_cholesky_ex: lambda matrices, *_, **__: cubed(matrices) // 3,
    torch.ops.aten.linalg_solve_triangular: lambda triangles, right, **_: triangles.shape[-1] * right.numel(),
}


class Operations(TorchDispatchMode):
    """Counts them in all that torch is asked for. (FlopCounterMode hooks into networks, which bounds refuse.)"""

    total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do it, and count it."""
        found = function(*args, **(kwargs or {}))
        formula = FORMULAS.get(function.overloadpacket)
        self.total += formula(*args, **(kwargs or {}), out_val=found) if formula else 0
        return found


def cost(run: Callable[[], object]) -> Cost:
    """The seconds of a call, and in another one what it applies."""
    counter, vectors, applied = Operations(), 0, 0

    def observed(method: Callable[[Operator, Tensor], Tensor]) -> Callable[[Operator, Tensor], Tensor]:
        def counted(operator: Operator, h: Tensor) -> Tensor:
            nonlocal vectors, applied
            before = counter.total
            found = method(operator, h)
            vectors, applied = vectors + len(h), applied + counter.total - before
            return found

        return counted

    with counter, ExitStack() as stack:
        for kind in (Dense, Convolution, Scale):
            for name in ("__call__", "adjoint"):
                stack.enter_context(patch.object(kind, name, observed(getattr(kind, name))))
        run()
    return Cost(least(run), vectors, applied, counter.total)
