"""Two points and their outputs, side by side. Results in, plotly Figure out."""

import math

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.teach.shared.pair import Pair
from lliptools.teach.shared.panels import HIDDEN, Panels, array, columns
from lliptools.teach.shared.style import GLOBAL_LINE, INK, LOCAL, REFUTED

__all__ = ["counter_example"]

Span = tuple[float, float]
ROW = (0.0, 0.84)
LEFT, RIGHT = (0.0, 0.44), (0.56, 1.0)
NAMED = (("x", INK, "circle", ""), ("x′", REFUTED, "diamond", "/"))  # name, colour, symbol, hatch


def counter_example(pair: Pair) -> go.Figure:
    """Left the two inputs, right what becomes of them; above, what they say of a claim.

    Points of the plane are drawn there, with the ball that the claim is about; pictures as pictures, anything else as
    bars. x is ● and plain, x′ is ◆ and hatched.
    """
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom", "itemclick": False}
    panels = Panels(310, margin={"l": 48, "r": 10, "t": 40, "b": 36}, showlegend=True, legend=legend)
    panels.write(f"<b>{pair.claim}</b>", 0.0, 1.0, xanchor="left", yanchor="bottom")
    title = f"inputs, ‖x − x′‖ = {pair.distance:.4g}"
    if pair.x.shape == (2,):
        _plane(panels, LEFT, title, (pair.x, pair.other), pair)
    else:
        _coordinates(panels, LEFT, title, (pair.x, pair.other), pair)
    title = f"outputs, ‖f(x) − f(x′)‖ = {pair.change:.4g}"
    if pair.f_x.shape == (2,) and not pair.names:
        _plane(panels, RIGHT, title, (pair.f_x, pair.f_other))
    else:
        _coordinates(panels, RIGHT, title, (pair.f_x, pair.f_other), pair)
    return panels.figure()


def _plane(panels: Panels, span: Span, title: str, points: tuple[Tensor, Tensor], about: Pair | None = None) -> None:
    """Both points, the line between them, and what the pair is about: its ball and the border that it crosses."""
    ends = np.stack([array(point) for point in points])
    ball = ends[:0]
    if about is not None and about.center is not None and math.isfinite(about.radius):
        angle = np.linspace(0, 2 * np.pi, 73)
        ball = array(about.center) + about.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    seen = np.concatenate([ends, ball])
    middle, half = (seen.max(axis=0) + seen.min(axis=0)) / 2, 0.6 * max(np.ptp(seen, axis=0).max(), 1e-9)
    (left, low), (right, high) = middle - half, middle + half
    across = {"range": [left, right], "constrain": "domain", "constraintoward": "left", "nticks": 6}
    up = {"range": [low, high], "constrain": "domain", "constraintoward": "top", "nticks": 6}
    panels.open(span, ROW, title, across, {**up, "scaleanchor": "x" if span == LEFT else "x2"})
    if about is not None and about.border is not None:
        border = array(about.border)
        panels.line(border[:, 0], border[:, 1], hover="the answer changes here", color=GLOBAL_LINE, width=2)
    if len(ball):
        panels.line(ball[:, 0], ball[:, 1], hover="the ball", color=LOCAL, width=2, dash="dash")
    panels.line(ends[:, 0], ends[:, 1], color=INK, width=1)
    for place, (name, color, symbol, _) in zip(ends, NAMED, strict=True):
        marker = {"color": color, "symbol": symbol, "size": 9}
        hover = "%{x:.4g}, %{y:.4g}<extra>" + name + "</extra>"
        look = {"mode": "markers", "marker": marker, "name": name, "showlegend": span == LEFT, "hovertemplate": hover}
        panels.add("scatter", x=place[:1], y=place[1:], **look)


def _coordinates(panels: Panels, span: Span, title: str, points: tuple[Tensor, Tensor], pair: Pair) -> None:
    """Both points as pictures of one scale, or as bars."""
    if points[0].dim() == 2:
        largest = max(float(part.abs().max()) for part in (pair.x, pair.other, pair.f_x, pair.f_other))
        look = {"colorscale": "RdBu", "zmin": -largest, "zmax": largest, "showscale": False}
        for place, point, (name, *_) in zip(columns(2, *span, 0.03), points, NAMED, strict=True):
            heading = title if name == "x" else ""
            panels.open(place, ROW, heading, HIDDEN, {**HIDDEN, "autorange": "reversed"})
            panels.write(name, sum(place) / 2, ROW[0], yanchor="top")
            panels.add("heatmap", z=array(point), hovertemplate="%{y}, %{x}: %{z:.4g}<extra></extra>", **look)
        return
    labels = list(pair.names) if span == RIGHT and pair.names else [str(k) for k in range(points[0].numel())]
    panels.open(span, ROW, title, {"type": "category"}, {"nticks": 6})
    for point, (name, color, _, hatch) in zip(points, NAMED, strict=True):
        look = {"marker": {"color": color, "pattern": {"shape": hatch}}, "name": name, "showlegend": span == LEFT}
        hover = "%{x}: %{y:.4g}<extra>" + name + "</extra>"
        panels.add("bar", x=labels, y=array(point.flatten()), hovertemplate=hover, **look)
