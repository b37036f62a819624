"""The curves of a training run, while it goes on and afterwards."""

from typing import Any

import plotly.graph_objects as go

from lliptools.teach.shared.panels import Panels, legend, named
from lliptools.teach.shared.style import CERTIFIED, GLOBAL_LINE, INK
from lliptools.training import History

LOSS_PANEL, ACCURACY_PANEL, ROWS = (0.0, 0.42), (0.56, 1.0), (0.0, 1.0)
CURVES = (
    ("clean", "clean, training batches", GLOBAL_LINE, "dot"),
    ("validation_clean", "clean, held out", INK, "dash"),
    ("validation_certified", "certified, held out", CERTIFIED, "solid"),
)


def training(history: History, epochs: int | None = None) -> go.Figure:
    """Loss and accuracies of a run, epoch by epoch: fit(…, callback=…) returns a history after each of them.

    * left: the loss of the batches
    * right: what was classified correctly and, where the run has a validation part, what was certified of it

    epochs: how many there are to be, for axes that stay while the curves grow.
    """
    numbers = [number + 1 for number in history["epoch"]] if len(history) else []
    span = {"range": [0.5, max(2, len(numbers), epochs or 0) + 0.5], "title": "epoch"}
    place = legend(1, 1.02, right=True)
    panels = Panels(300, margin={"l": 60, "r": 20, "t": 50, "b": 48}, showlegend=True, legend=place)
    panels.open(LOSS_PANEL, ROWS, " ", span, {"title": "loss", "rangemode": "tozero"})
    # Always the same traces, empty before the first epoch and where the run has no validation part.
    _curve(panels, numbers, history["loss"] if numbers else [], INK, "solid", size=5)
    panels.open(ACCURACY_PANEL, ROWS, " ", span, {"title": "fraction of points", "range": [0, 1.02]})
    for name, label, color, dash in CURVES:
        there = bool(numbers) and name in history.epochs[0]
        y = history[name] if there else []
        _curve(panels, numbers if there else [], y, color, dash, size=4, **named(label, shown=there))
    return panels.figure()


def _curve(panels: Panels, x: list[float], y: list[float], color: str, dash: str, *, size: int, **more: Any) -> None:
    more |= {"mode": "lines+markers", "line": {"color": color, "dash": dash, "width": 2.5}}
    panels.marks(x, y, "%{y:.4g}", more=more, size=size, color=color)
