"""How large everything is, and the losses that are compared."""

from dataclasses import dataclass

import torch
from torch import nn

import lliptools as ll
from lliptools.training import Certified, Clean, Objective

EPS = 36 / 255
STEPS = 2  # of the norms, as the paper's code has them

LOSSES: dict[str, Objective] = {
    "cross-entropy": Clean(),
    "global": Certified(EPS, bound="global"),
    "local": Certified(EPS),
    "local + sparsity": Certified(EPS, sparsity=0.1),
}


@dataclass(frozen=True)
class Size:
    """How large everything is: for a GPU, or for the rehearsal."""

    device: torch.device
    network: str
    batch: int
    repeats: int
    images: int  # of the epoch on MNIST
    test: int
    minutes: float
    toy: bool

    def build(self, shape: tuple[int, int, int] = (3, 32, 32), name: str | None = None) -> nn.Sequential:
        """The clipped network for images of a shape, on the device; the same weights each time."""
        torch.manual_seed(0)
        theta = 2.0 if shape[0] == 3 else 1.0
        net = ll.nets.cnn(name or self.network, shape, activation="clipped_relu", theta=theta)
        return net.to(self.device)


def sized(toy: bool, minutes: float) -> Size:
    """The sizes of a run."""
    if toy:
        return Size(torch.device("cpu"), "2C1F", 4, 2, 32, 8, minutes, True)
    return Size(torch.device("cuda"), "6C2F", 256, 20, 60_000, 1000, minutes, False)
