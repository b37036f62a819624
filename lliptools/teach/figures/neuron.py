"""Figures: results in, plotly Figure out. Nothing is computed here."""

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from lliptools.bounds import round_up
from lliptools.teach.panels import HIDDEN, Panels, array, columns
from lliptools.teach.style import (
    CERTIFIED,
    GLOBAL,
    GLOBAL_LINE,
    INK,
    KINK,
    LOCAL,
    STATES,
    TINTS,
    UNPROVED,
    WEIGHT_KEPT,
    WEIGHTS,
)
from lliptools.teach.views import AT_THETA, ON, NeuronView, Plane

__all__ = ["neurons"]


@dataclass(frozen=True)
class Rows:
    """Height of the figure in pixels, and its three rows of panels as fractions of it."""

    height: int
    top: tuple[float, float]
    middle: tuple[float, float]
    bottom: tuple[float, float]


PICTURE_ROWS = Rows(560, (0.74, 0.95), (0.35, 0.62), (0.0, 0.22))
PLANE_ROWS = Rows(640, (0.55, 0.96), (0.28, 0.45), (0.0, 0.175))


def neurons(view: NeuronView, index: int) -> go.Figure:
    """The neurons of a network near a point, in the ball of radius view.radii[index].

    Top: the point, and every hidden unit, constant at 0, constant at its threshold, or varying. Middle: the weight
    matrices with the rows and columns of constant units struck. Bottom: norms of the layers, their product, and the
    distance within which no other class can catch up against the radius, which meets the diagonal at the certified
    radius.
    """
    legend = {"orientation": "h", "x": 0.24, "y": 1.0, "yanchor": "bottom", "itemclick": False}
    rows = PICTURE_ROWS if view.plane is None else PLANE_ROWS
    panels = Panels(rows.height, margin={"l": 48, "r": 10, "t": 30, "b": 36}, showlegend=True, legend=legend)
    if view.plane is None:
        _picture(panels, rows, view)
    else:
        _plane(panels, rows, view, view.plane, index)
    _units(panels, rows, view, index)
    _matrices(panels, rows, view, index)
    _norms(panels, rows, view, index)
    _reach(panels, rows, view, index)
    return panels.figure()


def _point_title(view: NeuronView) -> str:
    return f"label {view.label}, predicted {view.predicted}{'' if view.predicted == view.label else ' (wrong)'}"


def _picture(panels: Panels, rows: Rows, view: NeuronView) -> None:
    side = math.isqrt(view.point.numel())
    square = side * side == view.point.numel()
    pixels = array(view.point).reshape((side, side) if square else (1, -1))
    frame = {"constrain": "domain", "mirror": True, "ticks": "", "showticklabels": False}
    left = {"constraintoward": "left", **frame}
    down = {"autorange": "reversed", "constraintoward": "top", **frame}
    panels.open((0.0, 0.3), rows.top, _point_title(view), left, {**down, "scaleanchor": "x"} if square else down)
    hover = "pixel %{y}, %{x}: %{z:.3f}<extra></extra>"
    panels.add("heatmap", z=pixels, colorscale="Greys", showscale=False, hovertemplate=hover)


def _plane(panels: Panels, rows: Rows, view: NeuronView, plane: Plane, index: int) -> None:
    kinked, moving = (array(lines) for lines in view.kinks(plane, index))
    code = (array(plane.classes) % len(TINTS)).astype(np.uint8)
    code[kinked] = len(TINTS)
    code[moving] = len(TINTS) + 1
    code[array(plane.border)] = len(TINTS) + 2
    steps = [*TINTS, KINK, LOCAL, INK]
    scale = [[edge / len(steps), color] for k, color in enumerate(steps) for edge in (k, k + 1)]
    x, y = array(plane.x0), array(plane.x1)
    left = {"range": [x[0], x[-1]], "constrain": "domain", "constraintoward": "left", "nticks": 6}
    top = {"range": [y[0], y[-1]], "scaleanchor": "x", "constrain": "domain", "constraintoward": "top", "nticks": 6}
    panels.open((0.0, 0.36), rows.top, _point_title(view), left, top)
    look = {"colorscale": scale, "zmin": 0, "zmax": len(steps), "showscale": False, "hoverinfo": "skip"}
    panels.add("heatmap", x=x, y=y, z=code, **look)
    angle = np.linspace(0, 2 * np.pi, 73)
    center, circle = array(view.point)[:, None], np.stack([np.cos(angle), np.sin(angle)])
    # A radius beyond the picture would only be drawn over the other panels.
    dotted = center + min(view.radius, 10.0 * float(x[-1] - x[0])) * circle
    panels.line(*dotted, color=INK, width=1.5, dash="dot")
    certified = view.certified(index)
    disc = center + float(view.radii[index]) * circle
    panels.line(*disc, color=CERTIFIED if certified else UNPROVED, width=3, dash="solid" if certified else "dash")
    cross = {"color": INK, "size": 6, "symbol": "x-thin-open", "line": {"width": 1.5}}
    panels.add("scatter", mode="markers", x=center[0], y=center[1], marker=cross, hoverinfo="skip")
    across, up = zip(*plane.labels.values(), strict=True)
    names = [f"<b>class {label}</b>" for label in plane.labels]
    panels.add(
        "scatter", mode="text", x=across, y=up, text=names, textfont={"size": 13, "color": INK}, hoverinfo="skip"
    )


def _units(panels: Panels, rows: Rows, view: NeuronView, index: int) -> None:
    layers = len(view.local.blocks) - 1
    if not layers:
        panels.write("no hidden units: one linear map, nothing to strike", 0.7, 0.8)
    left = 0.24 if view.plane is None else 0.40
    for layer, span in enumerate(columns(layers, left, 1.0, gap=0.04)):
        states, box = array(view.states(layer, index)), view.local.blocks[layer].box
        lower, upper = array(box.lower[index].flatten()), array(box.upper[index].flatten())
        wide = math.ceil(math.sqrt((4 if view.plane is None else 2) * len(states) / layers))
        tall = math.ceil(len(states) / wide)
        varying = int((states >= ON).sum())
        many = (
            f"{varying} of {len(states)} units varying" if layers <= 2 else f"{varying}/{len(states)} varying"
        )  # room is scarce
        title = f"layer {layer + 1}: {many}"
        across, down = {**HIDDEN, "range": [-0.7, wide - 0.3]}, {**HIDDEN, "range": [tall - 0.4, -0.6]}
        panels.open(span, rows.top, title, across, down)
        size = min(11.0, 400 / layers / wide)
        for code, state in enumerate(STATES):
            units = np.flatnonzero(states == code)
            if code == AT_THETA and not view.clipped:
                continue
            none = [] if len(units) else [None]  # an empty marker keeps an empty state in the legend
            line = {"width": 1.2, "color": state.color}
            panels.add(
                "scatter",
                mode="markers",
                name=state.name,
                showlegend=layer == 0,
                x=[*(units % wide).tolist(), *none],
                y=[*(units // wide).tolist(), *none],
                marker={"symbol": state.symbol, "color": state.color, "size": size, "line": line},
                text=[f"unit {u}: {state.name}<br>pre-activation in [{lower[u]:.3g}, {upper[u]:.3g}]" for u in units],
                hovertemplate="%{text}<extra></extra>",
            )


def _matrices(panels: Panels, rows: Rows, view: NeuronView, index: int) -> None:
    blocks = view.local.blocks
    for k, span in enumerate(columns(len(blocks), 0.0, 1.0, gap=0.05)):
        weight = np.abs(array(blocks[k].linear.weight))
        kept_rows = array(blocks[k].row_slope[index].flatten()) > 0
        kept_columns = array(blocks[k - 1].slope[index].flatten()) > 0 if k else np.ones(weight.shape[1], dtype=bool)
        brightest = max(np.quantile(weight, 0.99), 1e-300)  # a few large weights would leave the rest dark
        picture = (np.minimum(weight / brightest, 1.0) * WEIGHT_KEPT).astype(np.uint8)
        picture[~kept_rows] = picture[:, ~kept_columns] = 255
        tall, wide = weight.shape
        title = f"W<sub>{k + 1}</sub>  {tall}×{wide} → {kept_rows.sum()}×{kept_columns.sum()}"
        across = {
            "title": f"columns: inputs of layer {k + 1}" if len(blocks) <= 3 else f"inputs of {k + 1}",
            "range": [-0.5, wide - 0.5],
            **_whole_ticks(wide),
        }
        down = {"title": "" if k else "rows: units", "range": [tall - 0.5, -0.5], **_whole_ticks(tall)}
        panels.open(span, rows.middle, title, across, down)
        hover = "row %{y}, column %{x}<extra></extra>"
        panels.add("heatmap", z=picture, zmin=0, zmax=255, colorscale=WEIGHTS, showscale=False, hovertemplate=hover)


def _whole_ticks(count: int) -> dict[str, object]:
    """Ticks at whole numbers, for an axis of counted things."""
    return {"nticks": 5} if count > 5 else {"tick0": 0, "dtick": 1}


def _norms(panels: Panels, rows: Rows, view: NeuronView, index: int) -> None:
    everywhere, local = view.everywhere.blocks, view.local.blocks
    names = [f"W<sub>{k + 1}</sub>" for k in range(len(local))]
    layers = [block.norm.item() for block in everywhere], [block.norm[index].item() for block in local]
    product = [view.everywhere.value.item()], [view.local.value[index].item()]
    for span, title, ticks, values in (
        ((0.0, 0.38), "norms: global (hatched), local (plain)", names, layers),
        ((0.45, 0.61), "their product L", ["bound"], product),
    ):
        finite = [value for value in values[0] if math.isfinite(value)]
        panels.open(span, rows.bottom, title, {}, {"range": [0, 1.2 * (max(finite, default=0.0) or 1.0)], "nticks": 4})
        for heights, name, color, hatch in ((values[0], "global", GLOBAL, "/"), (values[1], "local", LOCAL, "")):
            panels.add(
                "bar",
                x=ticks,
                y=heights,
                marker={
                    "color": color,
                    "line": {"width": 1, "color": INK},
                    "pattern": {"shape": hatch, "fgcolor": "#666666", "size": 5},
                },
                text=[round_up(height, 3) for height in heights],
                textposition="outside",
                cliponaxis=False,
                textfont={"size": 11},
                hovertemplate=f"{name} %{{x}}: %{{y:.6g}}<extra></extra>",
            )


def _reach(panels: Panels, rows: Rows, view: NeuronView, index: int) -> None:
    radii, reach = array(view.radii), array(view.reach)
    eps, last = float(radii[index]), float(radii[-1])
    certified = view.certified(index)
    color, word = (CERTIFIED, "✔ certified") if certified else (UNPROVED, "✘ not certified")
    title = f"ε = {eps:.3g}: <span style='color:{color}'>{word}</span>"
    up = {"range": [0, 2 * last], "title": "safe distance", "nticks": 4}
    panels.open((0.7, 1.0), rows.bottom, title, {"range": [0, last], "title": "radius of the ball, ε", "nticks": 6}, up)
    flat = view.reach_global if math.isfinite(view.reach_global) and view.reach_global > 0 else math.nan
    hover = "ε = %{x:.3g}: %{y:.3g}"
    panels.line([0, last], [0, last], color="#888888", width=1)
    panels.line([0, last], [flat, flat], hover, color=GLOBAL_LINE, width=2, dash="dash")
    panels.line(radii, np.where(np.isfinite(reach) & (reach > 0), reach, np.nan), hover, color=LOCAL, width=2.5)
    panels.line([eps, eps], [0, 2 * last], color=color, width=2, dash="solid" if certified else "dot")
    both = [radius if 0 < radius <= last else math.nan for radius in (view.radius_global, view.radius)]
    ink = {"color": INK, "width": 1}
    panels.add(
        "scatter",
        mode="markers",
        x=both,
        y=both,
        marker={"symbol": ["square", "circle"], "size": 9, "color": [GLOBAL_LINE, LOCAL], "line": ink},
        text=["global", "local"],
        hovertemplate="certified radius, %{text}: %{x:.4g}<extra></extra>",
    )
    # Written always, though mostly empty: a figure that is redrawn keeps the number of its texts.
    panels.write(" " if view.margin > 0 else "misclassified: nothing to certify", 0.85, sum(rows.bottom) / 2)
