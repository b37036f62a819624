"""How far a point can move before its label may change. Results in, plotly Figure out; nothing is computed here."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.digits import round_down
from lliptools.teach.explorers.margins.view import ASSUMED, MarginView
from lliptools.teach.shared.panels import Panels, array, columns
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.style import CERTIFIED, GLOBAL, INK, LOCAL, REFUTED, TINTS, UNPROVED

__all__ = ["margins"]

# How a disc is drawn, and what is said of it.
LOOKS = {
    "certified": (CERTIFIED, "solid", "✔ certified"),
    "not certified": (UNPROVED, "dash", "✘ not certified"),
    "refuted": (REFUTED, "dashdot", "✘ refuted"),
    "misclassified": (UNPROVED, "dash", "nothing to certify"),
}
LEFT, TOP, BOTTOM = (0.0, 0.42), 0.93, 0.04
RIGHT = (0.52, 1.0)
FEW = 5  # classes beside which there is room for every number


def margins(view: MarginView) -> go.Figure:
    """Logits, margins and the distance they last.

    Left: the decision map with the disc around the point, or the picture of the point. Right: the logits, the margins
    f_y − f_j, and the distances margin_j / Lip(f_y − f_j) beside margin_j / (√2 L), of which the smallest decides.
    """
    panels = Panels(470, margin={"l": 44, "r": 10, "t": 24, "b": 40})
    if view.plane is None:
        _picture(panels, view)
    else:
        _plane(panels, view, view.plane)
    spans = columns(3, 0.0, TOP, gap=0.13)
    names = [str(j) for j in view.shown]
    fills = [TINTS[j % len(TINTS)] for j in view.shown]
    most = f", {len(names)} of {len(view.logits)} classes" if len(names) < len(view.logits) else ""
    _bars(panels, spans[2], f"logits f<sub>j</sub>{most}", names, [("f", _picked(view, view.logits), fills, "")])
    rivals, tints = names[1:], fills[1:]
    lasting = [("margin", _picked(view, view.margins)[1:], tints, "")]
    _bars(panels, spans[1], f"margins f<sub>{view.label}</sub> − f<sub>j</sub>", rivals, lasting)
    assumed = view.reach.name == ASSUMED
    color = LOOKS[view.status][0] if assumed else LOCAL
    by_pair, by_norm = (_picked(view, values)[1:] for values in (view.by_pair, view.by_norm))
    title = "safe distance: m<sub>j</sub> / Lip(f<sub>y</sub> − f<sub>j</sub>) (plain), m<sub>j</sub> / √2L (hatched)"
    if assumed:  # nothing is known of each pair by itself
        worth = "which a bound confirms" if view.reach.certified else "no certificate"
        title = f"distance m<sub>j</sub> / √2L by an <b>assumed</b> L, {worth}"
    both = [("by its own constant", by_pair, LOCAL, ""), ("by √2 L", by_norm, GLOBAL, "/")]
    _bars(panels, spans[0], title, rivals, both, ink=color)
    panels.write("class j", sum(RIGHT) / 2, -0.01, yanchor="top", yshift=-16)
    return panels.figure()


def _title(view: MarginView) -> str:
    color, _, words = LOOKS[view.status]
    radius = "" if view.status == "misclassified" else f", radius {_short(view.reach.radius)}"
    return f"class {view.label}: <span style='color:{color}'>{words}</span>{radius}"


def _plane(panels: Panels, view: MarginView, plane: Plane) -> None:
    code = (array(plane.classes) % len(TINTS)).astype(np.uint8)
    code[array(plane.border)] = len(TINTS)
    steps = [*TINTS, INK]
    scale = [[edge / len(steps), color] for k, color in enumerate(steps) for edge in (k, k + 1)]
    x, y = array(plane.x0), array(plane.x1)
    across = {"range": [x[0], x[-1]], "constrain": "domain", "constraintoward": "left", "nticks": 6}
    up = {"range": [y[0], y[-1]], "scaleanchor": "x", "constrain": "domain", "constraintoward": "top", "nticks": 6}
    panels.open(LEFT, (BOTTOM, TOP), _title(view), {**across, "title": "x₀"}, {**up, "title": "x₁"})
    # hoverinfo "none" and not "skip": a click on the map is still answered.
    look = {"colorscale": scale, "zmin": 0, "zmax": len(steps), "showscale": False, "hoverinfo": "none"}
    panels.add("heatmap", x=x, y=y, z=code, **look)
    center, widest = array(view.point.double())[:, None], 3.0 * float(x[-1] - x[0])
    color, dash, _ = LOOKS[view.status]
    loose = math.nan if view.reach.name == ASSUMED else view.by_norm.min().item()
    _circle(panels, center, view.distance, widest, color=INK, width=1.5, dash="dot")
    _circle(panels, center, loose, widest, color=color, width=1.2, dash=dash)
    _circle(panels, center, view.reach.radius, widest, color=color, width=3, dash=dash)
    _mark(panels, center[:, 0], symbol="x-thin-open", size=8, line={"width": 2})
    _mark(panels, [None, None] if view.nearest is None else array(view.nearest), symbol="star", size=10)
    across_names, up_names = zip(*plane.labels.values(), strict=True)
    names, font = [f"<b>class {label}</b>" for label in plane.labels], {"size": 13, "color": INK}
    panels.add("scatter", mode="text", x=across_names, y=up_names, text=names, textfont=font, hoverinfo="skip")
    thin = "" if view.reach.name == ASSUMED else "thin: margin/(√2 L)"
    known = "" if view.nearest is None else "dotted: true distance, to the star"
    panels.write(
        ", ".join(filter(None, (thin, known))) or " ", LEFT[0], -0.01, xanchor="left", yanchor="top", yshift=-16
    )


def _circle(panels: Panels, center: np.ndarray, radius: float, widest: float, **line: Any) -> None:
    """A circle around the point; one beyond the picture would only be drawn over the other panels."""
    angle = np.linspace(0, 2 * np.pi, 97)
    drawn = min(radius, widest) if radius > 0 else math.nan
    panels.line(*(center + drawn * np.stack([np.cos(angle), np.sin(angle)])), **line)


def _mark(panels: Panels, place: Any, **marker: Any) -> None:
    look = {"color": INK, **marker}
    panels.add("scatter", mode="markers", x=[place[0]], y=[place[1]], marker=look, hoverinfo="skip")


def _picture(panels: Panels, view: MarginView) -> None:
    """The point as an image, grey or in colour, or as one row of numbers."""
    values = array(view.point.double())
    colors = values.ndim == 3 and len(values) == 3
    if colors:
        values = np.clip(255 * values.transpose(1, 2, 0), 0, 255).astype(np.uint8)
    elif values.ndim == 3 and len(values) == 1:
        values = values[0]
    elif values.ndim != 2:
        side = math.isqrt(values.size)
        values = values.reshape((side, side) if side * side == values.size else (1, -1))
    frame = {"constrain": "domain", "mirror": True, "ticks": "", "showticklabels": False}
    row = len(values) == 1
    down = {**frame, "autorange": "reversed", "constraintoward": "top", **({} if row else {"scaleanchor": "x"})}
    height = (0.75, TOP) if row else (BOTTOM, TOP)
    panels.open(LEFT, height, _title(view), {**frame, "constraintoward": "left"}, down)
    if colors:
        panels.add("image", z=values, hoverinfo="skip")
    else:
        hover = "pixel %{y}, %{x}: %{z:.3f}<extra></extra>"
        panels.add("heatmap", z=values, colorscale="Greys", showscale=False, hovertemplate=hover)


def _picked(view: MarginView, values: Tensor) -> np.ndarray:
    return array(values.double())[list(view.shown)]


def _bars(
    panels: Panels,
    span: tuple[float, float],
    title: str,
    names: list[str],
    groups: Sequence[tuple[str, np.ndarray, str | list[str], str]],
    ink: str = INK,
) -> None:
    """Bars by class, side by side where there are several groups (name, heights, colours, hatch)."""
    every = np.concatenate([heights[np.isfinite(heights)] for _, heights, *_ in groups] + [np.zeros(1)])
    room = 0.28 * (every.max() - every.min()) or 1.0  # for the numbers
    low, high = every.min() - room * (every.min() < 0), every.max() + room
    axis = {"range": [low, high], "nticks": 4, "zeroline": True, "zerolinecolor": "#888888"}
    # Places and not names: redrawn by a widget, an axis takes names that are digits for numbers.
    places = list(range(len(names)))
    across = {"range": [-0.6, len(names) - 0.4], "tickvals": places, "ticktext": names, "showline": False}
    panels.open(RIGHT, span, title, across, axis)
    for name, heights, colors, hatch in groups:
        written = len(names) <= FEW or not hatch
        shown = np.where(np.isfinite(heights), heights, np.nan)
        panels.add(
            "bar",
            x=places,
            customdata=names,
            y=shown,
            marker={
                "color": colors,
                "line": {"width": 1.2, "color": ink},
                "pattern": {"shape": hatch, "fgcolor": "#666666", "size": 5},
            },
            text=["" if math.isnan(h) or not written else _short(h) for h in heights.tolist()],
            textposition="outside",
            cliponaxis=False,
            constraintext="none",
            textfont={"size": 11},
            hovertemplate=f"class %{{customdata}}, {name}: %{{y:.6g}}<extra></extra>",
        )


def _short(value: float) -> str:
    return round_down(value, 3)
