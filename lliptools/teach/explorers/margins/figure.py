"""How far a point can move before its label may change."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.digits import round_down
from lliptools.teach.explorers.margins.view import ASSUMED, MarginView
from lliptools.teach.shared.map_figure import decision_map, name_classes, picture
from lliptools.teach.shared.panels import Panels, Span, array, categories, colored, columns, disc, finite
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.style import CERTIFIED, GLOBAL, INK, LOCAL, REFUTED, TINTS, UNPROVED

# How a disc is drawn, and what is said of it.
LOOKS = {
    "certified": (CERTIFIED, "solid", "✔ certified"),
    "not certified": (UNPROVED, "dash", "✘ not certified"),
    "refuted": (REFUTED, "dashdot", "✘ refuted"),
    "misclassified": (UNPROVED, "dash", "nothing to certify"),
}
LEFT, TOP, BOTTOM = (0.0, 0.47), 1.0, 0.0
RIGHT = (0.56, 1.0)
FEW = 5  # classes beside which there is room for every number


def margins(view: MarginView) -> go.Figure:
    """Logits, margins and the distance they last.

    * left: the decision map with the disc around the point, or the picture of the point
    * right: the logits, the margins f_y − f_j, and the distances margin_j / Lip(f_y − f_j) beside margin_j / (√2 L), of
      which the smallest decides
    """
    panels = Panels(430, margin={"l": 52, "r": 12, "t": 22, "b": 42})
    color, _, words = LOOKS[view.status]
    radius = "" if view.status == "misclassified" else f", radius {round_down(view.reach.radius)}"
    title = f"class {view.label}: {colored(words, color)}{radius}"
    if view.plane is None:
        picture(panels, LEFT, (BOTTOM, TOP), title, view.point, strip=(0.75, TOP))
    else:
        _plane(panels, title, view, view.plane)
    spans = columns(3, 0.0, TOP, gap=0.15)
    names, fills = [str(j) for j in view.shown], [TINTS[j % len(TINTS)] for j in view.shown]
    most = f", {len(names)} of {len(view.logits)} classes" if len(names) < len(view.logits) else ""
    _bars(panels, spans[2], f"logits f<sub>j</sub>{most}", names, [("f", _picked(view, view.logits), fills, "")])
    rivals = names[1:]
    lasting = [("margin", _picked(view, view.margins)[1:], fills[1:], "")]
    _bars(panels, spans[1], f"margins f<sub>{view.label}</sub> − f<sub>j</sub>", rivals, lasting)
    by_pair, by_norm = (_picked(view, values)[1:] for values in (view.by_pair, view.by_norm))
    title = "safe distance: ■ m<sub>j</sub> / Lip(f<sub>y</sub> − f<sub>j</sub>), ▨ m<sub>j</sub> / √2L"
    if assumed := view.reach.name == ASSUMED:  # nothing is known of each pair by itself
        worth = "which a bound confirms" if view.reach.certified else "no certificate"
        title = f"m<sub>j</sub> / √2L by an <b>assumed</b> L, {worth}"
    both = [("by its own constant", by_pair, LOCAL, ""), ("by √2 L", by_norm, GLOBAL, "/")]
    _bars(panels, spans[0], title, rivals, both, ink=color if assumed else LOCAL, said=round_down)
    return panels.figure()


def _plane(panels: Panels, title: str, view: MarginView, plane: Plane) -> None:
    width = decision_map(panels, LEFT, (BOTTOM, TOP), title, plane)
    center, (color, dash, _) = array(view.point.double()), LOOKS[view.status]
    assumed = view.reach.name == ASSUMED
    loose = math.nan if assumed else view.by_norm.min().item()
    circles = (view.distance, INK, 1.5, "dot"), (loose, color, 1.2, dash), (view.reach.radius, color, 3, dash)
    for radius, ink, thick, dashes in circles:
        # One beyond the picture would only be drawn over the other panels.
        panels.line(
            *disc(center, min(radius, 3.0 * width) if radius > 0 else math.nan), color=ink, width=thick, dash=dashes
        )
    panels.marks(center[:1], center[1:], symbol="x-thin-open", size=8, line={"width": 2})
    nearest = [None, None] if view.nearest is None else array(view.nearest)
    panels.marks(nearest[:1], nearest[1:], symbol="star", size=10)
    name_classes(panels, plane)
    known = (
        "" if assumed else "thin: margin/(√2 L)",
        "" if view.nearest is None else "dotted: true distance, to the star",
    )
    words = ", ".join(filter(None, known)) or " "
    panels.write(words, LEFT[0] + 0.01, 0.01, xanchor="left", yanchor="bottom", bgcolor="#FFFFFF", font={"size": 11})


def _picked(view: MarginView, values: Tensor) -> np.ndarray:
    return array(values.double())[list(view.shown)]


def _bars(
    panels: Panels,
    span: Span,
    title: str,
    names: list[str],
    groups: Sequence[tuple[str, np.ndarray, str | list[str], str]],
    ink: str = INK,
    said: Callable[[float], str] = "{:.4g}".format,
) -> None:
    """Bars by class, side by side where there are several groups (name, heights, colours, hatch); said: a height."""
    every = np.concatenate([heights[np.isfinite(heights)] for _, heights, *_ in groups] + [np.zeros(1)])
    room = 0.28 * (every.max() - every.min()) or 1.0  # for the numbers
    low, high = every.min() - room * (every.min() < 0), every.max() + room
    axis = {"range": [low, high], "nticks": 4, "zeroline": True, "zerolinecolor": "#888888"}
    across = categories(names, showline=False)
    panels.open(RIGHT, span, title, across, axis)
    for name, heights, colors, hatch in groups:
        shown, written = finite(heights), len(names) <= FEW or not hatch
        text = ["" if math.isnan(height) or not written else said(height) for height in shown.tolist()]
        hover = f"class %{{customdata}}, {name}: %{{y:.6g}}"
        panels.bars(across["tickvals"], shown, colors, hatch, hover, text=text, ink=ink, customdata=names)
