"""What the browser is told of a run: its points, and one frame an epoch; and the colours of both."""

from typing import Any

import torch
from torch import Tensor

from lliptools.teach.explorers.playground.view import Epoch, Run
from lliptools.teach.shared.style import CERTIFIED, KINK, LOCAL, STATES, TINTS, UNPROVED, canvas_colors

LIGHT: dict[str, Any] = {"ground": "#FFFFFF", "quiet": "#5C5C5C", "line": "#C8C8C8", "kink": KINK}
LIGHT |= {"certified": CERTIFIED, "unproved": UNPROVED, "local": LOCAL}
LIGHT |= {"tints": TINTS[:2], "points": (LOCAL, STATES[1].color)}
DARK: dict[str, Any] = {"ground": "#171717", "quiet": "#A8A8A8", "line": "#4A4A4A", "kink": "#6C6C6C"}
DARK |= {"certified": "#00BD8A", "unproved": UNPROVED, "local": "#0086D1"}
DARK |= {"tints": ("#17304A", "#6A4A17"), "points": ("#56B4E9", STATES[1].color)}


def palette() -> list[dict[str, Any]]:
    """The colours of a light page and of a dark one."""
    light, dark = canvas_colors()
    return [light | LIGHT, dark | DARK]


def beginning(run: Run) -> tuple[dict[str, Any], list[bytes]]:
    """What stays the same: the layers, and as buffers the points and their classes."""
    first = run.settings
    told = {"sizes": [2, *first.hidden, 2], "activation": first.activation}
    return told, [run.x.cpu().float().numpy().tobytes(), run.y.cpu().byte().numpy().tobytes()]


def _float32(values: Tensor, towards: float) -> Tensor:
    """The values in float32, those that it does not have rounded to one side."""
    near = values.float()
    wrong = near.double() < values if towards else near.double() > values
    return torch.where(wrong, near.nextafter(torch.full_like(near, towards)), near)


def frame(epoch: Epoch) -> tuple[dict[str, Any], bytes]:
    """An epoch: what can be said in words, and its numbers in float32, upper bounds rounded up and radii down."""
    parameters = torch.cat([value.flatten() for value in epoch.state.values()]).float()
    bounds = _float32(torch.stack([epoch.local, epoch.centred]), torch.inf)
    discs, eps = (_float32(radii, 0.0) for radii in (epoch.discs, torch.tensor(epoch.eps, dtype=torch.float64)))
    head = {"number": epoch.number, "eps": eps.item(), "everywhere": epoch.everywhere, "curves": list(epoch.curves)}
    numbers = (parameters, bounds, discs, epoch.states)
    return {**head, "words": epoch.words(), "count": len(parameters)}, b"".join(n.numpy().tobytes() for n in numbers)
