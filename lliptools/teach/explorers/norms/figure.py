"""A norm from below and from above."""

import math

import numpy as np
import plotly.graph_objects as go

from lliptools.teach.explorers.norms.view import NormView
from lliptools.teach.shared.panels import Panels, Span, array, disc, legend, named
from lliptools.teach.shared.style import CERTIFIED, GLOBAL_LINE, INK, LOCAL, UNPROVED

CIRCLE, ELLIPSE, GAPS = (0.0, 0.28), (0.34, 0.62), (0.71, 1.0)
ROWS = (0.0, 0.9)
LIMIT = 1.25
TICKS = {1: "1", 1e-4: "10⁻⁴", 1e-8: "10⁻⁸", 1e-12: "10⁻¹²", 1e-16: "10⁻¹⁶"}


def norms(view: NormView, start: int, step: int) -> go.Figure:
    """What is known of a norm after so many steps, by power iteration from one of the starts and by Gram iteration.

    * left and middle: the unit circle and the ellipse that the matrix makes of it, with the power iterate and its
      image; of a larger matrix, the shadow on its first two singular directions
    * right: the relative gap to the norm against the step, dashed and open from below, which proves nothing from above,
      solid and filled from above
    """
    place = legend(GAPS[1], -0.19, right=True, below=True)
    panels = Panels(346, margin={"l": 40, "r": 10, "t": 16, "b": 84}, showlegend=True, legend=place)
    shadow = "" if max(view.shape) <= 2 else ", shadow"
    ratio = view.second / (view.norm or 1.0)
    circle = disc(np.zeros(2))
    _plane(panels, CIRCLE, f"step {step}: iterate v{shadow}", "v", circle, array(view.before)[start, : step + 1])
    made = circle * [[1.0 if view.norm else 0.0], [ratio]]
    _plane(panels, ELLIPSE, f"its image Wv / σ{shadow}", "u", made, array(view.after)[start, : step + 1])
    _gaps(panels, view, start, step)
    return panels.figure()


def _plane(panels: Panels, span: Span, title: str, axis: str, outline: np.ndarray, path: np.ndarray) -> None:
    """A closed curve, and the way that the iterate has come."""
    frame = {"range": [-LIMIT, LIMIT], "tickvals": [-1, 0, 1], "mirror": True}
    panels.square(span, ROWS, title, {**frame, "title": f"{axis}₁, stretched most"}, {**frame, "title": f"{axis}₂"})
    panels.line([-LIMIT, LIMIT], [0, 0], color="#BBBBBB", width=1)
    panels.line([0, 0], [-LIMIT, LIMIT], color="#BBBBBB", width=1)
    panels.line(*outline, color=LOCAL, width=2, simplify=False)
    panels.marks(path[:, 0], path[:, 1], color=GLOBAL_LINE, size=5, symbol="circle-open")
    here = path[-1]
    panels.line([0, here[0]], [0, here[1]], color=INK, width=2, dash="dash")
    hover = f"{axis}₁ %{{x:.4g}}, {axis}₂ %{{y:.4g}}"
    panels.marks(here[:1], here[1:], hover, size=11, symbol="circle-open", line={"width": 2})


def _gaps(panels: Panels, view: NormView, start: int, step: int) -> None:
    down = {"type": "log", "range": [-16.5, 1.5], "tickvals": list(TICKS), "ticktext": list(TICKS.values())}
    across = {"range": [-1, view.steps + 1], "title": "iteration", "nticks": 6}
    panels.open(GAPS, ROWS, "relative gap to σ", across, down)
    every = np.arange(view.steps + 1)
    gaps = array(view.gap(view.power))
    for number in range(len(gaps)):
        if number:  # the other starts
            other = gaps[number - 1 if number <= start else number]
            panels.line(every, other, color="#BBBBBB", width=1, dash="dot")
    curves = (
        ("power, from below", every, view.power[start], UNPROVED, "dash", "circle-open"),
        ("Lanczos, from below", every[1:], view.lanczos[start], INK, "dot", "square-open"),
        ("Gram, from above: a theorem", every, view.gram, CERTIFIED, "solid", "triangle-down"),
    )
    for name, steps, values, color, dash, symbol in curves:
        gap, known = array(view.gap(values)), array(values)
        more = {**named(name), "mode": "lines+markers", "text": [f"{value:.8g}" for value in known]}
        more["line"] = {"color": color, "width": 2, "dash": dash}
        hover = f"{name}, step %{{x}}: %{{text}}<br>gap %{{y:.2g}}"
        panels.marks(steps[: len(gap)], gap, hover, more=more, symbol=symbol, size=5, color=color)
        at = min(step, int(steps[len(gap) - 1])) - int(steps[0])
        here = (steps[at], gap[at]) if at >= 0 else (math.nan, math.nan)
        line = {"width": 2, "color": color}
        panels.marks(here[:1], here[1:], symbol=symbol, size=11, color=color, line=line)
    panels.line([step, step], [10**-16.5, 10**1.5], color="#888888", width=1)
