"""The order of bounds: which lies below which, what they are worth, and what they cost."""

import math

import plotly.graph_objects as go

from lliptools.digits import radius_text
from lliptools.teach.explorers.lattice.view import LatticeView
from lliptools.teach.shared.panels import HIDDEN, Panels, Spec, categories, colored
from lliptools.teach.shared.style import CERTIFIED, INK, LOCAL, REFUTED, UNPROVED
from lliptools.teach.shared.words import shortened

SMALL: Spec = {"font": {"size": 11.5}}
HEIGHT, ROWS, NAMED = 440, (0.0, 1.0), 14  # pixels; fractions; letters of a name
DIAGRAM, BARS, COSTS = (0.0, 0.32), (0.43, 0.82), (0.88, 1.0)
# Where the bounds of the library stand; larger is higher. Others stand beside them.
PLACES = {
    "global": (0.5, 6.0),
    "path": (1.1, 6.0),
    "local": (0.5, 4.7),
    "centred": (0.35, 3.0),
    "merged": (1.1, 4.7),
    "tightest": (0.8, 3.4),
    "exact": (0.8, 2.1),
    "sampled": (0.8, 0.8),
}
# By kind: fill and hatch of the bar, the marker, and what it is.
LOOKS = {
    "upper": (LOCAL, "", "square", "upper bound, a theorem"),
    "exact": (CERTIFIED, "", "star", "the truth"),
    "lower": ("#FFFFFF", "/", "triangle-up-open", "lower bound, sampled"),
    "estimate": ("#FFFFFF", ".", "circle-open", "estimate"),
    "": ("#FFFFFF", "", "circle-open", "not there"),
}


def lattice(view: LatticeView, index: int, costs: dict[str, float]) -> go.Figure:
    """The bounds of a network near a point, in the ball of radius view.radii[index].

    * left: the Hasse diagram; solid lines are theorems, dashed ones held at every radius of the view, and
      nothing orders two without a line
    * middle: the values, and whether the label is certified by each
    * right: what they cost

    costs: seconds per point, by name.
    """
    panels = Panels(HEIGHT, margin={"l": 6, "r": 12, "t": 22, "b": 42})
    _diagram(panels, view, index)
    _bars(panels, view, index, view.most or 1.0)
    _costs(panels, view, costs)
    return panels.figure()


def _places(view: LatticeView) -> dict[str, tuple[float, float]]:
    own = [name for name in view.names if name not in PLACES]
    return {name: PLACES[name] for name in view.names if name in PLACES} | {
        name: (1.75, 5.4 - 1.3 * k) for k, name in enumerate(own)
    }


def _diagram(panels: Panels, view: LatticeView, index: int) -> None:
    places = _places(view)
    widest = max(x for x, _ in places.values())
    title = "order: solid a theorem, dashed ▸ here"
    across = [-0.12, widest + (0.95 if len(places) > len(PLACES) else 0.55)]  # with room for names
    panels.open(DIAGRAM, ROWS, title, {**HIDDEN, "range": across}, {**HIDDEN, "range": [0.2, 6.6]})
    theorems, seen = view.edges(index)
    _lines(panels, [(places[a], places[b]) for a, b in sorted(theorems)], color=INK, width=2.5)
    _lines(panels, [(places[a], places[b]) for a, b in sorted(seen)], color="#666666", width=1.5, dash="dash")
    for name, (x, y) in places.items():
        color, _, symbol, what = LOOKS[view.kind(name)]
        shown = INK if color == "#FFFFFF" else color
        look: Spec = {"symbol": symbol, "size": 15, "color": shown, "line": {"width": 2, "color": shown}}
        panels.marks([x], [y], f"{name}: {what}", **look)
        side = "right" if x < 0.8 else "left"
        place = {"xref": "x", "yref": "y", "xanchor": side, "align": side, "xshift": -11 if x < 0.8 else 11}
        said = f"{shortened(name, NAMED)}<br><b>{view.written(name, index)}</b>"
        panels.write(said, x, y, **place, **SMALL, bgcolor="#FFFFFF")


def _lines(panels: Panels, pairs: list[tuple[tuple[float, float], tuple[float, float]]], **line: object) -> None:
    """From each smaller one to the larger, an arrow in the middle of those that are dashed."""
    x: list[float | None] = [None]
    y: list[float | None] = [None]
    for (x0, y0), (x1, y1) in pairs:
        x += [x0, (x0 + x1) / 2, x1, None]
        y += [y0, (y0 + y1) / 2, y1, None]
    arrow = 11 if "dash" in line else 0
    size = [0, *[0, arrow, 0, 0] * len(pairs)]
    look = {"symbol": "arrow", "angleref": "previous", "color": line["color"], "opacity": 1.0, "line": {"width": 0}}
    panels.add("scatter", mode="lines+markers", x=x, y=y, line=line, marker={**look, "size": size})


def _bars(panels: Panels, view: LatticeView, index: int, most: float) -> None:
    down = categories([shortened(name, NAMED) for name in view.names], down=True, ticks="")
    truth = view.value("exact", index)
    line = "; the line is the truth" if math.isfinite(truth) else ""
    title = f"constants at ε = {radius_text(float(view.radii[index]), 3)}{line}"
    panels.open(BARS, ROWS, title, {"range": [0, 1.7 * most], "nticks": 5, "title": "output over input units"}, down)
    for row, name in enumerate(view.names):
        color, hatch, _, what = LOOKS[view.kind(name)]
        value = view.value(name, index)
        panels.bars([row], [value], color, hatch, f"{name}, {what}: %{{x:.6g}}", flat=True, width=0.62)
        at = min(value, most) if math.isfinite(value) else 0.0
        axes = {"xref": "x2", "yref": "y2", "xanchor": "left", "xshift": 6, "bgcolor": "#FFFFFF"}
        panels.write(_verdict(view, name, index), at, row, **SMALL, **axes)
    panels.line([truth, truth], [-0.6, len(view.names) - 0.4], "the truth: %{x:.6g}", color=CERTIFIED, width=2.5)


def _verdict(view: LatticeView, name: str, index: int) -> str:
    """What is written beside a bar."""
    if note := view.note(name, index):
        return f"<i>{note}</i>"
    value = view.written(name, index)
    if view.refuted(name, index):
        return f"{value} {colored('✘ refuted', REFUTED)}"
    if view.kind(name) not in ("upper", "exact"):
        return value
    word = colored("✔ certified", CERTIFIED) if view.certifies(name, index) else colored("✘ not", UNPROVED)
    return f"{value} {word}"


def _costs(panels: Panels, view: LatticeView, costs: dict[str, float]) -> None:
    count = len(view.names)
    milliseconds = [1e3 * costs.get(name, math.nan) for name in view.names]
    known = [value for value in milliseconds if math.isfinite(value) and value > 0] or [1.0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)) + 0.01)
    across: Spec = {"type": "log", "range": [low - 0.1, high + 0.1], "dtick": 1 if high - low <= 3 else 2}
    panels.open(COSTS, ROWS, "cost", {**across, "title": "ms per point"}, {**HIDDEN, "range": [count - 0.4, -0.6]})
    for row, value in enumerate(milliseconds):
        panels.line([10.0 ** (low - 0.1), value], [row, row], color="#BBBBBB", width=1)
    names = {"text": list(view.names)}
    panels.marks(milliseconds, list(range(count)), "%{text}: %{x:.3g} ms", more=names, symbol="circle", size=9)
