"""A figure laid out by hand: panels, their axes, their traces. Knows plotly, and nothing of networks."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.teach.shared.style import AXIS, LAYOUT

__all__ = ["HIDDEN", "Panels", "Span", "Spec", "array", "columns"]

Spec = dict[str, Any]
Span = tuple[float, float]
HIDDEN: Spec = {"visible": False}


class Panels:
    """Collects panels and what is drawn in them; figure() gives the plotly Figure. count: of the panels so far."""

    def __init__(self, height: int, **layout: Any) -> None:
        self._traces: list[Spec] = []
        self._layout: Spec = {**LAYOUT, "height": height, "annotations": [], **layout}
        self.count = 0
        self._axes: Spec = {}

    def open(self, x: Span, y: Span, title: str, xaxis: Spec, yaxis: Spec) -> None:
        """Open a panel over a part of the figure, in fractions of it; what is added from now on is drawn there."""
        self.count += 1
        number = "" if self.count == 1 else str(self.count)
        self._layout[f"xaxis{number}"] = {**AXIS, "domain": x, "anchor": f"y{number}", **_titled(xaxis)}
        self._layout[f"yaxis{number}"] = {**AXIS, "domain": y, "anchor": f"x{number}", **_titled(yaxis)}
        self._axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        self.write(f"<b>{title}</b>", x[0], y[1], xanchor="left", yanchor="bottom")

    def write(self, text: str, x: float, y: float, **more: Any) -> None:
        """Write text at a place of the figure."""
        place = {"xref": "paper", "yref": "paper", "xanchor": "center", "showarrow": False, "font": {"size": 12}}
        self._layout["annotations"].append({**place, "text": text, "x": x, "y": y, **more})

    def add(self, kind: str, **trace: Any) -> None:
        """Add a trace of a plotly type to the open panel."""
        legend = {} if kind == "image" else {"showlegend": False}  # an image has none
        known = {key: _without_nan(value) for key, value in trace.items()}
        self._traces.append({"type": kind, **legend, **self._axes, **known})

    def line(self, x: Any, y: Any, hover: str = "", **line: Any) -> None:
        """Add a line; hover is a hovertemplate, and without one the line does not answer the mouse."""
        answer = {"hovertemplate": f"{hover}<extra></extra>"} if hover else {"hoverinfo": "skip"}
        self.add("scatter", mode="lines", x=x, y=y, line=line, **answer)

    def figure(self) -> go.Figure:
        """The figure."""
        return go.Figure({"data": self._traces, "layout": self._layout})


def columns(count: int, start: float, stop: float, gap: float) -> list[Span]:
    """So many spans of equal width from start to stop."""
    width = (stop - start - gap * (count - 1)) / max(count, 1)
    return [(start + k * (width + gap), start + k * (width + gap) + width) for k in range(count)]


def array(tensor: Tensor) -> np.ndarray:
    """The tensor as plotly takes it."""
    return tensor.detach().cpu().numpy()


def _without_nan(values: Any) -> Any:
    """Numbers with None where one is not finite: the message that brings a figure to the browser has no NaN."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and not np.isfinite(values).all():
        known = values.astype(object)
        known[~np.isfinite(values)] = None
        return known.tolist()
    if isinstance(values, list):
        return [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]
    return values


def _titled(axis: Spec) -> Spec:
    """Let an axis be given its title as a word."""
    text = axis.get("title")
    return axis if text is None else {**axis, "title": {"text": text, "standoff": 3, "font": {"size": 12}}}
