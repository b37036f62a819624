"""How a figure on the screen is brought to the next."""

from collections.abc import Collection
from typing import Any

import plotly.graph_objects as go
from plotly.basedatatypes import Undefined

from lliptools.teach.shared.frames import Place, parts, same

__all__ = ["redraw"]


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
