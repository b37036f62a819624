"""The curves of a training run, while it goes on and afterwards. Results in, plotly Figure out."""

import plotly.graph_objects as go

from lliptools.teach.shared.style import AXIS, CERTIFIED, GLOBAL_LINE, INK, LAYOUT
from lliptools.training import History

__all__ = ["training"]

LOSS_PANEL, ACCURACY_PANEL = (0.0, 0.42), (0.56, 1.0)
CURVES = (
    ("clean", "clean, training batches", GLOBAL_LINE, "dot"),
    ("validation_clean", "clean, held out", INK, "dash"),
    ("validation_certified", "certified, held out", CERTIFIED, "solid"),
)


def training(history: History, epochs: int | None = None) -> go.Figure:
    """Loss and accuracies of a run, epoch by epoch: fit(…, callback=…) gives a history after each of them.

    Left the loss of the batches; right what was classified correctly and, where the run has a validation part, what was
    certified of it. epochs: how many there are to be, for axes that stay while the curves grow.
    """
    numbers = [number + 1 for number in history["epoch"]] if len(history) else []
    figure = go.Figure()
    # Always the same traces, empty before the first epoch and where the run has no validation part.
    figure.add_scatter(
        x=numbers,
        y=history["loss"] if numbers else [],
        mode="lines+markers",
        line={"color": INK},
        marker={"size": 5},
        showlegend=False,
    )
    for name, label, color, dash in CURVES:
        there = bool(numbers) and name in history.epochs[0]
        figure.add_scatter(
            x=numbers if there else [],
            y=history[name] if there else [],
            mode="lines+markers",
            name=label,
            line={"color": color, "dash": dash, "width": 2.5},
            marker={"size": 4},
            showlegend=there,
            xaxis="x2",
            yaxis="y2",
        )
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
    span = {"range": [0.5, max(2, len(numbers), epochs or 0) + 0.5], "title": "epoch"}
    figure.update_layout(LAYOUT, height=300, margin={"l": 60, "r": 20, "t": 50, "b": 48}, legend=legend)
    figure.update_layout(
        xaxis=AXIS | span | {"domain": LOSS_PANEL},
        yaxis=AXIS | {"title": "loss", "rangemode": "tozero"},
        xaxis2=AXIS | span | {"domain": ACCURACY_PANEL, "anchor": "y2"},
        yaxis2=AXIS | {"title": "fraction of points", "range": [0, 1.02], "anchor": "x2"},
    )
    return figure
