"""The neurons of a network near a point."""

import math
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from lliptools.digits import radius_text, round_down, round_up
from lliptools.teach.explorers.neurons.units_figure import units, weights
from lliptools.teach.explorers.neurons.view import NeuronView
from lliptools.teach.shared.map_figure import decision_map, name_classes, picture
from lliptools.teach.shared.panels import Panels, Span, array, colored, disc, finite, legend
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.style import BOTH, CERTIFIED, GLOBAL, GLOBAL_LINE, INK, KINK, LOCAL, UNPROVED
from lliptools.teach.shared.units import every_unit

if TYPE_CHECKING:
    from lliptools.domains import BlockBound

FAINT, LETTERS = "#8FB8D4", 5  # the latter above a bar
# Height of the figure in pixels, and its three rows of panels as fractions of it.
PICTURE_ROWS = 520, (0.74, 0.95), (0.35, 0.62), (0.0, 0.22)
MAPS_ROWS = 524, (0.68, 0.95), (0.32, 0.58), (0.0, 0.19)
DENSE_ROWS = 520, (0.72, 1.0), (0.37, 0.65), (0.0, 0.22)
PLANE_ROWS = 524, (0.55, 0.96), (0.28, 0.45), (0.0, 0.175)


def neurons(view: NeuronView, index: int, first: int = 0) -> go.Figure:
    """The neurons of a network near a point, in the ball of radius view.radii[index].

    * of a small dense network: the point, and what it is when it is moved by the radius; beside it the weight matrices
      on a canvas, without the rows and columns of constant units
    * else, top: the point, and every hidden unit: constant at 0, constant at its threshold, or varying
    * middle: the weight matrices, or the kernels of convolutions, without the rows and columns of constant units; what
      is left lies packed in the corner of what was there
    * bottom: norms of the layers, their product, and the distance within which no other class can catch up against the
      radius, which meets the diagonal at the certified radius

    first: of a network of many layers, the first of the four that are shown.
    """
    maps, dense = any(layer.block.slope.dim() > 2 for layer in view.hidden), bool(view.matrices)
    rows = DENSE_ROWS if dense else PLANE_ROWS if view.plane else MAPS_ROWS if maps else PICTURE_ROWS
    height, top, middle, bottom = rows
    panels = Panels(height, margin={"l": 48, "r": 10, "t": 30, "b": 36}, showlegend=True, legend=legend(0.27, 1.0))
    wins = f"predicted {view.predicted}" if view.predicted == view.label else f"{view.predicted} wins (wrong)"
    title = f"label {view.label}, {wins}"
    if view.plane is None:
        picture(panels, (0.0, 0.2), top, title, view.point)
    else:
        _plane(panels, (middle[0], top[1]) if dense else top, title, view, view.plane, index)
    if dense:
        if view.plane is None:
            points, classes = view.moved
            picture(panels, (0.0, 0.2), middle, f"moved by ε: {int(classes[index])} wins", points[index])
        across, found = (0.24 if view.plane is None else 0.42, 1.0), every_unit(view.hidden, index)
        panels.matrices(across, (middle[0], 1.0), view.matrices, *found, view.hidden[0].constants)
    else:
        units(panels, (0.27 if view.plane is None else 0.40, 1.0), top, height, view, index, first)
        weights(panels, middle, view, index, first)
    _norms(panels, bottom, view, index)
    _reach(panels, bottom, view, index)
    return panels.figure()


def near(view: NeuronView, index: int) -> go.Figure:
    """The point, the point moved by the radius view.radii[index], and the units by their state in the ball."""
    height = 380
    panels = Panels(height, margin={"l": 10, "r": 10, "t": 24, "b": 10})
    picture(panels, (0.0, 0.2), (0.56, 1.0), f"x, a {view.label}", view.point)
    points, classes = view.moved
    picture(panels, (0.0, 0.2), (0.0, 0.44), f"moved by ε: {int(classes[index])} wins", points[index])
    units(panels, (0.27, 1.0), (0.0, 1.0), height, view, index, 0)
    return panels.figure().update_traces(showlegend=False)


def _plane(panels: Panels, up: Span, title: str, view: NeuronView, plane: Plane, index: int) -> None:
    """The point in the plane, classes and kinks around it, the ball, and the certified ball."""
    every, moving = (array(lines) for lines in view.kinks(plane, index))
    width = decision_map(panels, (0.0, 0.36), up, title, plane, (every, KINK), (moving, LOCAL))
    center, certified = array(view.point), view.certified(index)
    # A radius beyond the picture would only be drawn over the other panels.
    panels.line(*disc(center, min(view.radius, 10.0 * width)), color=INK, width=1.5, dash="dot")
    look = {"color": CERTIFIED, "dash": "solid"} if certified else {"color": UNPROVED, "dash": "dash"}
    panels.line(*disc(center, float(view.radii[index])), width=3, **look)
    panels.marks(center[:1], center[1:], size=6, symbol="x-thin-open", line={"width": 1.5})
    name_classes(panels, plane)


def _norms(panels: Panels, row: Span, view: NeuronView, index: int) -> None:
    everywhere, local = view.everywhere.blocks, view.local.blocks
    names = [_norm_name(k + 1, block, len(local)) for k, block in enumerate(local)]
    layers = [block.norm.item() for block in everywhere], [block.norm[index].item() for block in local]
    product = [view.everywhere.value.item()], [view.local.value[index].item()]
    for span, title, ticks, values in (
        ((0.0, 0.38), "norms: global (hatched), local (plain)", names, layers),
        ((0.45, 0.61), "their product L", ["bound"], product),
    ):
        top = max((value for value in values[0] if math.isfinite(value)), default=0.0) or 1.0
        panels.open(span, row, title, {"tickangle": 0}, {"range": [0, 1.2 * top], "nticks": 4})
        for heights, name, color, hatch in ((values[0], "global", GLOBAL, "/"), (values[1], "local", LOCAL, "")):
            digits = 3 if len(heights) <= 3 else 2
            text = [_above(height, digits) if len(heights) <= 5 else "" for height in heights]
            panels.bars(ticks, heights, color, hatch, f"{name} %{{x}}: %{{y:.6g}}", text=text)


def _above(bound: float, digits: int) -> str:
    """An upper bound, by one digit where more would not fit above its bar."""
    return text if len(text := round_up(bound, digits)) <= LETTERS else round_up(bound, 1)


def _norm_name(number: int, block: "BlockBound", many: int) -> str:
    """How a block is called under its bar: by its matrix, or by what it is; where many stand there, by its number."""
    if many > 8:
        return str(number)
    kind = "W" if not block.inner else "h + g" if block.skip else "g"
    return f"{kind}<sub>{number}</sub>"


def _reach(panels: Panels, row: Span, view: NeuronView, index: int) -> None:
    radii, reach = array(view.radii), array(view.reach)
    eps, last = float(radii[index]), float(radii[-1])
    certified = view.certified(index)
    color, word = (CERTIFIED, "✔ certified") if certified else (UNPROVED, "✘ not certified")
    title = f"ε = {radius_text(eps, 3)}: {colored(word, color)}"
    up = {"range": [0, 2 * last], "title": "safe distance", "nticks": 4}
    panels.open((0.7, 1.0), row, title, {"range": [0, last], "title": "radius of the ball, ε", "nticks": 6}, up)
    flat = view.reach_global if math.isfinite(view.reach_global) and view.reach_global > 0 else math.nan
    hover = "ε = %{x:.3g}: %{y:.3g}"
    panels.line([0, last], [0, last], color="#888888", width=1)
    panels.line([0, last], [flat, flat], hover, color=GLOBAL_LINE, width=2, dash="dash")
    # What a ball of radius ε proves lasts at most to its edge.
    lasts = np.where(reach > 0, finite(reach), np.nan)
    panels.line(radii, lasts, hover, color=FAINT, width=1.5)
    panels.line(radii, np.minimum(radii, lasts), hover, color=LOCAL, width=2.5)
    panels.line([eps, eps], [0, 2 * last], color=color, width=2, dash="solid" if certified else "dot")
    found = zip((view.radius_global, view.radius), reversed(view.at_least), strict=True)
    both = [radius if 0 < radius <= last and not at_least else math.nan for radius, at_least in found]
    text = [f"global: {round_down(view.radius_global)}", f"local: {round_down(view.radius)}"]
    panels.marks(both, both, "certified radius, %{text}", more={"text": text}, **BOTH)
    # Written always, though mostly empty: a figure that is redrawn keeps the number of its texts.
    ground = {} if view.margin > 0 else {"bgcolor": "#FFFFFF"}
    words = " " if view.margin > 0 else "misclassified: nothing to certify"
    panels.write(words, 0.85, sum(row) / 2, **ground)
