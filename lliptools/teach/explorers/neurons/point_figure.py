"""A point as it is: a picture, colours included, a strip of numbers, or a place in the plane."""

import math

import numpy as np

from lliptools.teach.explorers.neurons.view import NeuronView
from lliptools.teach.shared.panels import Panels, Span, array
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.style import CERTIFIED, INK, KINK, LOCAL, TINTS, UNPROVED

__all__ = ["decision_plane", "picture"]


def picture(panels: Panels, across: Span, up: Span, view: NeuronView) -> None:
    """The point as a picture: one channel in grey, three in colour, numbers as a square or a strip."""
    pixels = _pixels(array(view.point))
    frame = {"constrain": "domain", "mirror": True, "ticks": "", "showticklabels": False}
    left = {"constraintoward": "left", **frame}
    down = {"autorange": "reversed", "constraintoward": "top", **frame}
    square = {"scaleanchor": "x"} if pixels.shape[0] > 1 else {}
    panels.open(across, up, _title(view), left, {**down, **square})
    if pixels.ndim == 3:
        hover = "pixel %{y}, %{x}: %{z}<extra></extra>"
        panels.add("image", z=(255 * _unit(pixels)).round().astype(np.uint8), hovertemplate=hover)
    else:
        hover = "pixel %{y}, %{x}: %{z:.3f}<extra></extra>"
        panels.add("heatmap", z=pixels, colorscale="Greys", showscale=False, hovertemplate=hover)


def _pixels(point: np.ndarray) -> np.ndarray:
    """(height, width) or (height, width, 3)."""
    if point.ndim == 3 and len(point) == 3:
        return point.transpose(1, 2, 0)
    if point.ndim >= 2:  # a picture; maps of several channels lie side by side
        return np.concatenate(point.reshape(-1, *point.shape[-2:]), axis=1)
    side = math.isqrt(point.size)
    return point.reshape((side, side) if side * side == point.size else (1, -1))


def _unit(values: np.ndarray) -> np.ndarray:
    """In [0, 1], rescaled only where some are not."""
    low, high = min(values.min(), 0.0), max(values.max(), 1.0)
    return (values - low) / (high - low)


def decision_plane(panels: Panels, across: Span, up: Span, view: NeuronView, plane: Plane, index: int) -> None:
    """The point in the plane, classes and kinks around it, the ball, and the certified ball."""
    kinked, moving = (array(lines) for lines in view.kinks(plane, index))
    code = (array(plane.classes) % len(TINTS)).astype(np.uint8)
    code[kinked] = len(TINTS)
    code[moving] = len(TINTS) + 1
    code[array(plane.border)] = len(TINTS) + 2
    steps = [*TINTS, KINK, LOCAL, INK]
    scale = [[edge / len(steps), color] for k, color in enumerate(steps) for edge in (k, k + 1)]
    x, y = array(plane.x0), array(plane.x1)
    left = {"range": [x[0], x[-1]], "constrain": "domain", "constraintoward": "left", "nticks": 6}
    top = {"range": [y[0], y[-1]], "scaleanchor": "x", "constrain": "domain", "constraintoward": "top", "nticks": 6}
    panels.open(across, up, _title(view), left, top)
    look = {"colorscale": scale, "zmin": 0, "zmax": len(steps), "showscale": False, "hoverinfo": "skip"}
    panels.add("heatmap", x=x, y=y, z=code, **look)
    angle = np.linspace(0, 2 * np.pi, 73)
    center, circle = array(view.point)[:, None], np.stack([np.cos(angle), np.sin(angle)])
    # A radius beyond the picture would only be drawn over the other panels.
    dotted = center + min(view.radius, 10.0 * float(x[-1] - x[0])) * circle
    panels.line(*dotted, color=INK, width=1.5, dash="dot")
    certified = view.certified(index)
    disc = center + float(view.radii[index]) * circle
    panels.line(*disc, color=CERTIFIED if certified else UNPROVED, width=3, dash="solid" if certified else "dash")
    cross = {"color": INK, "size": 6, "symbol": "x-thin-open", "line": {"width": 1.5}}
    panels.add("scatter", mode="markers", x=center[0], y=center[1], marker=cross, hoverinfo="skip")
    places, heights = zip(*plane.labels.values(), strict=True)
    names = [f"<b>class {label}</b>" for label in plane.labels]
    panels.add(
        "scatter", mode="text", x=places, y=heights, text=names, textfont={"size": 13, "color": INK}, hoverinfo="skip"
    )


def _title(view: NeuronView) -> str:
    return f"label {view.label}, predicted {view.predicted}{'' if view.predicted == view.label else ' (wrong)'}"
