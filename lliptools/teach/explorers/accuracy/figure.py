"""What a bound buys: accuracies against the radius, and the test points one by one."""

import math

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.digits import radius_text
from lliptools.teach.explorers.accuracy.view import (
    CERTIFIED_POINT,
    MISCLASSIFIED,
    REFUTED_POINT,
    UNKNOWN,
    UNPROVED_POINT,
    AccuracyView,
)
from lliptools.teach.shared.panels import HIDDEN, Panels, Spec, array, categories, legend, named
from lliptools.teach.shared.style import CERTIFIED, INK, REFUTED, UNPROVED

HEIGHT, TOP, WALL = 640, (0.53, 0.93), (0.0, 0.4)
CURVES, BARS = (0.0, 0.52), (0.68, 1.0)
# Of the networks: none that says what is proved or refuted.
COLORS = ("#000000", "#E69F00", "#0072B2", "#56B4E9", "#8C6D31")
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")  # and none is dotted, as what is attacked
ACROSS = 14  # pictures a row of the wall
# What is known of a point: word, sign, frame.
FRAMES: dict[int, tuple[str, str, Spec]] = {
    CERTIFIED_POINT: ("certified", "✔", {"color": CERTIFIED, "width": 3.5, "dash": "solid"}),
    UNPROVED_POINT: ("not certified", "?", {"color": UNPROVED, "width": 3, "dash": "dash"}),
    REFUTED_POINT: ("refuted", "✘", {"color": REFUTED, "width": 3, "dash": "dot"}),
    MISCLASSIFIED: ("misclassified", "≠", {"color": INK, "width": 1.5, "dash": "solid"}),
    UNKNOWN: ("not computed yet", "…", {"color": "#BBBBBB", "width": 1, "dash": "solid"}),
}
# A frame's corners; what is refuted is struck through as well.
SQUARE = ([-0.5, 0.5, 0.5, -0.5, -0.5, None], [-0.5, -0.5, 0.5, 0.5, -0.5, None])
STRUCK = ([*SQUARE[0], -0.5, 0.5, None], [*SQUARE[1], 0.5, -0.5, None])


def accuracy(
    view: AccuracyView, name: str, eps: float, eps_max: float, wall: Tensor, plane: Tensor | None
) -> go.Figure:
    """Several networks on the same points; one of them, by name, point by point.

    * top left: certified accuracy against the radius, one curve per network, and attacked accuracy of the chosen one
    * top right: clean, attacked and certified accuracy of all at radius eps
    * bottom: the first points, framed by what is known of them

    wall: (count, rows, columns) pictures. plane: (count, 2) points to draw in their plane instead.
    """
    panels = Panels(HEIGHT, margin={"l": 56, "r": 16, "t": 46, "b": 28}, showlegend=True, legend=legend(0.0, 1.0))
    _curves(panels, view, name, eps, eps_max)
    _bars(panels, view, name, eps)
    _wall(panels, view, name, eps, wall, plane)
    return panels.figure()


def _curves(panels: Panels, view: AccuracyView, name: str, eps: float, eps_max: float) -> None:
    across = {"range": [0, eps_max], "title": "radius ε, input units", "nticks": 6}
    panels.open(CURVES, TOP, "certified against radius", across, {"range": [0, 1.02], "title": "fraction of points"})
    for k, each in enumerate(view.names):
        x, y = view.curve(each, "certified", eps_max) if view.ready(each) else ([None], [None])
        look = {"color": COLORS[k % len(COLORS)], "dash": DASHES[k % len(DASHES)], "width": 3.5 if each == name else 2}
        panels.add("scatter", mode="lines", x=x, y=y, line=look, **named(each))
    x, y = view.curve(name, "attacked", eps_max) if name in view.broken else ([None], [None])
    look = {"color": REFUTED, "width": 1.5, "dash": "dot"}
    panels.add("scatter", mode="lines", x=x, y=y, line=look, **named(f"{name}, attacked"))
    panels.line([eps, eps], [0, 1.02], color=INK, width=1, dash="dot")


def _bars(panels: Panels, view: AccuracyView, name: str, eps: float) -> None:
    down = categories([f"<b>{each}</b>" if each == name else each for each in view.names], down=True, ticks="")
    title = "■ certified  ▨ attacked  □ clean"
    across = {"range": [0, 1.02], "nticks": 6, "title": f"fraction of points at ε = {radius_text(eps, 3)}"}
    panels.open(BARS, TOP, title, across, down)
    every = [view.accuracy(each, eps) for each in view.names]
    looks = (("clean", "#FFFFFF", ""), ("attacked", "#FFFFFF", "/"), ("certified", CERTIFIED, ""))
    for at, (what, color, hatch) in enumerate(looks):
        values, width = [each[at] for each in every], 0.7 - 0.14 * at
        place: Spec = {"flat": True, "width": width, "offset": -width / 2}
        panels.bars(down["tickvals"], values, color, hatch, f"{what}: %{{x:.3f}}", stroke=REFUTED, **place)


def _wall(panels: Panels, view: AccuracyView, name: str, eps: float, wall: Tensor, plane: Tensor | None) -> None:
    states = array(view.states(name, eps))
    counts = [(word, sign, int((states == code).sum())) for code, (word, sign, _) in FRAMES.items()]
    title = f"{name}: " + " · ".join(f"{sign} {word} {many}" for word, sign, many in counts if many)
    shown = len(wall) if plane is None else len(plane)
    states = states[:shown]
    places = _pictures(panels, title, wall) if plane is None else _points(panels, title, array(plane))
    for code, (word, sign, line) in FRAMES.items():
        here = np.flatnonzero(states == code)
        if plane is None:
            corners = STRUCK if code == REFUTED_POINT else SQUARE
            x = [None if c is None else places[k][0] + 0.94 * c for k in here for c in corners[0]]
            y = [None if c is None else places[k][1] + 0.94 * c for k in here for c in corners[1]]
            panels.line(x or [None], y or [None], **line)
        up = 0.0 if plane is not None else 0.68
        x, y = [places[k][0] for k in here] or [None], [places[k][1] + up for k in here] or [None]
        said = [f"point {k}: {word}" for k in here] or None
        signs = [f"<b>{sign}</b>"] * max(len(here), 1)
        panels.texts(x, y, signs, "%{hovertext}", size=12, color=line["color"], hovertext=said)


def _pictures(panels: Panels, title: str, wall: Tensor) -> list[tuple[float, float]]:
    """All pictures as one, row by row; the places of their centres."""
    count, tall, wide = wall.shape
    rows = math.ceil(count / ACROSS)
    pitch_x, pitch_y = 1.0 / wide, 1.0 / tall
    gap, below = max(1, wide // 8), max(2, tall // 2)
    mosaic = np.full((rows * (tall + below), ACROSS * (wide + gap)), np.nan)
    places = []
    for k in range(count):
        row, column = divmod(k, ACROSS)
        top, left = row * (tall + below), column * (wide + gap)
        mosaic[top : top + tall, left : left + wide] = array(wall[k])
        places.append(((left + (wide - 1) / 2) * pitch_x, (top + (tall - 1) / 2) * pitch_y))
    across = {**HIDDEN, "range": [-1.2 * pitch_x - 0.04, (mosaic.shape[1] - 0.5) * pitch_x]}
    panels.open((0.0, 1.0), WALL, title, across, {**HIDDEN, "range": [(mosaic.shape[0] - 0.5) * pitch_y, -0.12]})
    panels.heat(mosaic, [[0, "#FFFFFF"], [1, "#777777"]], 1, x0=0, dx=pitch_x, y0=0, dy=pitch_y)
    return places


def _points(panels: Panels, title: str, plane: np.ndarray) -> list[tuple[float, float]]:
    down = {"scaleanchor": "x3", "constrain": "domain", "nticks": 5}
    panels.open((0.0, 1.0), WALL, title, {"nticks": 8}, down)
    panels.heat([[None]], [[0, "#FFFFFF"], [1, "#777777"]], 1)
    return [(float(x), float(y)) for x, y in plane]
