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
from lliptools.teach.shared.panels import HIDDEN, Panels, Spec, array, categories
from lliptools.teach.shared.style import CERTIFIED, GREYS, INK, REFUTED, UNPROVED
from lliptools.teach.shared.words import shortened

HEIGHT, LEFT, WALL = 470, (0.0, 0.42), (0.5, 1.0)
CURVES, BARS = (0.52, 1.0), (0.0, 0.31)
# Of the networks: none that says what is proved or refuted.
COLORS = ("#000000", "#E69F00", "#0072B2", "#56B4E9", "#8C6D31")
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")  # and none is dotted, as what is attacked
ACROSS, DOWN = 7, 6  # pictures a row of the wall, and rows that it has room for
NAMED = 12  # letters of a name that find room beside its curve
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
    * bottom left: clean, attacked and certified accuracy of all at radius eps
    * right: the first points, framed by what is known of them

    wall: (count, rows, columns) pictures. plane: (count, 2) points to draw in their plane instead.
    """
    panels = Panels(HEIGHT, margin={"l": 64, "r": 8, "t": 22, "b": 42})
    _curves(panels, view, name, eps, eps_max)
    _bars(panels, view, name, eps)
    _wall(panels, view, name, eps, wall, plane)
    return panels.figure()


def _curves(panels: Panels, view: AccuracyView, name: str, eps: float, eps_max: float) -> None:
    """The curves, each with its name at its end."""
    across = {"range": [0, 1.28 * eps_max], "title": "radius ε, input units", "nticks": 6}
    panels.open(LEFT, CURVES, "certified, by radius", across, {"range": [0, 1.02], "nticks": 5})
    curves = [view.curve(each, "certified", eps_max) if view.ready(each) else None for each in view.names]
    curves.append(view.curve(name, "attacked", eps_max) if name in view.broken else None)
    lines: list[Spec] = [{"color": color, "dash": dash, "width": 2} for color, dash in zip(COLORS, DASHES, strict=True)]
    looks = [{**lines[k % len(lines)], "width": 3.5 if each == name else 2} for k, each in enumerate(view.names)]
    looks.append({"color": REFUTED, "width": 1.5, "dash": "dot"})
    names = [*view.names, "attacked"]
    places = _apart([curve[1][-1] if curve else 0.0 for curve in curves])
    for each, curve, line, place in zip(names, curves, looks, places, strict=True):
        panels.add("scatter", f"{each}: %{{y:.3f}}", mode="lines", name=each, line=line, **_points_of(curve))
        bold = f"<b>{shortened(each, NAMED)}</b>" if each == name else shortened(each, NAMED)
        style: Spec = {"textposition": "middle right", "cliponaxis": False}
        panels.texts([1.02 * eps_max], [place], [bold if curve else ""], size=11, color=line["color"], **style)
    panels.line([eps, eps], [0, 1.02], color=INK, width=1, dash="dot")


def _points_of(curve: tuple[list[float], list[float]] | None) -> Spec:
    return {"x": curve[0], "y": curve[1]} if curve else {"x": [None], "y": [None]}


def _apart(heights: list[float], gap: float = 0.075) -> list[float]:
    """The heights, moved up where names would lie on each other."""
    places, below = list(heights), 0.04 - gap  # above the axis
    for k in sorted(range(len(heights)), key=lambda k: heights[k]):
        places[k] = below = max(heights[k], below + gap)
    return places


def _bars(panels: Panels, view: AccuracyView, name: str, eps: float) -> None:
    short = {each: shortened(each, NAMED) for each in view.names}
    down = categories([f"<b>{short[each]}</b>" if each == name else short[each] for each in short], down=True, ticks="")
    title = "■ certified  ▨ attacked  □ clean"
    across = {"range": [0, 1.02], "nticks": 6, "title": f"fraction at ε = {radius_text(eps, 3)}"}
    panels.open(LEFT, BARS, title, across, down)
    every = [view.accuracy(each, eps) for each in view.names]
    looks = (("clean", "#FFFFFF", ""), ("attacked", "#FFFFFF", "/"), ("certified", CERTIFIED, ""))
    for at, (what, color, hatch) in enumerate(looks):
        values, width = [each[at] for each in every], 0.7 - 0.14 * at
        place: Spec = {"flat": True, "width": width, "offset": -width / 2}
        panels.bars(down["tickvals"], values, color, hatch, f"{what}: %{{x:.3f}}", stroke=REFUTED, **place)


def _wall(panels: Panels, view: AccuracyView, name: str, eps: float, wall: Tensor, plane: Tensor | None) -> None:
    states = array(view.states(name, eps))
    counts = [(sign, int((states == code).sum())) for code, (_, sign, _) in FRAMES.items()]
    found = " · ".join(f"{many} {sign}" for sign, many in counts if many)
    title = f"{shortened(name, 2 * NAMED)}: {found} of {len(states)}"
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


def _pitch(wall: Tensor) -> tuple[int, int]:
    """From a picture to the next, in pixels: down and across."""
    _, tall, wide = wall.shape
    return tall + max(2, tall // 2), wide + max(1, wide // 8)


def _centers(wall: Tensor) -> list[tuple[float, float]]:
    (count, tall, wide), (down, across) = wall.shape, _pitch(wall)
    row, column = (0.5 * (size - 1) for size in (tall, wide))
    return [((k % ACROSS * across + column) / wide, (k // ACROSS * down + row) / tall) for k in range(count)]


def nearest_picture(wall: Tensor, x: float, y: float) -> int | None:
    """The picture of the wall at a place of its panel; None beside all of them."""
    inside = [abs(x - left) <= 0.55 and abs(y - top) <= 0.7 for left, top in _centers(wall)]
    return inside.index(True) if True in inside else None


def _pictures(panels: Panels, title: str, wall: Tensor) -> list[tuple[float, float]]:
    """All pictures as one, row by row; the places of their centres."""
    (count, tall, wide), (down, across), rows = wall.shape, _pitch(wall), math.ceil(len(wall) / ACROSS)
    after = ((0, rows * ACROSS - count), (0, down - tall), (0, across - wide))
    framed = np.pad(array(wall), after, constant_values=np.nan).reshape(rows, ACROSS, down, across)
    mosaic = framed.swapaxes(1, 2).reshape(rows * down, -1)
    ends = [-1.2 / wide - 0.04, (mosaic.shape[1] - 0.5) / wide], [(max(rows, DOWN) * down - 0.5) / tall, -0.12]
    panels.open(WALL, (0.0, 1.0), title, *({**HIDDEN, "range": end} for end in ends))
    panels.heat(mosaic, GREYS, 1, x0=0, dx=1 / wide, y0=0, dy=1 / tall)
    return _centers(wall)


def _points(panels: Panels, title: str, plane: np.ndarray) -> list[tuple[float, float]]:
    down = {"scaleanchor": "x3", "constrain": "domain", "nticks": 5}
    panels.open(WALL, (0.0, 1.0), title, {"nticks": 8}, down)
    panels.heat([[None]], GREYS, 1)
    return [(float(x), float(y)) for x, y in plane]
