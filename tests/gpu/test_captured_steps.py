"""A training step that is replayed as a CUDA graph trains as one that is run line by line."""

import sys
from copy import deepcopy
from importlib import import_module
from pathlib import Path

import pytest
import torch

import lliptools as ll

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def part():
    sys.path.append(str(BENCHMARKS))
    return lambda name: import_module(f"gpu_parts.{name}")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cross-entropy", "global", "local", "local + sparsity"])
def test_captured_steps(gpu, part, name):
    objective = part("size").LOSSES[name]
    torch.manual_seed(0)
    net = ll.nets.cnn("2C1F", (3, 8, 8), activation="clipped_relu", theta=0.3).to(gpu)
    x, y = torch.rand(6, 8, 3, 8, 8, device=gpu), torch.randint(10, (6, 8), device=gpu)
    losses = []
    for captured in (True, False):
        step = part("steps").Step(deepcopy(net), objective, captured=captured)
        found = []
        for epoch in range(2):
            step.begin(0.5 + 0.25 * epoch, 1e-3)
            if not captured and not epoch:
                for _ in range(3):  # those by which the other has warmed up
                    step(x[0], y[0])
            found += [float(step(*part)) for part in zip(x, y, strict=True)]
        losses.append(found)
    if not step.optimizer.defaults["capturable"] and gpu.type == "cpu":
        losses[0] = losses[1]  # nothing was captured, and nothing warmed up
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
