"""The curves of a training run, while it goes on and afterwards."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from lliptools.teach.explorers.training.view import Near
from lliptools.teach.shared.panels import Panels, Spec, legend, named
from lliptools.teach.shared.style import CERTIFIED, GLOBAL_LINE, GREY, INK

if TYPE_CHECKING:
    from lliptools.training import History

ROWS, LINE = (0.0, 1.0), 0.055  # the latter: between names, in units of accuracy
TWO, THREE = ((0.0, 0.33), (0.41, 1.0)), ((0.0, 0.19), (0.27, 0.62))  # panels; beside them the matrices
CURVES = (
    ("clean", "clean, training batches", GLOBAL_LINE, "dot"),
    ("validation_clean", "clean, held out", INK, "dash"),
    ("validation_certified", "certified, held out", CERTIFIED, "solid"),
)

# The shipped network of the recipe.
GHOSTS = (
    ("clean", INK, "clean, the shipped network"),
    ("certified", CERTIFIED, "certified, the shipped network"),
    ("global", GLOBAL_LINE, "certified, its twin with the global bound"),
)


def training(
    history: "History",
    epochs: int | None = None,
    ghost: Mapping[str, float] | None = None,
    at: tuple[int, Near | None] = (0, None),
) -> go.Figure:
    """Loss and accuracies of a run, epoch by epoch: fit(…, callback=…) returns a history after each of them.

    * left: the loss of the batches
    * right: what was classified correctly and, where the run has a validation part, what was certified of it

    epochs: how many there are to be, for axes that stay while the curves grow. ghost: what the shipped network of the
    recipe has reached, by what is measured. at: an epoch that is marked, and its network near a point, whose matrices
    then stand on the right.
    """
    epoch, near = at
    numbers = [number + 1 for number in history["epoch"]] if len(history) else []
    last = max(2, len(numbers), epochs or 0) + 0.5
    span = {"range": [0.5, last], "title": "epoch"}
    loss, accuracies = THREE if near else TWO
    above = {"legend": legend(accuracies[0], 1.0)} if near else {}  # a line of their own, where a panel is narrow
    panels = Panels(380, margin={"l": 52, "r": 12, "t": 40 if near else 22, "b": 42}, **above)
    panels.open(loss, ROWS, "loss of the batches", span, {"rangemode": "tozero"})
    # Always the same traces, empty before the first epoch and where the run has no validation part.
    _curve(panels, numbers, history["loss"] if numbers else [], INK, "solid", size=5)
    panels.open(accuracies, ROWS, "accuracy", span, {"range": [0, 1.02]})
    for name, label, color, dash in CURVES:
        there = bool(numbers) and name in history.epochs[0]
        y = history[name] if there else []
        _curve(panels, numbers if there else [], y, color, dash, size=4, **named(label, shown=there))
    known = dict(ghost or {})
    # Names stand where curves are seldom: that of what is clean under its band, the others over both of theirs.
    certified = sorted(known.keys() - {"clean"}, key=known.__getitem__)
    written = known | {what: known[certified[-1]] + k * LINE for k, what in enumerate(certified)}
    for what, color, name in GHOSTS:
        level, right = known.get(what, math.nan), what == "clean"
        hover, look = f"{name}: %{{y:.3f}}", {"line": {"color": color, "width": 6}, "opacity": 0.2}
        panels.add("scatter", hover, mode="lines", x=[0.5, last], y=[level, level], **look)
        place: dict[str, Any] = {"xref": "x2", "yref": "y2", "font": {"size": 11, "color": "#777777"}}
        place |= {"xanchor": "right", "yanchor": "top"} if right else {"xanchor": "left", "yanchor": "bottom"}
        panels.write(name if what in written else "", last if right else 0.14 * last, written.get(what, 0), **place)
    for number, top in (("", max(history["loss"], default=1.0) if numbers else 1.0), ("2", 1.0)):
        line = {"color": GREY, "width": 1, "dash": "dot"}
        marked: Spec = {"x": [epoch, epoch] if epoch else [None], "y": [0, top] if epoch else [None]}
        panels.add("scatter", mode="lines", line=line, **marked, xaxis=f"x{number}", yaxis=f"y{number}")
    if near:
        panels.matrices((0.67, 1.0), ROWS, near.matrices, near.states, near.boxes, near.names)
    return panels.figure()


def _curve(panels: Panels, x: list[float], y: list[float], color: str, dash: str, *, size: int, **more: Any) -> None:
    more |= {"mode": "lines+markers", "line": {"color": color, "dash": dash, "width": 2.5}}
    panels.marks(x, y, "%{y:.4g}", more=more, size=size, color=color)
