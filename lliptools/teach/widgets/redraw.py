"""Figures as widgets, and how one is brought to the next figure."""

from collections.abc import Collection
from typing import Any

import plotly.graph_objects as go
from plotly.basedatatypes import Undefined

from lliptools.teach.frames import Place, parts, same
from lliptools.teach.style import CONFIG

__all__ = ["figure_widget", "redraw"]


class _WholeFigure(go.FigureWidget):
    """A figure that the browser is told of when it is whole.

    plotly's own is announced empty, and a busy browser then draws it so, with the button that uploads.
    """

    _whole = False

    def open(self) -> None:
        """Announce the figure to the browser, once it is whole."""
        if self._whole:
            super().open()


def figure_widget(figure: go.Figure) -> go.FigureWidget:
    """The figure as a widget, without the button that uploads it."""
    widget = _WholeFigure(figure)
    widget._config = CONFIG
    widget._whole = True
    widget.open()
    return widget


def redraw(widget: go.FigureWidget, figure: go.Figure, *, send: bool = True, again: Collection[Place] = ()) -> None:
    """Bring the widget to the figure in one message, sending only what has changed. Both have the same traces.

    send: whether the browser is told. again: what it is told though it has not changed.
    """
    before, after = parts(widget), parts(figure)
    places = {**dict.fromkeys(again), **before, **after}
    moved = [place for place in places if place in again or not same(before.get(place), after.get(place))]
    moved = [(trace, path) for trace, path in moved if path != "uid"]
    if not moved:
        return
    traces = sorted({trace for trace, _ in moved if trace is not None})
    style: dict[str, list[Any]] = {}
    for trace, path in moved:
        if trace is not None:
            style.setdefault(path, [Undefined] * len(traces))[traces.index(trace)] = after.get((trace, path))
    update = {
        "restyle_data": style,
        "relayout_data": {path: after.get((trace, path)) for trace, path in moved if trace is None},
        "trace_indexes": traces,
    }
    widget._perform_plotly_update(**update)
    if send:
        widget._send_update_msg(**update)
