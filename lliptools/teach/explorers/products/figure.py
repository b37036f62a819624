"""Why the product of norms is loose. Results in, plotly Figure out; nothing is computed here."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lliptools.teach.explorers.products.view import ProductView, above
from lliptools.teach.shared.panels import Panels, array, columns
from lliptools.teach.shared.style import GLOBAL, GLOBAL_LINE, INK, LOCAL, UNPROVED

__all__ = ["products"]

CHAIN, LOWER = (0.70, 0.94), (0.0, 0.56)
PICTURE, BARS = (0.0, 0.36), (0.46, 1.0)
LIMIT = 1.12
SHOWN = 9  # depths that find room side by side
ROOM = 4.0  # how much wider than the image of the ball a picture may be
ANGLE = np.linspace(0, 2 * np.pi, 97)
CIRCLE, NOTHING = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1), np.full((1, 2), math.nan)


def products(view: ProductView, depth: int) -> go.Figure:
    """A network as a chain of ellipses, up to a depth.

    Top: what each depth makes of the ball, inside of the circle that the product of the norms allows. Left: the last of
    them, large. Right: the product, the exact constant where it is known, and the best sampled slope.
    """
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": -0.13, "yanchor": "top", "itemclick": False}
    panels = Panels(500, margin={"l": 44, "r": 10, "t": 20, "b": 62}, showlegend=True, legend=legend)
    first = max(0, min(depth - SHOWN // 2, view.depths + 1 - SHOWN))
    shown = range(first, min(view.depths + 1, first + SHOWN))
    spans = columns(max(len(shown), 5), 0.0, 1.0, gap=0.02)
    for span, number in zip(spans, shown, strict=False):
        word = "ball" if number == 0 else f"depth {number}"
        title = f"<span style='color:{INK if number <= depth else GLOBAL_LINE}'>{word}</span>"
        frame = {"range": [-LIMIT, LIMIT], "showticklabels": False, "ticks": "", "showline": False}
        _open(panels, span, CHAIN, title, frame)
        there = number <= depth
        _curve(panels, CIRCLE if there else NOTHING, color=GLOBAL_LINE, width=1.2)
        _filled(panels, array(view.image[number]) if there else NOTHING)
    _picture(panels, view, depth)
    _bars(panels, view, depth)
    return panels.figure()


def _picture(panels: Panels, view: ProductView, depth: int) -> None:
    """What a depth makes of the ball, in units of the ball's radius, and what is allowed where there is room for it."""
    image, ellipse, product = array(view.image[depth]), array(view.ellipse[depth]), view.product[depth].item()
    widest = float(max(np.abs(image).max(), np.abs(ellipse).max())) or 1.0
    inside = ROOM * widest >= 1
    limit = LIMIT if inside else 1.5 * widest
    unit = product if 0 < product < math.inf else 1.0
    frame = {"range": [-limit * unit, limit * unit], "nticks": 5, "mirror": True, "exponentformat": "power"}
    _open(panels, PICTURE, LOWER, f"depth {depth}: the ball becomes", {**frame, "title": "in units of its radius"})
    _curve(panels, unit * CIRCLE, color=GLOBAL_LINE, width=2)
    _filled(panels, unit * image)
    _curve(panels, unit * ellipse, color=INK, width=1.5, dash="dot")
    words = "grey: what the product allows" if inside else f"the product allows a circle of radius {above(product)}"
    panels.write(
        f"{words}<br>dotted: its Jacobian alone", PICTURE[0], -0.09, xanchor="left", yanchor="top", align="left"
    )


def _open(
    panels: Panels, across: tuple[float, float], up: tuple[float, float], title: str, frame: dict[str, Any]
) -> None:
    """A panel whose two axes have one scale."""
    number = panels.count + 1
    left = {**frame, "constrain": "domain", "constraintoward": "left"}
    top = {**frame, "constrain": "domain", "constraintoward": "top", "scaleanchor": f"x{number if number > 1 else ''}"}
    panels.open(across, up, title, left, {**top, "title": ""})


def _curve(panels: Panels, points: np.ndarray, **line: Any) -> None:
    panels.line(points[:, 0], points[:, 1], simplify=False, **line)


def _filled(panels: Panels, points: np.ndarray) -> None:
    look = {"mode": "lines", "fill": "toself", "fillcolor": "rgba(0, 114, 178, 0.25)", "hoverinfo": "skip"}
    panels.add(
        "scatter", x=points[:, 0], y=points[:, 1], line={"color": LOCAL, "width": 1.5, "simplify": False}, **look
    )


def _bars(panels: Panels, view: ProductView, depth: int) -> None:
    depths = list(range(1, depth + 1))
    values = [_positive(part)[1 : depth + 1] for part in (view.product, view.exact, view.sampled)]
    every = np.concatenate([_positive(part) for part in (view.product, view.exact, view.sampled)])
    finite = np.log10(every[np.isfinite(every)])
    low, high = math.floor(finite.min() - 0.3), finite.max() + 0.12 * (finite.max() - finite.min() + 1)
    across = {"range": [0.4, view.depths + 0.6], "title": "depth", "dtick": 1 if view.depths <= 12 else 5}
    up = {
        "type": "log",
        "range": [low, high],
        "exponentformat": "power",
        "tickfont": {"size": 11},
        "dtick": max(1, round((high - low) / 4)),
    }
    panels.open(BARS, LOWER, "Lipschitz constant up to each depth", across, up)
    looks = (("product of norms, from above", GLOBAL, "/"), ("exact on the ball", LOCAL, ""))
    for (name, color, hatch), heights in zip(looks, values, strict=False):
        panels.add(
            "bar",
            name=name,
            showlegend=True,
            x=depths or [None],
            y=heights if depths else [None],
            marker={
                "color": color,
                "line": {"width": 1, "color": INK},
                "pattern": {"shape": hatch, "fgcolor": "#666666", "size": 5},
            },
            text=["" if math.isnan(height) or not hatch else above(height) for height in heights.tolist()],
            textposition="outside",
            cliponaxis=False,
            constraintext="none",
            textfont={"size": 11 if view.depths <= 9 else 9},
            hovertemplate=f"{name}, depth %{{x}}: %{{y:.6g}}<extra></extra>",
        )
    panels.add(
        "scatter",
        name="best sampled slope, from below",
        showlegend=True,
        mode="lines+markers",
        x=depths or [None],
        y=values[2] if depths else [None],
        line={"color": UNPROVED, "width": 2, "dash": "dash"},
        marker={"symbol": "circle-open", "size": 9, "color": UNPROVED, "line": {"width": 2}},
        hovertemplate="best sampled slope, depth %{x}: %{y:.6g}<extra></extra>",
    )


def _positive(values: object) -> np.ndarray:
    """The values that a logarithmic axis has a place for; NaN for the others."""
    numbers = array(values)  # type: ignore[arg-type]
    return np.where((numbers > 0) & np.isfinite(numbers), numbers, np.nan)
