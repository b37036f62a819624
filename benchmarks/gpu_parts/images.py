"""Images of CIFAR-10 in a file that is taken along to a GPU."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

import lliptools as ll
from gpu_parts.size import Size, sized
from lliptools.training import Split

PACKED = Path(__file__).parents[1] / "data" / "cifar10.npz"
TRAINED = 12_000  # images that are packed to train on


def pack(path: Path) -> None:
    """The first images of CIFAR-10 of LLIPTOOLS_DATA in one file."""
    data, parts = ll.training.cifar10(), []
    for part, count in (("train", TRAINED), ("test", sized(False, 0.0).test)):
        parts += [each[:count].numpy() for each in data.stored(part)]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, *parts)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MB")


def unpacked(path: Path) -> Split:
    """What pack wrote."""
    with np.load(path) as found:
        return Split(*(torch.from_numpy(found[name]) for name in found.files))


@cache
def loaded(size: Size) -> Split:
    """CIFAR-10 on the device, as packed or from LLIPTOOLS_DATA; noise in the rehearsal."""
    if size.toy:
        torch.manual_seed(0)
        x, y = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (16,))
        return Split(x, y, x[: size.test], y[: size.test])
    return (unpacked(PACKED) if PACKED.exists() else ll.training.cifar10()).to(size.device)
