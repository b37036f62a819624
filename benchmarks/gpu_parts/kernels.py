"""How many kernels a training step launches."""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gpu_parts.size import LOSSES, STEPS, sized
from lliptools.training import SharedNorm


class Launches(TorchDispatchMode):
    """Counts what would launch a kernel: every operation that is no view and no empty tensor; and what would wait."""

    FREE = ("empty", "new_empty", "detach", "lift_fresh", "alias", "_unsafe_view", "_record_function", "profiler")
    LOOKS = ("_local_scalar_dense", "_linalg_check_errors", "nonzero", "equal", "masked_select", "_unique")

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.looks: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        if name.startswith(self.LOOKS):
            self.looks[name] += 1
        elif not (function.is_view or name.startswith(self.FREE)):
            self.kernels[name] += 1
        return function(*args, **(kwargs or {}))


def kernels() -> dict[str, Any]:
    """What a step of 6C2F launches: loss and backward pass, without the optimizer. The same on every device."""
    size, found = sized(True, 0.0), {}
    net = size.build(name="6C2F")
    x, y = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    for name, objective in LOSSES.items():
        norm = SharedNorm(STEPS)
        objective(net, x, y, 0.75, norm)  # the vectors of the norms are there
        with Launches() as forward:
            loss = objective(net, x, y, 0.75, norm)
        with Launches() as backward:
            loss.backward()
        counts = {"forward": forward.kernels.total(), "backward": backward.kernels.total()}
        looks = forward.looks.total() + backward.looks.total()
        found[name] = counts | {"together": sum(counts.values()), "looks": looks}
    return found
