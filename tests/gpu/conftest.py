"""The device of these tests: a GPU, what stands in for one, and the second device that every machine has.

A test of the fixture `device` runs twice. As `cuda` it is marked gpu and skipped where there is none, unless
LLIPTOOLS_GPU_REHEARSAL=1 puts the CPU in its place. As `second` it runs everywhere, on second_device.SECOND.
"""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))

from second_device import SECOND, second_device

REHEARSAL = "LLIPTOOLS_GPU_REHEARSAL"


def there() -> torch.device:
    """CUDA, or the CPU in its place."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get(REHEARSAL) == "1":
        return torch.device("cpu")
    pytest.skip(f"no CUDA device here; {REHEARSAL}=1 runs these tests with the CPU in its place")


@pytest.fixture
def gpu():
    """For what the second device cannot do."""
    return there()


@pytest.fixture(params=[pytest.param("cuda", marks=pytest.mark.gpu), "second"])
def device(request):
    if request.param == "cuda":
        yield there()
        return
    with second_device():
        yield SECOND


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)
