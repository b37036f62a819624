"""The graph of an ONNX file, as onnx's reference evaluator runs it, held against the layers that it was read as."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.nets.difference import SCALES
from lliptools.nets.onnx_graph import OnnxGraph

NEAR = 2e-6  # of the largest number on the way: options of nodes are float32, and onnx rounds their defaults so


def difference(graph: OnnxGraph, net: nn.Sequential, shape: tuple[int, ...]) -> str:
    """What tells a graph from what it was read as, on samples of several scales; "" where nothing does."""
    generator, compared = torch.Generator("cpu").manual_seed(0), 0
    for scale in SCALES:
        x = scale * torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        with torch.no_grad():
            found = graph.values(x)
            wanted, last = graph.referred(found), net(x)
        if not np.isfinite(wanted[graph.wanted]).all():
            continue
        compared += 1
        sizes = [np.abs(value[np.isfinite(value)]).max(initial=0.0) for value in wanted.values() if _floating(value)]
        near = NEAR * max(sizes)
        for node in graph.moving():
            for name in node.output:
                if name in found and name in wanted and not _alike(found[name], wanted[name], near):
                    return f"the ONNX operator {node.op_type}, whose output {name} is another one of onnx's own,"
        if not _alike(last, wanted[graph.wanted], near):
            return "a graph that computes something else than the layers it was read as,"
    return "" if compared else "a graph whose outputs are not finite,"


def _floating(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"


def _alike(found: Any, wanted: Any, near: float) -> bool:
    """Whether two results are of one shape, and as near each other; infinite and NaN ones agree with themselves."""
    found = found.numpy() if isinstance(found, Tensor) else np.asarray(found)
    if found.shape != np.shape(wanted):
        return False
    with np.errstate(all="ignore"):
        return bool(np.isclose(found, wanted, rtol=0.0, atol=near, equal_nan=True).all())
