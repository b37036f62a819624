"""How far a point can move before its label may change."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.digits import round_down
from lliptools.teach.explorers.margins.view import ASSUMED, MarginView
from lliptools.teach.shared.map_figure import decision_map, name_classes, picture
from lliptools.teach.shared.panels import Panels, Span, Spec, array, categories, colored, columns, disc, finite
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
ROOM, BEYOND = 0.28, 3.0  # of the bars, for numbers at them; end of the distances, over what the global bound certifies

Said = Callable[[float, int], str]  # a number in so many digits
Spans = tuple[Span, Span, Span]  # of the bars of logits, margins and distances


def spans(view: MarginView) -> Spans:
    """From the lowest bar of a view to the highest; that of the distances is the same for every constant."""
    far = _picked(view, view.by_global)[1:]
    most = float(far[np.isfinite(far)].max(initial=0.0))
    return _around(_picked(view, view.logits)), _around(_picked(view, view.margins)[1:]), (0.0, BEYOND * most or 1.0)


def _around(heights: np.ndarray) -> Span:
    return float(heights.min(initial=0.0)), float(heights.max(initial=0.0))


def margins(view: MarginView, axes: Spans | None = None) -> go.Figure:
    """Logits, margins and the distance they last.

    * left: the decision map with the disc around the point, or the picture of the point
    * right: the logits, the margins f_y − f_j, and the distances margin_j / Lip(f_y − f_j) beside margin_j / (√2 L), of
      which the smallest decides

    axes: ends of the bars, by default those of the view; a bar that goes further ends there, in an arrow.
    """
    panels = Panels(430, margin={"l": 52, "r": 12, "t": 22, "b": 42})
    color, _, words = LOOKS[view.status]
    assumed = view.reach.name == ASSUMED
    said: Said = round_down if view.status == "certified" or not assumed else _nearest
    radius = "" if view.status == "misclassified" else f", radius {said(view.reach.radius, 4)}"
    title = f"class {view.label}: {colored(words, color)}{radius}"
    if view.plane is None:
        picture(panels, LEFT, (BOTTOM, TOP), title, view.point, strip=(0.75, TOP))
    else:
        _plane(panels, title, view, view.plane)
    rows, axes = columns(3, 0.0, TOP, gap=0.15), axes or spans(view)
    names, fills = [str(j) for j in view.shown], [TINTS[j % len(TINTS)] for j in view.shown]
    most = f", {len(names)} of {len(view.logits)} classes" if len(names) < len(view.logits) else ""
    logits = [("f", _picked(view, view.logits), fills, "")]
    _bars(panels, rows[2], f"logits f<sub>j</sub>{most}", names, logits, axes[0])
    rivals = names[1:]
    lasting = [("margin", _picked(view, view.margins)[1:], fills[1:], "")]
    _bars(panels, rows[1], f"margins f<sub>{view.label}</sub> − f<sub>j</sub>", rivals, lasting, axes[1])
    by_pair, by_norm = (_picked(view, values)[1:] for values in (view.by_pair, view.by_norm))
    title = "safe distance: ■ m<sub>j</sub> / Lip(f<sub>y</sub> − f<sub>j</sub>), ▨ m<sub>j</sub> / √2L"
    if assumed:  # nothing is known of each pair by itself
        worth = "which a bound confirms" if view.reach.certified else "no certificate"
        title = f"m<sub>j</sub> / √2L by an <b>assumed</b> L, {worth}"
    both = [("by its own constant", by_pair, LOCAL, ""), ("by √2 L", by_norm, GLOBAL, "/")]
    _bars(panels, rows[0], title, rivals, both, axes[2], ink=color if assumed else LOCAL, said=said)
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


def _nearest(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


def _picked(view: MarginView, values: Tensor) -> np.ndarray:
    return array(values.double())[list(view.shown)]


def _bars(
    panels: Panels,
    span: Span,
    title: str,
    names: list[str],
    groups: Sequence[tuple[str, np.ndarray, str | list[str], str]],
    axis: Span,
    ink: str = INK,
    said: Said = _nearest,
) -> None:
    """Bars by class, side by side where there are several groups (name, heights, colours, hatch); said: a height."""
    low, high = axis
    room = ROOM * (high - low) or 1.0
    across, ends = categories(names, showline=False), [low - room * (low < 0), high + room]
    look = {"range": ends, "nticks": 4, "zeroline": True, "zerolinecolor": "#888888"}
    panels.open(RIGHT, span, title, across, look)
    for name, heights, colors, hatch in groups:
        shown, written = finite(heights), len(names) <= FEW or not hatch
        digits = 4 if len(names) <= FEW else 2
        long = ["↑ " if height > 1.001 * high else "↓ " if height < 1.001 * low else "" for height in shown.tolist()]
        numbers = ["" if math.isnan(height) or not written else said(height, digits) for height in shown.tolist()]
        text = [arrow + number for arrow, number in zip(long, numbers, strict=True)]
        more: Spec = {"text": text, "ink": ink, "customdata": list(zip(names, shown.tolist(), strict=True))}
        hover = f"class %{{customdata[0]}}, {name}: %{{customdata[1]:.6g}}"
        panels.bars(across["tickvals"], shown.clip(low, high), colors, hatch, hover, **more)
