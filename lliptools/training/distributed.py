"""Several processes as one: each takes its share of every batch, and all take the same step.

Gradients are summed after the backward pass, each weighted by its share: the gradient of the whole batch, for every
loss that is a mean over points. torch's DistributedDataParallel sums them by hooks of its own forward, which a bound
does not call, and averages over processes, while the shares of a batch differ in size.
The vectors of estimated norms (training.SharedNorm) are summed likewise.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from lliptools.errors import InvalidInput, UnsupportedLayer

PATIENCE = timedelta(hours=24)  # of processes that are done with their part of a table, for one that is not
T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes that train or measure one network, seen by one of them. Alone, every method does nothing."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> "Team":
        """That of torch.distributed where it is initialised, else a team of one."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def share(self, x: Tensor) -> Tensor:
        """This process's part of a batch, (batch, ...) -> (about batch/size, ...); it can be empty."""
        return x[self.rank :: self.size]

    def total(self, value: Tensor) -> Tensor:
        """The sum over the team, the same bits in every process. Any shape."""
        if self.size == 1:
            return value
        value = value.clone()
        distributed.all_reduce(value)
        return value

    def gathered(self, value: T) -> list[T]:
        """What every process of the team passes, in the order of their ranks. Anything that can be pickled."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # all of them have come

    @torch.no_grad()
    def adopted(self, value: Tensor) -> Tensor:
        """The tensor, overwritten by that of the process that leads."""
        if self.size > 1:
            distributed.broadcast(value, 0)
        return value

    @torch.no_grad()
    def total_gradients(self, parameters: Sequence[nn.Parameter], weight: float) -> None:
        """Replace each gradient by the team's sum of weight · gradient; one that no process has stays away."""
        if self.size == 1:
            return
        parts = [torch.zeros_like(p) if p.grad is None else weight * p.grad for p in parameters]
        used = torch.tensor([p.grad is not None for p in parameters]).to(parts[0])
        # One message for all: many small ones would cost more than their sums.
        summed = self.total(torch.cat([*(part.flatten() for part in parts), used]))
        *gradients, used = summed.split([*(p.numel() for p in parameters), len(parameters)])
        for parameter, gradient, wanted in zip(parameters, gradients, used.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if wanted else None

    def check(self, net: nn.Module) -> None:
        """Raise UnsupportedLayer for a network that makes of a share something else than of the whole batch."""
        for name, layer in net.named_modules():
            if self.size > 1 and isinstance(layer, nn.modules.batchnorm._BatchNorm):
                expected = "layers that treat every point by itself, with several processes"
                cause = "statistics of a batch, of which each process has a share"
                step = "train in one process, or without batch norm"
                raise UnsupportedLayer(expected, f"layer {name} ({type(layer).__name__})", cause, step)


def as_device(device: str | torch.device) -> torch.device:
    """The device, after a trial; "auto" is CUDA if there is one, else the CPU. Raises InvalidInput for one not here."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch raises all of them
        cause = str(error).strip().splitlines()[0].rstrip(".") or "a device that is not here"
        step = "`lliptools doctor` says which there are"
        expected = '"auto", or a device of this machine, as "cpu" or "cuda"'
        raise InvalidInput(expected, repr(device)[:80], cause, step) from error
    return found


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the processes of torchrun, if any (cpu: gloo, cuda: nccl); yields the own device. Raises InvalidInput."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield as_device(device)
        return
    on_gpu = device.startswith("cuda")
    own = as_device(f"cuda:{os.environ['LOCAL_RANK']}" if on_gpu else device)
    if on_gpu:
        torch.cuda.set_device(own)
    # When it is loaded, as it is by the first optimizer, this module makes the group of all a default of its functions.
    # Loaded after the group was made it would keep it alive, and the group's threads abort some processes at their end.
    import_module("torch.distributed.nn")
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield own
    finally:
        distributed.destroy_process_group()
