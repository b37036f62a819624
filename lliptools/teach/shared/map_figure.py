"""A point as it is: the map of a network with two inputs around it, or the point as a picture."""

import math

import numpy as np
from torch import Tensor

from lliptools.teach.shared.panels import BARE, Panels, Span, array
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.style import GREYS, INK, TINTS


def decision_map(
    panels: Panels, across: Span, up: Span, title: str, plane: Plane, *lines: tuple[np.ndarray, str]
) -> float:
    """Open a panel with the classes of the plane and their border; returns its width, in units of the input.

    lines: what is drawn below the border, (pixels, pixels) bool and a colour.
    """
    code = (array(plane.classes) % len(TINTS)).astype(np.uint8)
    for number, (where, _) in enumerate(lines, start=len(TINTS)):
        code[where] = number
    steps = [*TINTS, *(color for _, color in lines)]
    scale = [[edge / len(steps), color] for k, color in enumerate(steps) for edge in (k, k + 1)]
    x, y = array(plane.x0), array(plane.x1)
    left, top = ({"range": [side[0], side[-1]], "nticks": 6} for side in (x, y))
    panels.square(across, up, title, left, top)
    # hoverinfo "none" and not "skip": a click on the map is still answered.
    panels.heat(code, scale, len(steps), x=x, y=y, hoverinfo="none")
    panels.line(*array(plane.border).T, color=INK, width=1.5, simplify=False)
    return float(x[-1] - x[0])


def name_classes(panels: Panels, plane: Plane) -> None:
    """Write the name of every class into its region."""
    places, heights = zip(*plane.labels.values(), strict=True)
    panels.texts(places, heights, [f"<b>class {label}</b>" for label in plane.labels])


def picture(panels: Panels, across: Span, up: Span, title: str, point: Tensor, strip: Span | None = None) -> None:
    """The point as a picture: one channel in grey, three in colour, several side by side, numbers as a square or strip.

    strip: where that stands.
    """
    pixels = _pixels(array(point.double()))
    flat, frame = len(pixels) == 1, {"mirror": True, **BARE}
    up = strip if flat and strip else up
    panels.square(across, up, title, frame, {"autorange": "reversed", **frame}, scaled=not flat)
    if pixels.ndim == 3:
        low, high = min(pixels.min(), 0.0), max(pixels.max(), 1.0)  # rescaled only where some are not in [0, 1]
        colors = (255 * (pixels - low) / (high - low)).round().astype(np.uint8)
        panels.add("image", "pixel %{y}, %{x}: %{z}", z=colors)
    else:
        panels.heat(pixels, GREYS, hover="pixel %{y}, %{x}: %{z:.3f}")


def _pixels(point: np.ndarray) -> np.ndarray:
    """(height, width) or (height, width, 3)."""
    if point.ndim == 3 and len(point) == 3:
        return point.transpose(1, 2, 0)
    if point.ndim >= 2:
        return np.concatenate(point.reshape(-1, *point.shape[-2:]), axis=1)
    side = math.isqrt(point.size)
    return point.reshape((side, side) if side * side == point.size else (1, -1))
