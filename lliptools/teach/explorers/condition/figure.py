"""The condition T ⪰ WᵀW: which scales fulfil it, what they leave of the matrix, and the discs they come from."""

import math

import numpy as np
import plotly.graph_objects as go

from lliptools.teach.explorers.condition.view import ConditionView
from lliptools.teach.shared.panels import HIDDEN, Panels, Spec, array, categories, colored, disc, named
from lliptools.teach.shared.style import CERTIFIED, GLOBAL, GLOBAL_LINE, INK, LOCAL, UNPROVED

HEIGHT, ALL, TOP, BOTTOM = 440, (0.0, 1.0), (0.6, 1.0), (0.0, 0.42)
LEFT, RIGHT = (0.0, 0.5), (0.58, 1.0)
# How a layer's scale is shown, everywhere in the figure: colour, marker, hatch.
LOOKS = {
    "AOL": ("#E69F00", "square", "."),
    "spectral": (GLOBAL, "diamond-open", "/"),
    "SLL": (LOCAL, "circle-open", ""),
}
WORDS = {"spectral": "spectral ‖W‖²", "AOL": "AOL", "SLL": "SLL"}
FEASIBLE = "rgba(0, 158, 115, 0.12)"
MOST_VALUES, MOST_DISCS = 8, 8


def condition(view: ConditionView, reach: tuple[float, float, float]) -> go.Figure:
    """Scales T of one matrix, and T ⪰ WᵀW.

    * left: the plane of two scales; what fulfils the condition lies above the hyperbola
    * top right: the singular values of W T^(−½), none above 1
    * bottom: Gershgorin's discs of T − Q⁻¹ WᵀW Q with T of SLL, which touch 0 from the right, and the eigenvalues of
      T − WᵀW inside them

    reach: how far the two axes of the plane go, and the discs.
    """
    panels = Panels(HEIGHT, margin={"l": 52, "r": 12, "t": 22, "b": 42})
    _plane(panels, view, reach[:2])
    _singular(panels, view)
    _discs(panels, view, reach[2])
    return panels.figure()


def _plane(panels: Panels, view: ConditionView, reach: tuple[float, float]) -> None:
    what = "T ⪰ WᵀW above" if view.whole else f"scales 1 and 2 of {len(view.radii)}"
    across = {"range": [0, reach[0]], "title": "t<sub>1</sub>", "nticks": 6}
    up = {"range": [0, reach[1]], "title": "t<sub>2</sub>", "nticks": 6}
    panels.open(LEFT, ALL, what, across, up)
    one, other = (array(side) for side in view.section.boundary(-4, 4))
    corner = view.section.corner
    # The curve, closed by way of a far corner, so that what lies above it can be filled.
    far = 1e4 * max(*reach, float(one[-1]), float(other[0]))
    curve_x, curve_y = np.append(one, far), np.append(other, corner[1])
    curve_x, curve_y = np.insert(curve_x, 0, corner[0]), np.insert(curve_y, 0, far)
    closed: Spec = {"x": np.append(curve_x, far), "y": np.append(curve_y, far), "line": {"color": "rgba(0,0,0,0)"}}
    panels.add("scatter", mode="lines", fill="toself", fillcolor=FEASIBLE, **closed)
    panels.line(curve_x, curve_y, color=CERTIFIED, width=2.5)
    panels.line([0, far], [0, far], color=GLOBAL_LINE, width=1, dash="dot")
    for name, (color, symbol, _) in LOOKS.items():
        # The others are scales of all the columns, and belong to this plane only where it has no other.
        shown = view.whole or name == "SLL"
        x, y = ([view.scales[name][k].item()] if shown else [None] for k in (0, 1))
        line = {"width": 3 if name == "SLL" else 2, "color": INK if name == "spectral" else color}
        look = {"symbol": symbol, "size": 15 if name == "SLL" else 10, "color": line["color"], "line": line}
        panels.marks(x, y, f"{name}: (%{{x:.4g}}, %{{y:.4g}})", more=named(WORDS[name]), **look)
    panels.write("fulfils it", LEFT[1] - 0.01, 0.99, xanchor="right", yanchor="top", bgcolor="#FFFFFF")


def _singular(panels: Panels, view: ConditionView) -> None:
    count = min(MOST_VALUES, len(view.singular["SLL"]))
    more = "" if count == len(view.singular["SLL"]) else f", the {count} largest"
    title, names = f"singular values of W T<sup>−½</sup>{more}", [f"σ<sub>{k + 1}</sub>" for k in range(count)]
    panels.open(RIGHT, TOP, title, categories(names), {"range": [0, 1.25], "nticks": 6})
    for name, (color, _, hatch) in LOOKS.items():
        values = array(view.singular[name])[:count]
        text = [f"{value:.3f}" if count <= 2 else "" for value in values]
        panels.bars(list(range(count)), values, color, hatch, f"{name}: %{{y:.6g}}", text=text)
    panels.line([-0.6, count - 0.4], [1, 1], color=INK, width=1.5, dash="dash")
    good = all(view.holds(name) for name in view.scales)
    color, word = (CERTIFIED, "✔ none above 1") if good else (UNPROVED, "✘ above 1")
    panels.write(colored(word, color), RIGHT[1], TOP[1], xanchor="right", yanchor="top")


def _discs(panels: Panels, view: ConditionView, right: float) -> None:
    """Gershgorin's discs in the complex plane, and on its real axis the eigenvalues of T − WᵀW, none below 0."""
    radii = array(view.radii)
    count = min(len(radii), MOST_DISCS)
    tall, ends = 0.55 * right, [-0.4 * right, 1.5 * right]
    discs = "discs touch 0" if count == len(radii) else f"{count} of {len(radii)} discs"
    title = f"T − Q⁻¹WᵀWQ: {discs}; eigenvalues ✕"
    frame: Spec = {**HIDDEN, "range": [-tall, tall]}
    panels.open(RIGHT, BOTTOM, title, {"range": ends, "nticks": 6}, {**frame, "scaleanchor": "x3"})
    panels.line(ends, [0, 0], color="#888888", width=1)
    panels.line([0, 0], [-tall, tall], color=INK, width=1.5, dash="dash")
    centres, sizes = (array(side)[:count] for side in (view.centres, view.radii))
    gap = np.full((2, 1), math.nan)  # a line ends there
    for few, color, dash in ((slice(0, 2), LOCAL, "solid"), (slice(2, count), GLOBAL_LINE, "dot")):
        circles = [disc(np.array([centre, 0.0]), size) for centre, size in zip(centres[few], sizes[few], strict=True)]
        edges = np.hstack([gap, *(part for edge in circles for part in (edge, gap))])
        panels.line(*edges, width=2, color=color, dash=dash, simplify=False)
        said = [f"centre %{{x:.4g}}, radius {size:.4g}<extra></extra>" for size in sizes[few]]
        more: Spec = {"hovertemplate": said, "hoverinfo": "x"}
        panels.marks(centres[few], 0 * centres[few], more=more, symbol="circle", size=7, color=color)
    names = [f"T<sub>{k}</sub> − g<sub>{k}{k}</sub>" for k in (1, 2)][:count]
    panels.texts(centres[:2], np.array([-0.22, 0.22])[:count] * tall, names, size=12, textposition="middle right")
    values = array(view.eigenvalues)
    cross: Spec = {"symbol": "x-thin-open", "size": 12, "line": {"width": 2.5}}
    panels.marks(values, np.zeros(len(values)), "eigenvalue of T − WᵀW: %{x:.5g}", more={"cliponaxis": False}, **cross)
