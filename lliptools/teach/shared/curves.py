"""Curves over one axis: a picture of what a notebook has computed by itself."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lliptools.teach.shared.panels import Panels, Spec, legend, named
from lliptools.teach.shared.shown import display_figure
from lliptools.teach.shared.style import CERTIFIED, INK, LOCAL, REFUTED

LOOKS = ((LOCAL, "solid"), (INK, "dash"), (CERTIFIED, "dashdot"), (REFUTED, "dot"))
Line = tuple[Sequence[float], Sequence[float]]


def curves(lines: Mapping[str, Line], across: str, up: str, *, log: bool = False) -> go.Figure:
    """At most four lines, (x, y) by name.

    across, up: titles of the axes; log: whether the one across is logarithmic, with ticks at powers of 2.
    """
    panels = Panels(300, margin={"l": 52, "r": 12, "t": 28, "b": 42}, showlegend=True, legend=legend(0.0, 1.0))
    places, heights = ([float(each) for line in lines.values() for each in line[axis]] for axis in (0, 1))
    wide: Spec = {"range": [min(places), max(places)]}
    if log:
        ticks = [2.0**k for k in range(-20, 21) if min(places) <= 2.0**k <= max(places)]
        span = [math.log10(min(places)), math.log10(max(places))]
        wide = {"type": "log", "range": span, "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    tall = {"range": [0, 1.08 * max(heights)], "nticks": 6}
    panels.open((0.0, 1.0), (0.0, 1.0), "", {"title": across, **wide}, {"title": up, **tall})
    for (name, (x, y)), (color, dash) in zip(lines.items(), LOOKS, strict=False):
        look = {"line": {"color": color, "dash": dash, "width": 2.5}, **named(name)}
        panels.add("scatter", f"{name}: %{{y:.4g}}", mode="lines", x=[*map(float, x)], y=[*map(float, y)], **look)
    return panels.figure()


def plot(lines: Mapping[str, Line], across: str, up: str, *, log: bool = False) -> None:
    """Show curves in a notebook."""
    display_figure(curves(lines, across, up, log=log), f"[a picture: {', '.join(lines)} against {across}]")
