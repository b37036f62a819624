"""Two points and their outputs, side by side."""

import math

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.teach.shared.pair import Pair
from lliptools.teach.shared.panels import HIDDEN, Panels, Span, array, columns, disc, legend, named
from lliptools.teach.shared.style import GLOBAL_LINE, INK, LOCAL, REFUTED

ROW = (0.0, 0.84)
LEFT, RIGHT = (0.0, 0.44), (0.56, 1.0)
NAMED = (("x", INK, "circle", ""), ("x′", REFUTED, "diamond", "/"))  # name, colour, symbol, hatch


def counter_example(pair: Pair) -> go.Figure:
    """Left the two inputs, right what becomes of them; above, what they say of a claim.

    Points of the plane are drawn there, with the ball that the claim is about; pictures as pictures, anything else as
    bars. x is ● and plain, x′ is ◆ and hatched.
    """
    place = legend(1, 1.0, right=True)
    panels = Panels(310, margin={"l": 48, "r": 10, "t": 40, "b": 36}, showlegend=True, legend=place)
    panels.write(f"<b>{pair.claim}</b>", 0.0, 1.0, xanchor="left", yanchor="bottom")
    title = f"inputs, ‖x − x′‖ = {pair.distance:.4g}"
    draw = _plane if pair.x.shape == (2,) else _coordinates
    draw(panels, LEFT, title, (pair.x, pair.other), pair)
    title = f"outputs, ‖f(x) − f(x′)‖ = {pair.change:.4g}"
    draw = _plane if pair.f_x.shape == (2,) and not pair.names else _coordinates
    draw(panels, RIGHT, title, (pair.f_x, pair.f_other), pair)
    return panels.figure()


def _plane(panels: Panels, span: Span, title: str, points: tuple[Tensor, Tensor], pair: Pair) -> None:
    """Both points, the line between them, and at the inputs the ball and the border that the pair is about."""
    ends = np.stack([array(point) for point in points])
    ball, inputs = ends[:0], span == LEFT
    if inputs and pair.center is not None and math.isfinite(pair.radius):
        ball = disc(array(pair.center), pair.radius).T
    seen = np.concatenate([ends, ball])
    middle, half = (seen.max(axis=0) + seen.min(axis=0)) / 2, 0.6 * max(np.ptp(seen, axis=0).max(), 1e-9)
    (left, low), (right, high) = middle - half, middle + half
    panels.square(span, ROW, title, {"range": [left, right], "nticks": 6}, {"range": [low, high], "nticks": 6})
    if inputs and pair.border is not None:
        border = array(pair.border)
        panels.line(border[:, 0], border[:, 1], hover="the answer changes here", color=GLOBAL_LINE, width=2)
    if len(ball):
        panels.line(ball[:, 0], ball[:, 1], hover="the ball", color=LOCAL, width=2, dash="dash")
    panels.line(ends[:, 0], ends[:, 1], color=INK, width=1)
    for place, (name, color, symbol, _) in zip(ends, NAMED, strict=True):
        hover = "%{x:.4g}, %{y:.4g}<extra>" + name + "</extra>"
        panels.marks(place[:1], place[1:], hover, more=named(name, shown=inputs), color=color, symbol=symbol, size=9)


def _coordinates(panels: Panels, span: Span, title: str, points: tuple[Tensor, Tensor], pair: Pair) -> None:
    """Both points as pictures of one scale, or as bars."""
    if points[0].dim() == 2:
        largest = max(float(part.abs().max()) for part in (pair.x, pair.other, pair.f_x, pair.f_other))
        limits = {"zmin": -largest, "zmax": largest}
        for place, point, (name, *_) in zip(columns(2, *span, 0.03), points, NAMED, strict=True):
            heading = title if name == "x" else ""
            panels.open(place, ROW, heading, HIDDEN, {**HIDDEN, "autorange": "reversed"})
            panels.write(name, sum(place) / 2, ROW[0], yanchor="top")
            panels.heat(array(point), "RdBu", hover="%{y}, %{x}: %{z:.4g}", **limits)
        return
    labels = list(pair.names) if span == RIGHT and pair.names else [str(k) for k in range(points[0].numel())]
    panels.open(span, ROW, title, {"type": "category"}, {"nticks": 6})
    for point, (name, color, _, hatch) in zip(points, NAMED, strict=True):
        hover = "%{x}: %{y:.4g}<extra>" + name + "</extra>"
        panels.bars(labels, array(point.flatten()), color, hatch, hover, **named(name, shown=span == LEFT))
