"""A figure laid out by hand: panels, their axes, their traces. Knows plotly, and nothing of networks."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.teach.shared.style import AXIS, INK, LAYOUT, canvas_colors, state_names

Spec = dict[str, Any]
Span = tuple[float, float]
HIDDEN: Spec = {"visible": False}
BARE: Spec = {"ticks": "", "showticklabels": False}
ANGLE = np.linspace(0, 2 * np.pi, 97)


class Panels:
    """Collects panels and what is drawn in them; figure() returns the plotly Figure. count: of the panels so far.

    hover is a hovertemplate; without one a trace does not answer the mouse.
    """

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
        self.write(f"<b>{title}</b>", x[0], y[1], xanchor="left", yanchor="bottom", name="title")

    def square(self, x: Span, y: Span, title: str, xaxis: Spec, yaxis: Spec, *, scaled: bool = True) -> None:
        """Open a panel in the upper left corner of its part; scaled: both axes have one scale."""
        scale = {"scaleanchor": f"x{self.count + 1 if self.count else ''}"} if scaled else {}
        across = {"constrain": "domain", "constraintoward": "left", **xaxis}
        self.open(x, y, title, across, {"constrain": "domain", "constraintoward": "top", **scale, **yaxis})

    def write(self, text: str, x: float, y: float, **more: Any) -> None:
        """Write text at a place of the figure."""
        place = {"xref": "paper", "yref": "paper", "xanchor": "center", "showarrow": False, "font": {"size": 12}}
        self._layout["annotations"].append({**place, "text": text, "x": x, "y": y, **more})

    def add(self, kind: str, hover: str = "", **trace: Any) -> None:
        """Add a trace of a plotly type to the open panel."""
        legend = {} if kind == "image" else {"showlegend": False}  # an image has none
        answer = {"hovertemplate": hover if "<extra>" in hover else f"{hover}<extra></extra>"}
        known = {key: _without_nan(value) for key, value in trace.items()}
        mute = {} if "hoverinfo" in trace else {"hoverinfo": "skip"}
        self._traces.append({"type": kind, **legend, **self._axes, **(answer if hover else mute), **known})

    def line(self, x: Any, y: Any, hover: str = "", **line: Any) -> None:
        """Add a line."""
        self.add("scatter", hover, mode="lines", x=x, y=y, line=line)

    def marks(self, x: Any, y: Any, hover: str = "", *, more: Spec | None = None, **marker: Any) -> None:
        """Add markers; more: of the trace."""
        self.add("scatter", hover, **{"mode": "markers", **(more or {})}, x=x, y=y, marker={"color": INK, **marker})

    def texts(
        self, x: Any, y: Any, text: Any, hover: str = "", *, size: int = 13, color: str = INK, **more: Any
    ) -> None:
        """Add texts at points of the panel; an empty one is a space, for plotly does not write where nothing was."""
        said, look = [each or " " for each in text], {"size": size, "color": color}
        self.add("scatter", hover, mode="text", x=x, y=y, text=said, textfont=look, **more)

    def bars(
        self,
        places: Any,
        values: Any,
        color: Any,
        hatch: str = "",
        hover: str = "",
        *,
        text: list[str] | None = None,
        flat: bool = False,
        ink: str = INK,
        stroke: str = "#666666",
        **more: Any,
    ) -> None:
        """Add bars, outlined and hatched; text: above them; flat: from left to right."""
        across = {"x": values, "y": places, "orientation": "h"} if flat else {"x": places, "y": values}
        pattern = {"shape": hatch, "fgcolor": stroke, "size": 5, "fillmode": "overlay"}  # over the colour
        look = {"color": color, "line": {"width": 1, "color": ink}, "pattern": pattern}
        free = {"textposition": "outside", "cliponaxis": False, "constraintext": "none", "textfont": {"size": 11}}
        written = {} if text is None else {"text": text, **free}
        self.add("bar", hover, **across, marker=look, **{**written, **more})

    def heat(self, z: Any, colors: Any, top: float | None = None, hover: str = "", **more: Any) -> None:
        """Add a picture of numbers from 0 to top, or as far as they go."""
        span = {} if top is None else {"zmin": 0, "zmax": top}
        self.add("heatmap", hover, z=z, colorscale=colors, showscale=False, **span, **more)

    def matrices(
        self, x: Span, y: Span, weights: Sequence[Tensor], states: Tensor, boxes: Tensor, constants: Sequence[str]
    ) -> None:
        """Weight matrices on a canvas over a part of the figure, without the rows and columns of constant units.

        weights: float32 (rows, columns) each. states, boxes: of all hidden units, as units.every_unit has them.
        constants: the two values at which units are constant. Only board.js draws them.
        """
        values = np.concatenate([array(weight.flatten()) for weight in weights])
        numbers = {"values": values, "states": array(states), "boxes": array(boxes.flatten())}
        about = {
            "area": [list(x), list(y)],
            "shapes": [list(weight.shape) for weight in weights],
            "colors": canvas_colors(state_names(constants)),
        }
        self._layout["meta"] = {"weights": {**numbers, **about}}

    def figure(self) -> go.Figure:
        """The figure."""
        return go.Figure({"data": self._traces, "layout": self._layout})


def legend(x: float, y: float, *, right: bool = False) -> Spec:
    """A legend in one line above a place; right: left of it."""
    side = {"xanchor": "right"} if right else {}
    return {"orientation": "h", "x": x, **side, "y": y, "yanchor": "bottom", "itemclick": False}


def named(name: str, *, shown: bool = True) -> Spec:
    """What puts a trace into the legend."""
    return {"name": name, "showlegend": shown}


def categories(names: Sequence[str], *, down: bool = False, **more: Any) -> Spec:
    """An axis over named things; down: the first one on top.

    Places and not names: redrawn by a widget, an axis takes names that are digits for numbers.
    """
    span = [len(names) - 0.4, -0.6] if down else [-0.6, len(names) - 0.4]
    return {"tickvals": list(range(len(names))), "ticktext": list(names), "range": span, **more}


def colored(text: str, color: str) -> str:
    """A text in a colour."""
    return f"<span style='color:{color}'>{text}</span>"


def columns(count: int, start: float, stop: float, gap: float) -> list[Span]:
    """So many spans of equal width from start to stop."""
    width = (stop - start - gap * (count - 1)) / max(count, 1)
    return [(start + k * (width + gap), start + k * (width + gap) + width) for k in range(count)]


def disc(center: np.ndarray, radius: float = 1.0) -> np.ndarray:
    """The edge of a disc around a point (2,): coordinates and points (2, points)."""
    edge: np.ndarray = center[:, None] + radius * np.stack([np.cos(ANGLE), np.sin(ANGLE)])
    return edge


def array(tensor: Tensor) -> np.ndarray:
    """The tensor as plotly takes it."""
    return tensor.detach().cpu().numpy()


def finite(values: np.ndarray) -> np.ndarray:
    """The values, NaN for those that are not finite."""
    return np.where(np.isfinite(values), values, np.nan)


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
