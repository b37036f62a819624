"""Why the product of norms is loose."""

import math

import numpy as np
import plotly.graph_objects as go

from lliptools.teach.explorers.products.view import ProductView
from lliptools.teach.shared.panels import BARE, Panels, Span, Spec, array, colored, columns, disc, named
from lliptools.teach.shared.style import GLOBAL_LINE, INK, LOCAL, UNPROVED

HEIGHT, WIDE = 366, 782  # of all panels, in pixels
PICTURE, CURVES = (0.0, 0.34), (0.42, 1.0)
SHOWN = 9  # depths that find room side by side
ROOM = 1.6  # how much wider than what becomes of the ball the pictures are
NOTHING = np.full((2, 1), math.nan)


def products(view: ProductView, depth: int) -> go.Figure:
    """A network as a chain, up to a depth: all pictures are in units of the ball's radius, and of one scale.

    * top: what each depth makes of the ball, and the circle that the product of the norms allows, while it is in view
    * left: the last of them, large
    * right: the product, the exact constant where it is known, and the best sampled slope
    """
    panels = Panels(430, margin={"l": 46, "r": 12, "t": 22, "b": 42})
    first = max(0, min(depth - SHOWN // 2, view.depths + 1 - SHOWN))
    shown = range(first, min(view.depths + 1, first + SHOWN))
    limit = _limit(view)
    spans = columns(max(len(shown), 5), 0.0, 1.0, gap=0.02)
    under = 1 - min(0.32, (spans[0][1] - spans[0][0]) * WIDE / HEIGHT)
    chain, lower = (under, 1.0), (0.0, under - 0.15)
    for span, number in zip(spans, shown, strict=False):
        there, frame = number <= depth, {"range": [-limit, limit], **BARE, "mirror": True}
        title = colored("ball" if number == 0 else f"depth {number}", INK if there else GLOBAL_LINE)
        panels.square(span, chain, title, frame, frame)
        _made(panels, view, number, limit, there=there)
    frame = {"range": [-limit, limit], "nticks": 5, "mirror": True}
    panels.square(PICTURE, lower, f"depth {depth}, in radii of the ball", frame, frame)
    _made(panels, view, depth, limit, jacobian=True)
    _curves(panels, view, depth, lower)
    return panels.figure()


def _limit(view: ProductView) -> float:
    """How far the pictures go: the ball and what becomes of it, with some room."""
    sizes = [np.abs(array(view.image[k])).max() * _unit(view, k) for k in range(view.depths + 1)]
    return ROOM * max(1.0, *sizes)


def _unit(view: ProductView, depth: int) -> float:
    """Images lie in the unit disc: what that is in radii of the ball."""
    product = view.product[depth].item()
    return product if 0 < product < math.inf else 1.0


def _made(
    panels: Panels, view: ProductView, depth: int, limit: float, *, there: bool = True, jacobian: bool = False
) -> None:
    """What a depth makes of the ball, and the circle that is allowed, which may lie out of view."""
    unit, most = _unit(view, depth), view.product[depth].item()
    allowed = disc(np.zeros(2), most) if there and most < 1.5 * limit else NOTHING
    panels.line(*allowed, color=GLOBAL_LINE, width=1.5 + jacobian, simplify=False)
    points = unit * array(view.image[depth]).T if there else NOTHING
    look = {"fill": "toself", "fillcolor": "rgba(0, 114, 178, 0.25)"}
    line = {"color": LOCAL, "width": 1.5, "simplify": False}
    panels.add("scatter", mode="lines", x=points[0], y=points[1], line=line, **look)
    if jacobian:
        panels.line(*(unit * array(view.ellipse[depth]).T), color=INK, width=1.5, dash="dot", simplify=False)


def _curves(panels: Panels, view: ProductView, depth: int, up_to: Span) -> None:
    curves = (
        ("product of norms", view.product, GLOBAL_LINE, "solid", "square"),
        ("exact", view.exact, LOCAL, "solid", "circle"),
        ("best sampled slope", view.sampled, UNPROVED, "dash", "circle-open"),
    )
    known = np.log10(np.concatenate([_positive(array(part)) for _, part, *_ in curves]))
    low, high = math.floor(np.nanmin(known)), np.nanmax(known)
    across = {"range": [-0.4, view.depths + 0.4], "title": "depth", "dtick": 1 if view.depths <= 12 else 5}
    up: Spec = {"type": "log", "range": [low - 0.1, high + 0.1 * (high - low + 1)], "exponentformat": "power"}
    up |= {"dtick": max(1, round((high - low) / 4)), "tickfont": {"size": 10}}  # plotly makes powers larger
    panels.open(CURVES, up_to, "L by depth", across, up)
    for name, part, color, dash, symbol in curves:
        values = _positive(array(part))
        line = {"color": color, "width": 2, "dash": dash}
        faint: Spec = {"mode": "lines", "line": {**line, "width": 1}, "opacity": 0.35}
        panels.add("scatter", x=list(range(view.depths + 1)), y=values, **faint)
        more: Spec = {**named(name), "mode": "lines+markers", "line": line}
        look: Spec = {"symbol": symbol, "size": 8, "color": color, "line": {"width": 2, "color": color}}
        hover = f"{name}, depth %{{x}}: %{{y:.6g}}"
        panels.marks(list(range(depth + 1)), values[: depth + 1], hover, more=more, **look)


def _positive(values: np.ndarray) -> np.ndarray:
    """The values that a logarithmic axis has a place for; NaN for the others."""
    return np.where((values > 0) & np.isfinite(values), values, np.nan)
