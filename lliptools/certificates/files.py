"""Certificates as files that another program can check: checker.py, or anybody's that follows its first page."""

import json
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.bounds import Bound, errs, exact_norm, local_bound, outward_rounding
from lliptools.bounds.reading import read
from lliptools.certificates.certificate import certify
from lliptools.certificates.margins import largest_change
from lliptools.checker import CLAIM, FORMAT, Refused, check
from lliptools.domains import Box
from lliptools.domains.center import Center, at_center
from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets import Block, LinearMap, check_input
from lliptools.nets.operators import Dense

__all__ = ["certificate", "is_network_of"]

RAISED = 1e-6  # how much above its value a norm is claimed, relatively, so that short numbers prove it
AT_ONCE = 64  # points


@torch.inference_mode(False)  # multipliers are found by a gradient
def certificate(net: nn.Module, x: Tensor, y: Tensor, eps: float | Tensor, name: str = "") -> tuple[str, Tensor]:
    """The text of a certificate file, and which points it holds: those that certify and that the checker accepts.

    * net: a chain of dense layers and ReLU or ClippedReLU. name: of the network, for the reader.
    * x: (batch, *sample), y: (batch,) integers, eps: a number or (batch,), in the units of x.
    * Returns the text and (batch,) bool. The proof has norms 1e-6 larger, which may take the rest of a margin.

    Raises UnsupportedLayer for other networks, and InvalidInput where no point is left.
    Source: Huang et al. (NeurIPS 2021); lliptools/checker.py says what is proved and how.
    """
    blocks = read(net, x)
    file = {"format": FORMAT, "claim": CLAIM, "name": name, "network": _network(blocks)}
    found, points = certify(net, x, y, eps, centred=False), []
    held, y = found.holds, y.to(found.holds.device, torch.int64)
    for index in held.nonzero()[:, 0].split(AT_ONCE) if held.any() else ():
        for k, point in zip(index.tolist(), _points(net, blocks, x[index], y[index], found.eps[index]), strict=True):
            try:
                check(spelled(file | {"points": [point]}))
                points.append(point)
            except Refused:
                held[k] = False
    if not points:
        cause = "a radius beyond what the local bound proves, wrong labels, or a network with one output"
        step = "choose a smaller radius, for example below lliptools.certified_radius"
        raise InvalidInput(f"a point that certifies at eps = {eps!r:.80}", f"none of {len(x)}", cause, step)
    return spelled(file | {"points": points}) + "\n", held


def is_network_of(text: str | bytes, net: nn.Module) -> bool:
    """Whether a checked certificate file has net's weights exactly. Raises UnsupportedLayer and InvalidInput."""
    file = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    x = torch.tensor([[float(value) for value in point["x"]] for point in file["points"]], dtype=torch.float64)
    return file["network"] == _network(read(net, x))


def _network(blocks: tuple[Block, ...]) -> list[dict[str, Any]]:
    """The layers, every number exact."""
    *hidden, last = blocks
    return [*(_layer(block, _thetas(block)) for block in hidden), _layer(last, [])]


def _thetas(block: Block) -> list[float] | None:
    """The upper thresholds, one per unit; None for an activation that does not clip from 0 to one."""
    if block.activation is None or not block.activation.elementwise:
        return None
    like = block.linear.bias.detach().double().expand(block.linear.out_shape)
    limits = (torch.as_tensor(limit, dtype=like.dtype) for limit in block.activation.thresholds(like))
    low, high = (limit.expand_as(like).flatten() for limit in limits)
    return high.tolist() if not low.any() else None


def _layer(block: Block, thetas: list[float] | None) -> dict[str, Any]:
    linear = block.linear
    plain = len(linear.operators) == 1 and isinstance(linear.operators[0], Dense) and not linear.layers
    # Where a layer has computed its own weights, they are rounded.
    rounded = linear.relative_error or torch.as_tensor(linear.bias_error).any()
    if not plain or block.inner or rounded or isfinite(linear.lipschitz) or thetas is None:
        expected = "layers of torch.nn.Linear, and ReLU, ReLU6 or ClippedReLU between each two of them"
        got = f"{block.activation} after {[type(each).__name__ for each in linear.layers or linear.operators]}"
        cause = "a network whose certificates lliptools.certify can give, but not write into a file"
        step = "certify it without a file, or merge its consecutive linear layers into one"
        raise UnsupportedLayer(expected, got, cause, step)
    bias = linear.bias.expand(linear.out_shape).flatten()
    theta = [None if top == torch.inf else Decimal(top) for top in thetas]
    return {"weight": _decimals(linear.weight.tolist()), "bias": _decimals(bias.tolist()), "theta": theta}


def _points(net: nn.Module, blocks: tuple[Block, ...], x: Tensor, y: Tensor, eps: Tensor) -> list[dict[str, Any]]:
    """A proof for each point, which may fall short: the local bound's own numbers."""
    with torch.no_grad(), outward_rounding():
        found = local_bound(net, x, eps, norm=_raised)
        center = check_input(net, x)
        values = at_center(blocks, Center.exact(center))
        margin, multiplier = _last_layer(found, center, values, y)
    others = torch.arange(margin.shape[1], device=y.device) != y[:, None]
    return [
        {
            "x": _decimals(center[k].tolist()),
            "label": label,
            "eps": Decimal(radius),
            "hidden": [_step(found, at, k) for at in range(len(found.blocks) - 1)],
            "margins": [Decimal(f"{m:.9g}") for m in margin[k][others[k]].tolist()],
            "multipliers": [Decimal(f"{t:.9g}") for t in multiplier[k][others[k]].tolist()],
        }
        for k, (label, radius) in enumerate(zip(y.tolist(), eps.tolist(), strict=True))
    ]


@errs("upper", encloses=True)
def _raised(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    return exact_norm(linear, row_slope, column_slope) * (1 + RAISED)


def _step(found: Bound, at: int, k: int) -> dict[str, Any]:
    block = found.blocks[at]
    varies = block.slope[k].flatten() > 0
    columns = found.blocks[at - 1].slope[k].flatten() > 0 if at else slice(None)
    norm = block.norm[k].item()
    return {
        "lower": _decimals(block.box.lower[k].flatten().tolist()),
        "upper": _decimals(block.box.upper[k].flatten().tolist()),
        "varies": varies.tolist(),
        "norm": Decimal(norm),
        "factor": _factor(block.linear.weight[varies][:, columns].cpu().numpy(), norm),
        "radius": Decimal(found.blocks[at + 1].radius[k].item()),
    }


def _factor(matrix: Any, norm: float) -> list[list[Decimal]]:
    """L with norm² I − M Mᵀ = L Lᵀ + R and R diagonally dominant, in decimals that are just long enough."""
    matrix = (matrix if len(matrix) <= matrix.shape[1] else matrix.T) / (norm or 1.0)
    count = len(matrix)
    # Half of what the norm was raised by is left for R, of which rounding the entries of L makes the rest.
    try:
        lower = np.linalg.cholesky((1 - RAISED) * np.eye(count) - matrix @ matrix.T) * norm
    except np.linalg.LinAlgError:  # a norm so small that rounding has lowered it: there is no proof
        lower = np.zeros((count, count))
    places = max(0, (count / Decimal(RAISED) / Decimal(norm)).adjusted() + 1) if norm else 0
    return [[Decimal(f"{entry:.{places}f}") for entry in row[: k + 1]] for k, row in enumerate(lower.tolist())]


def _last_layer(found: Bound, center: Tensor, values: list[Center], y: Tensor) -> tuple[Tensor, Tensor]:
    """The margins over the ball and the multipliers that prove them: (batch, classes) each, of no use at j = y."""
    weight = found.blocks[-1].linear.weight
    at_x = values[-2].value.flatten(1) if len(values) > 1 else center
    box = found.blocks[-2].output if len(values) > 1 else Box.of_ball(center, found.eps)
    margin = (values[-1].value - values[-1].doubt).gather(1, y[:, None]) - values[-1].value - values[-1].doubt
    # One row for each point and class from here on.
    below, above, radius = (
        each.repeat_interleave(len(weight), dim=0)
        for each in (box.lower.flatten(1) - at_x, box.upper.flatten(1) - at_x, found.blocks[-1].radius)
    )
    direction = (weight - weight[y][:, None]).flatten(0, 1)
    size = direction.square().sum(dim=1)

    # The largest change grows with the radius by radius / multiplier, and not at all where the box lies in the ball.
    ball = radius.clone().requires_grad_()
    with torch.enable_grad():
        (growth,) = torch.autograd.grad(largest_change(direction[:, None], ball, -below, above).sum(), ball)
    nearest = torch.where(radius > 0, radius / size.sqrt(), 1e-9 * margin.flatten() / size)
    nearest = torch.where(nearest.isfinite() & (nearest > 0), nearest, 1.0)
    multiplier = torch.where(growth > 0, torch.maximum(radius / growth, nearest), nearest * 2.0**60)
    moved = torch.minimum(torch.maximum(multiplier[:, None] * direction, below), above)
    most = radius.square() + (moved * (2 * multiplier[:, None] * direction - moved)).sum(dim=1)
    proved = (margin - (most / (2 * multiplier)).view_as(margin)) * (1 - RAISED)
    return proved, multiplier.view_as(margin)


def _decimals(numbers: Any) -> Any:
    return [_decimals(each) if isinstance(each, list) else Decimal(each) for each in numbers]


def spelled(value: Any) -> str:
    """JSON with all digits: one line for a list of numbers."""
    if isinstance(value, dict):
        return "{" + ",\n".join(f"{json.dumps(key)}: {spelled(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + (",\n" if value and isinstance(value[0], dict | list) else ", ").join(map(spelled, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value)
