"""What a training step costs, run by torch line by line and replayed as a CUDA graph."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from common import timed
from torch import Tensor, nn

import lliptools as ll
from gpu_parts.size import LOSSES, STEPS, Size
from lliptools.training import Objective, SharedNorm
from lliptools.training.loop import SMALLEST_THETA

COMMAND = Path(__file__).parents[1] / "gpu.py"


class Step:
    """A training step on batches of one size; captured as a CUDA graph, anew after each `begin`, where it is asked for.

    A graph holds radius and learning rate as they are when it is captured, so that each epoch has its own.
    """

    def __init__(self, net: nn.Sequential, objective: Objective, *, captured: bool, steps: int = STEPS) -> None:
        self.net, self.objective, self.norm = net, objective, SharedNorm(steps)
        self.captured = captured and next(net.parameters()).is_cuda
        self.optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.0, capturable=self.captured)
        self.thresholds = [layer.theta for layer in net if isinstance(layer, ll.nets.ClippedReLU)]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm = False

    def begin(self, progress: float, rate: float) -> None:
        """What the next batches are trained with."""
        self.progress, self.graph = progress, None
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on a batch; the loss before it, 0-dim, good until the next call."""
        if not self.captured:
            return self._step(x, y)
        if self.graph is None:
            self._capture(x, y)
        self.x.copy_(x)
        self.y.copy_(y)
        assert self.graph is not None
        self.graph.replay()
        return self.loss

    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.net, x, y, self.progress, self.norm)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for theta in self.thresholds:
                theta.clamp_(min=SMALLEST_THETA)
        return loss.detach()

    def _capture(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x.clone(), y.clone()
        if not self.warm:  # once, on a stream of its own: what libraries set up must not be captured
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    self._step(self.x, self.y)
            torch.cuda.current_stream().wait_stream(aside)
            self.warm = True
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss = self._step(self.x, self.y)
        self.graph = graph


def milliseconds(run: Callable[[], object], size: Size) -> float:
    """The median of some runs, after three that are not counted."""
    return 1000 * timed(run, size.repeats, warm=3)


def batch(size: Size) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    torch.manual_seed(1)
    return torch.rand(size.batch, 3, 32, 32, device=size.device), torch.randint(10, (size.batch,), device=size.device)


def one_step(size: Size, loss: str, *, captured: bool = False) -> Callable[[], Tensor]:
    """A step that can be repeated: its learning rate is 0."""
    step, (x, y) = Step(size.build(), LOSSES[loss], captured=captured), batch(size)
    step.begin(1.0, 0.0)
    return lambda: step(x, y)


def eager_rows(size: Size) -> Iterator[dict[str, Any]]:
    """Steps as torch runs them line by line."""
    net, (x, _) = size.build(), batch(size)
    yield {"loss": "forward pass", "way": "eager", "ms": milliseconds(torch.no_grad()(lambda: net(x)), size)}
    yield from ({"loss": name, "way": "eager", "ms": milliseconds(one_step(size, name), size)} for name in LOSSES)


def graph_rows(size: Size) -> Iterator[dict[str, Any]]:
    """Steps replayed as a CUDA graph, and whether that computes what the eager step does."""
    if not size.toy:
        net, (x, _) = size.build(), batch(size)
        graph = torch.cuda.CUDAGraph()
        with torch.no_grad():
            net(x)
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                net(x)
        yield {"loss": "forward pass", "way": "CUDA graph", "ms": milliseconds(graph.replay, size)}
    for name in LOSSES:
        row: dict[str, Any] = {"loss": name, "way": "eager, for a CUDA graph" if size.toy else "CUDA graph"}
        try:
            captured, eager = one_step(size, name, captured=True), one_step(size, name)
            for _ in range(3):  # the captured one has done three steps to warm up
                eager()
            row["ms"] = milliseconds(captured, size)
            for _ in range(size.repeats + 4):
                expected = eager()
            row["differs"] = abs(float(captured()) - float(expected)) / abs(float(expected))
        except Exception as error:
            row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
        yield row


def in_a_process(size: Size, limit: float) -> list[dict[str, Any]]:
    """graph_rows as a process of its own prints them: neither a crash nor a wait without end takes the run with it."""
    command = [sys.executable, str(COMMAND), "--graphs", *["--toy"] * size.toy]
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit)
        printed, failed = done.stdout, done.stderr.decode()[-600:] if done.returncode else ""
    except subprocess.TimeoutExpired as error:
        printed, failed = error.stdout or b"", f"not done after {limit:.0f} s"
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith(b"{") and line.endswith(b"}")]
    return rows + [{"loss": "all", "way": "CUDA graph", "failed": failed}] * bool(failed)


def steps(size: Size) -> dict[str, Any]:
    """What a step costs, in milliseconds and in plain forward passes."""
    rows = [*eager_rows(size)]
    print(*rows, sep="\n", flush=True)
    rows += in_a_process(size, 90.0)
    return {"rows": [row | ({"forward passes": row["ms"] / rows[0]["ms"]} if "ms" in row else {}) for row in rows]}
