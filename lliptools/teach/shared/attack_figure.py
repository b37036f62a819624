"""An input, the same after an attack, and what a classifier makes of both."""

from collections.abc import Callable

import plotly.graph_objects as go
import torch
from torch import Tensor

from lliptools.teach.shared.map_figure import picture
from lliptools.teach.shared.panels import Panels, array, categories, columns, named
from lliptools.teach.shared.shown import display_figure
from lliptools.teach.shared.style import INK, REFUTED


def attack(net: Callable[[Tensor], Tensor], x: Tensor, other: Tensor) -> go.Figure:
    """Two inputs, (*sample,) each, their difference, and the logits of a classifier at both."""
    with torch.no_grad():
        logits = net(torch.stack([x, other]))
    wins = logits.argmax(dim=1).tolist()
    panels, row = Panels(250, margin={"l": 8, "r": 8, "t": 26, "b": 26}), (0.0, 1.0)
    titles = f"x: {wins[0]} wins", f"x′: {wins[1]} wins", f"x′ − x, length {(other - x).norm():.3g}"
    for span, title, shown in zip(columns(3, 0.0, 0.62, 0.03), titles, (x, other, other - x), strict=True):
        picture(panels, span, row, title, shown)
    names = categories([str(k) for k in range(logits.shape[1])])
    panels.open((0.7, 1.0), row, "logits", names, {"nticks": 5})
    for values, name, color, hatch in zip(array(logits), ("x", "x′"), (INK, REFUTED), ("", "/"), strict=True):
        panels.bars(names["tickvals"], values, color, hatch, f"{name}, %{{x}}: %{{y:.3g}}", **named(name))
    return panels.figure()


def show_attack(net: Callable[[Tensor], Tensor], x: Tensor, other: Tensor) -> None:
    """Show it in a notebook."""
    display_figure(attack(net, x, other), "[a picture: the input, the input attacked, their difference, the logits]")
