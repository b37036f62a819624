"""Figures: results in, plotly Figure out. Nothing is computed here."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lliptools.teach.style import (
    AXIS,
    CERTIFIED,
    GLOBAL,
    INK,
    LAYOUT,
    LOCAL,
    REFUTED,
    STATES,
    WEIGHT_KEPT,
    WEIGHTS,
)
from lliptools.teach.views import NeuronView, Plane

__all__ = ["neurons"]

Spec = dict[str, Any]
HEIGHT = 700
# The three rows of the figure, as fractions of its height.
TOP, MIDDLE, BOTTOM = (0.73, 0.96), (0.37, 0.62), (0.06, 0.24)


def neurons(view: NeuronView, index: int) -> go.Figure:
    """The neurons of a network near a point, in the ball of radius view.radii[index].

    Top: the point, and every hidden unit, constant at 0, constant at its threshold, or varying. Middle: the weight
    matrices with the rows and columns of constant units struck. Bottom: norms of the layers, their product, and the
    distance within which no other class can catch up against the radius, which meets the diagonal at the certified
    radius.
    """
    panels = _Panels()
    if view.plane is None:
        _picture(panels, view)
    else:
        _plane(panels, view, view.plane, index)
    _units(panels, view, index)
    _matrices(panels, view, index)
    _norms(panels, view, index)
    _products(panels, view, index)
    _reach(panels, view, index)
    return panels.figure()


class _Panels:
    """Traces, axes and annotations of a figure that is laid out by hand."""

    def __init__(self) -> None:
        self.traces: list[Spec] = []
        self.layout: Spec = {
            **LAYOUT,
            "height": HEIGHT,
            "margin": {"l": 30, "r": 12, "t": 8, "b": 34},
            "annotations": [],
        }
        self.layout |= {
            "showlegend": True,
            "legend": {"orientation": "h", "x": 0.36, "y": 1.015, "yanchor": "bottom"},
        }
        self.count = 0

    def open(self, x: tuple[float, float], y: tuple[float, float], title: str, xaxis: Spec, yaxis: Spec) -> Spec:
        """Open a panel; returns what its traces need to find their axes."""
        self.count += 1
        number = "" if self.count == 1 else str(self.count)
        self.layout[f"xaxis{number}"] = {**AXIS, "domain": x, "anchor": f"y{number}", **xaxis}
        self.layout[f"yaxis{number}"] = {**AXIS, "domain": y, "anchor": f"x{number}", **yaxis}
        self.write(f"<b>{title}</b>", x[0], y[1], yanchor="bottom", xanchor="left")
        return {"xaxis": f"x{number}", "yaxis": f"y{number}"}

    def write(self, text: str, x: float, y: float, **more: Any) -> None:
        """Write text at a place of the figure, or of a panel with xref and yref."""
        place = {"xref": "paper", "yref": "paper", "showarrow": False, "font": {"size": 12}}
        self.layout["annotations"].append({**place, "text": text, "x": x, "y": y, **more})

    def add(self, axes: Spec, **trace: Any) -> None:
        """Add a trace to a panel."""
        self.traces.append({"showlegend": False, **axes, **trace})

    def figure(self) -> go.Figure:
        """The figure."""
        return go.Figure({"data": self.traces, "layout": self.layout})


HIDDEN_AXIS: Spec = {"visible": False}


def _picture(panels: _Panels, view: NeuronView) -> None:
    side = math.isqrt(view.point.numel())
    square = side * side == view.point.numel()
    pixels = _numpy(view.point).reshape(side, side) if square else _numpy(view.point)[None]
    right = "" if view.predicted == view.label else " (wrong)"
    title = f"label {view.label}, predicted {view.predicted}{right}"
    mirrored: Spec = {"autorange": "reversed", "constrain": "domain", **HIDDEN_AXIS}
    if square:
        mirrored |= {"scaleanchor": "x", "scaleratio": 1}
    axes = panels.open((0.0, 0.24), TOP, title, {**HIDDEN_AXIS, "constrain": "domain"}, mirrored)
    panels.add(
        axes,
        type="heatmap",
        z=pixels,
        colorscale="Greys",
        showscale=False,
        hovertemplate="pixel %{y}, %{x}: %{z:.3f}<extra></extra>",
    )


CLASS_TINTS = (
    "#DCEBF7",
    "#FBE7CC",
    "#DDF0E4",
    "#F7DDE9",
    "#EFEFD0",
    "#E4DDF3",
    "#D8EEEE",
    "#F3E0D8",
    "#E8E8E8",
    "#E0F0D0",
)


def _plane(panels: _Panels, view: NeuronView, plane: Plane, index: int) -> None:
    kinked = np.zeros(plane.classes.shape, dtype=bool)
    moving = np.zeros(plane.classes.shape, dtype=bool)
    for layer, kinks in enumerate(plane.kinks):
        varying = view.states(layer, index) == 2
        kinked |= _numpy(kinks.any(dim=0))
        moving |= _numpy(kinks[varying].any(dim=0))
    code = (_numpy(plane.classes) % 10).astype(np.uint8)
    code[kinked] = 10
    code[moving] = 11
    steps = [*CLASS_TINTS, "#C4C4C4", LOCAL]
    scale = [[edge / 12, color] for k, color in enumerate(steps) for edge in (k, k + 1)]
    x, y = _numpy(plane.x0), _numpy(plane.x1)
    fixed_x: Spec = {"range": [x[0], x[-1]], "constrain": "domain", **HIDDEN_AXIS}
    fixed_y: Spec = {"range": [y[0], y[-1]], "scaleanchor": "x", "constrain": "domain", **HIDDEN_AXIS}
    right = "" if view.predicted == view.label else " (wrong)"
    axes = panels.open(
        (0.0, 0.28),
        (TOP[0] - 0.05, TOP[1]),
        f"label {view.label}, predicted {view.predicted}{right}",
        fixed_x,
        fixed_y,
    )
    panels.add(
        axes,
        type="heatmap",
        x=x,
        y=y,
        z=code,
        zmin=0,
        zmax=12,
        colorscale=scale,
        showscale=False,
        hoverinfo="skip",
    )
    certified = view.certified(index)
    for radius, line in (
        (float(view.radii[index]), {"color": CERTIFIED if certified else REFUTED, "width": 3}),
        (view.radius, {"color": INK, "width": 1.5, "dash": "dot"}),
    ):
        angle = np.linspace(0, 2 * np.pi, 73)
        circle = _numpy(view.point)[:, None] + radius * np.stack([np.cos(angle), np.sin(angle)])
        panels.add(axes, type="scatter", x=circle[0], y=circle[1], mode="lines", line=line, hoverinfo="skip")
    marker = {"color": INK, "size": 7, "symbol": "x"}
    panels.add(
        axes,
        type="scatter",
        x=[view.point[0].item()],
        y=[view.point[1].item()],
        mode="markers",
        marker=marker,
        hoverinfo="skip",
    )


def _units(panels: _Panels, view: NeuronView, index: int) -> None:
    layers = len(view.local.blocks) - 1
    if not layers:
        panels.write("no hidden units: one linear map, nothing to strike", 0.66, 0.85)
    for layer, (start, stop) in enumerate(_columns(layers, 0.36, 1.0, gap=0.04)):
        states = _numpy(view.states(layer, index))
        box = view.local.blocks[layer].box
        lower, upper = _numpy(box.lower[index]), _numpy(box.upper[index])
        wide = math.ceil(math.sqrt(2 * len(states)))
        title = f"layer {layer + 1}: {int((states == 2).sum())} of {len(states)} units varying"
        tall = math.ceil(len(states) / wide)
        axes = panels.open(
            (start, stop),
            TOP,
            title,
            {**HIDDEN_AXIS, "range": [-0.7, wide - 0.3]},
            {**HIDDEN_AXIS, "range": [tall - 0.4, -0.6]},
        )
        size = min(11.0, 260 / layers / wide * 1.6)
        for code, state in enumerate(STATES):
            units = np.flatnonzero(states == code)
            panels.add(
                axes,
                type="scatter",
                mode="markers",
                name=state.name,
                showlegend=layer == 0,
                x=units % wide,
                y=units // wide,
                marker={
                    "symbol": state.symbol,
                    "color": state.color,
                    "size": size,
                    "line": {"width": 1.2, "color": state.color},
                },
                text=[f"unit {u}: {state.name}<br>pre-activation in [{lower[u]:.3g}, {upper[u]:.3g}]" for u in units],
                hovertemplate="%{text}<extra></extra>",
            )


def _matrices(panels: _Panels, view: NeuronView, index: int) -> None:
    blocks = view.local.blocks
    for k, (start, stop) in enumerate(_columns(len(blocks), 0.0, 1.0, gap=0.05)):
        weight = np.abs(_numpy(blocks[k].linear.weight))
        rows = _numpy(blocks[k].slope[index]) > 0
        columns = _numpy(blocks[k - 1].slope[index]) > 0 if k else np.ones(weight.shape[1], dtype=bool)
        picture = (weight / max(weight.max(), 1e-300) * WEIGHT_KEPT).astype(np.uint8)
        picture[~rows] = picture[:, ~columns] = 255
        tall, wide = weight.shape
        title = f"W<sub>{k + 1}</sub>  {tall}×{wide} → {rows.sum()}×{columns.sum()}"
        axes = panels.open(
            (start, stop),
            MIDDLE,
            title,
            {
                "title": {"text": f"inputs of layer {k + 1}", "standoff": 4},
                "range": [-0.5, wide - 0.5],
                "nticks": 5,
            },
            {
                "range": [tall - 0.5, -0.5],
                "nticks": 4,
                "title": {"text": "units" if k == 0 else "", "standoff": 4},
            },
        )
        panels.add(
            axes,
            type="heatmap",
            z=picture,
            zmin=0,
            zmax=255,
            colorscale=WEIGHTS,
            showscale=False,
            hovertemplate="row %{y}, column %{x}<extra></extra>",
        )


def _bars(panels: _Panels, axes: Spec, names: list[str], everywhere: list[float], local: list[float]) -> None:
    for values, name, color, hatch in ((everywhere, "global", GLOBAL, "/"), (local, "local", LOCAL, "")):
        panels.add(
            axes,
            type="bar",
            x=names,
            y=values,
            name=name,
            marker={
                "color": color,
                "pattern": {"shape": hatch, "fgcolor": "#666666", "size": 5},
                "line": {"width": 1, "color": INK},
            },
            text=[f"{value:.3g}" for value in values],
            textposition="outside",
            cliponaxis=False,
            textfont={"size": 11},
            hovertemplate=f"{name} %{{x}}: %{{y:.6g}}<extra></extra>",
        )


def _norms(panels: _Panels, view: NeuronView, index: int) -> None:
    everywhere = [block.norm.item() for block in view.everywhere.blocks]
    local = [block.norm[index].item() for block in view.local.blocks]
    names = [f"W<sub>{k + 1}</sub>" for k in range(len(local))]
    top = {"range": [0, 1.2 * _most(everywhere)], "nticks": 4}
    axes = panels.open((0.0, 0.4), BOTTOM, "norm of each layer: global (hatched), local (plain)", {}, top)
    _bars(panels, axes, names, everywhere, local)


def _products(panels: _Panels, view: NeuronView, index: int) -> None:
    everywhere, local = view.everywhere.value.item(), view.local.value[index].item()
    top = {"range": [0, 1.2 * _most([everywhere])], "nticks": 4}
    axes = panels.open((0.45, 0.62), BOTTOM, "product L", {}, top)
    _bars(panels, axes, ["bound"], [everywhere], [local])


def _reach(panels: _Panels, view: NeuronView, index: int) -> None:
    radii, reach = _numpy(view.radii), _numpy(view.reach)
    eps, last = float(radii[index]), float(radii[-1])
    certified = view.certified(index)
    color, word = (CERTIFIED, "certified") if certified else (REFUTED, "not certified")
    axes = panels.open(
        (0.7, 1.0),
        BOTTOM,
        f"at r = {eps:.3g}: <span style='color:{color}'>{'✔' if certified else '✘'} {word}</span>",
        {"range": [0, last], "title": {"text": "radius r", "standoff": 2}, "nticks": 6},
        {"range": [0, 1.05 * last], "title": {"text": "margin / L(x, r)", "standoff": 4}, "nticks": 4},
    )
    shown = np.where(np.isfinite(reach) & (reach > 0), reach, np.nan)
    flat = view.reach_global if math.isfinite(view.reach_global) and view.reach_global > 0 else math.nan
    line = {"type": "scatter", "mode": "lines", "hovertemplate": "r = %{x:.3g}: %{y:.3g}<extra></extra>"}
    panels.add(axes, **line, x=[0, last], y=[0, last], line={"color": "#888888", "width": 1})
    panels.add(axes, **line, x=[0, last], y=[flat, flat], line={"color": "#777777", "dash": "dash", "width": 2})
    panels.add(axes, **line, x=radii, y=shown, line={"color": LOCAL, "width": 2.5})
    panels.add(
        axes,
        **line,
        x=[eps, eps],
        y=[0, 1.05 * last],
        line={"color": color, "width": 2, "dash": "solid" if certified else "dot"},
    )
    both = [radius if 0 < radius <= last else math.nan for radius in (view.radius_global, view.radius)]
    marker = {
        "symbol": ["square", "circle"],
        "size": 9,
        "color": ["#777777", LOCAL],
        "line": {"color": INK, "width": 1},
    }
    panels.add(
        axes,
        type="scatter",
        mode="markers",
        x=both,
        y=both,
        marker=marker,
        text=["global", "local"],
        hovertemplate="certified radius, %{text}: %{x:.4g}<extra></extra>",
    )


def _columns(count: int, start: float, stop: float, gap: float) -> list[tuple[float, float]]:
    width = (stop - start - gap * (count - 1)) / max(count, 1)
    return [(start + k * (width + gap), start + k * (width + gap) + width) for k in range(count)]


def _most(values: list[float]) -> float:
    return max([value for value in values if math.isfinite(value) and value > 0], default=1.0)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
