"""A norm from below and from above."""

import math

import numpy as np
import plotly.graph_objects as go

from lliptools.teach.explorers.norms.view import FLOOR, NormView
from lliptools.teach.shared.panels import Panels, Spec, array, disc, named
from lliptools.teach.shared.style import CERTIFIED, GLOBAL_LINE, INK, LOCAL, UNPROVED

PLANE, SIDES, GAPS, ROWS = (0.0, 0.34), (0.40, 0.74), (0.81, 1.0), (0.0, 1.0)
LIMIT = 1.2
TICKS = {1: "1", 1e-4: "10⁻⁴", 1e-8: "10⁻⁸", 1e-12: "10⁻¹²", 1e-16: "10⁻¹⁶"}
# How each method is drawn: colour, dash, marker.
LOOKS = {
    "power": (UNPROVED, "dash", "circle-open"),
    "Lanczos": (INK, "dot", "square-open"),
    "Gram": (CERTIFIED, "solid", "triangle-down"),
}


def norms(view: NormView, start: int, step: int) -> go.Figure:
    """What is known of a norm after so many steps, by power iteration from one of the starts and by Gram iteration.

    * left: the unit circle and the ellipse that the matrix makes of it, in units of σ, with the power iterate on the
      one and its image on the other; of a larger matrix, the shadow on its first two singular directions
    * middle: what the methods say of σ, from below and from above, the latter a theorem
    * right: the relative gap to σ
    """
    panels = Panels(360, margin={"l": 52, "r": 12, "t": 22, "b": 42})
    _plane(panels, view, start, step)
    _sides(panels, view, start, step)
    _gaps(panels, view, start, step)
    return panels.figure()


def _plane(panels: Panels, view: NormView, start: int, step: int) -> None:
    """A circle, what becomes of it, and the way that the iterate has come."""
    frame = {"range": [-LIMIT, LIMIT], "tickvals": [-1, 0, 1], "mirror": True}
    title = "v on the circle, Wv/σ on the ellipse" if max(view.shape) <= 2 else "shadows of v and of Wv/σ"
    panels.square(PLANE, ROWS, title, {**frame, "title": "stretched most"}, frame)
    panels.line([-LIMIT, LIMIT], [0, 0], color="#BBBBBB", width=1)
    circle, ratio = disc(np.zeros(2)), view.second / (view.norm or 1.0)
    panels.line(*circle, color=GLOBAL_LINE, width=1.5, simplify=False)
    panels.line(*(circle * [[1.0 if view.norm else 0.0], [ratio]]), color=LOCAL, width=2.5, simplify=False)
    for places, color, name in ((view.before, GLOBAL_LINE, "v"), (view.after, LOCAL, "Wv/σ")):
        path = array(places)[start, : step + 1]
        panels.marks(path[:, 0], path[:, 1], color=color, size=5, symbol="circle-open")
        here = path[-1]
        panels.line([0, here[0]], [0, here[1]], color=color, width=2, dash="dash")
        hover = f"{name}: %{{x:.4g}}, %{{y:.4g}}"
        panels.marks(here[:1], here[1:], hover, size=11, color=color, symbol="circle-open", line={"width": 2})


def _methods(view: NormView, start: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and values of each method; Lanczos up to where it has converged."""
    every, lanczos = np.arange(view.steps + 1), view.lanczos[start]
    done = int((view.gap(lanczos) > 1e3 * FLOOR).long().cumprod(0).sum()) + 1
    gram = array(view.gram)
    return {
        "power": (every, array(view.power[start])),
        "Lanczos": (every[1 : done + 1], array(lanczos[:done])),
        "Gram": (every[: len(gram)], gram),
    }


def _sides(panels: Panels, view: NormView, start: int, step: int) -> None:
    """The values in units of σ, from both sides."""
    unit, most = view.norm or 1.0, min(view.gram[0].item() / (view.norm or 1.0), 2.0)
    sigma, room = view.norm / unit, max(most - 1.0, 0.05)
    low = min(sigma - 2.2 * room, view.power[start, -1].item() / unit - room)  # where power iteration may stay for ever
    across = {"range": [-0.6, 12.6], "title": "iteration", "nticks": 6}
    title = "in units of σ"
    panels.open(SIDES, ROWS, title, across, {"range": [max(low, -room / 5), sigma + 1.25 * room], "nticks": 6})
    panels.line([-0.6, 12.6], [sigma, sigma], color=LOCAL, width=2.5)
    for name, (steps, values) in _methods(view, start).items():
        _curve(panels, name, steps, values / unit, step, "%{y:.6f} σ")
    panels.write("σ", SIDES[1], sigma, yref="y2", xanchor="right", yanchor="bottom", xshift=-4)


def _gaps(panels: Panels, view: NormView, start: int, step: int) -> None:
    down = {"type": "log", "range": [-16.5, 1.0], "tickvals": list(TICKS), "ticktext": list(TICKS.values())}
    across = {"range": [-1, view.steps + 1], "title": "iteration", "nticks": 6}
    panels.open(GAPS, ROWS, "relative gap to σ", across, down)
    gaps = array(view.gap(view.power))
    for number in range(1, len(gaps)):  # the other starts
        other = gaps[number - 1 if number <= start else number]
        panels.line(np.arange(len(other)), other, color="#BBBBBB", width=1, dash="dot")
    for name, (steps, values) in _methods(view, start).items():
        gap = np.maximum(np.abs(values - view.norm) / (view.norm or 1.0), FLOOR)
        _curve(panels, name, steps, gap, step, "gap %{y:.2g}", marked=False)
    panels.line([step, step], [10**-16.5, 10], color="#888888", width=1)


def _curve(
    panels: Panels, name: str, steps: np.ndarray, values: np.ndarray, step: int, said: str, *, marked: bool = True
) -> None:
    """The values of a method, and where it stands after a step."""
    color, dash, symbol = LOOKS[name]
    more: Spec = {**named(name, shown=marked), "mode": "lines+markers" if marked else "lines"}
    more["line"] = {"color": color, "width": 2, "dash": dash}
    panels.marks(steps, values, f"{name}, step %{{x}}: {said}", more=more, symbol=symbol, size=5, color=color)
    at = min(step - int(steps[0]), len(steps) - 1)
    here = (steps[at], values[at]) if at >= 0 else (math.nan, math.nan)
    line = {"width": 2, "color": color}
    panels.marks(here[:1], here[1:], symbol=symbol, size=11, color=color, line=line)
