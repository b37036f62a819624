"""Why the product of norms is loose."""

import math

import numpy as np
import plotly.graph_objects as go

from lliptools.teach.explorers.products.view import ProductView, above
from lliptools.teach.shared.panels import BARE, Panels, Spec, array, colored, columns, disc, legend, named
from lliptools.teach.shared.style import GLOBAL, GLOBAL_LINE, INK, LOCAL, UNPROVED

CHAIN, LOWER = (0.70, 0.94), (0.0, 0.56)
PICTURE, BARS = (0.0, 0.36), (0.46, 1.0)
LIMIT = 1.12
SHOWN = 9  # depths that find room side by side
ROOM = 4.0  # how much wider than the image of the ball a picture may be
CIRCLE, NOTHING = disc(np.zeros(2)), np.full((2, 1), math.nan)


def products(view: ProductView, depth: int) -> go.Figure:
    """A network as a chain of ellipses, up to a depth.

    * top: what each depth makes of the ball, inside of the circle that the product of the norms allows
    * left: the last of them, large
    * right: the product, the exact constant where it is known, and the best sampled slope
    """
    place = legend(1, -0.13, right=True, below=True)
    panels = Panels(500, margin={"l": 44, "r": 10, "t": 20, "b": 62}, showlegend=True, legend=place)
    first = max(0, min(depth - SHOWN // 2, view.depths + 1 - SHOWN))
    shown = range(first, min(view.depths + 1, first + SHOWN))
    spans = columns(max(len(shown), 5), 0.0, 1.0, gap=0.02)
    for span, number in zip(spans, shown, strict=False):
        there, frame = number <= depth, {"range": [-LIMIT, LIMIT], **BARE, "showline": False}
        title = colored("ball" if number == 0 else f"depth {number}", INK if there else GLOBAL_LINE)
        panels.square(span, CHAIN, title, frame, frame)
        panels.line(*(CIRCLE if there else NOTHING), color=GLOBAL_LINE, width=1.2, simplify=False)
        _filled(panels, array(view.image[number]).T if there else NOTHING)
    _picture(panels, view, depth)
    _bars(panels, view, depth)
    return panels.figure()


def _picture(panels: Panels, view: ProductView, depth: int) -> None:
    """What a depth makes of the ball, in units of the ball's radius, and what is allowed where there is room for it."""
    image, ellipse, product = array(view.image[depth]).T, array(view.ellipse[depth]).T, view.product[depth].item()
    widest = float(max(np.abs(image).max(), np.abs(ellipse).max())) or 1.0
    inside = ROOM * widest >= 1
    limit = LIMIT if inside else 1.5 * widest
    unit = product if 0 < product < math.inf else 1.0
    frame = {"range": [-limit * unit, limit * unit], "nticks": 5, "mirror": True, "exponentformat": "power"}
    title = f"depth {depth}: the ball becomes"
    panels.square(PICTURE, LOWER, title, {**frame, "title": "in units of its radius"}, frame)
    panels.line(*(unit * CIRCLE), color=GLOBAL_LINE, width=2, simplify=False)
    _filled(panels, unit * image)
    panels.line(*(unit * ellipse), color=INK, width=1.5, dash="dot", simplify=False)
    words = "grey: what the product allows" if inside else f"the product allows a circle of radius {above(product)}"
    words += "<br>dotted: its Jacobian alone"
    panels.write(words, PICTURE[0], -0.09, xanchor="left", yanchor="top", align="left")


def _filled(panels: Panels, points: np.ndarray) -> None:
    look = {"fill": "toself", "fillcolor": "rgba(0, 114, 178, 0.25)"}
    line = {"color": LOCAL, "width": 1.5, "simplify": False}
    panels.add("scatter", mode="lines", x=points[0], y=points[1], line=line, **look)


def _bars(panels: Panels, view: ProductView, depth: int) -> None:
    depths = list(range(1, depth + 1))
    every = [_positive(array(part)) for part in (view.product, view.exact, view.sampled)]
    values = [part[1 : depth + 1] if depths else [None] for part in every]
    known = np.log10(np.concatenate(every))
    low, high = math.floor(np.nanmin(known) - 0.3), np.nanmax(known) + 0.12 * (np.ptp(known[~np.isnan(known)]) + 1)
    across = {"range": [0.4, view.depths + 0.6], "title": "depth", "dtick": 1 if view.depths <= 12 else 5}
    up = {"type": "log", "range": [low, high], "exponentformat": "power", "tickfont": {"size": 11}}
    up["dtick"] = max(1, round((high - low) / 4))
    panels.open(BARS, LOWER, "Lipschitz constant up to each depth", across, up)
    small: Spec = {"textfont": {"size": 11 if view.depths <= 9 else 9}}
    places: list[int | None] = [*depths] or [None]
    looks = (("product of norms, from above", GLOBAL, "/"), ("exact on the ball", LOCAL, ""))
    for (name, color, hatch), heights in zip(looks, values, strict=False):
        text = ["" if not hatch or height is None or math.isnan(height) else above(float(height)) for height in heights]
        hover = f"{name}, depth %{{x}}: %{{y:.6g}}"
        panels.bars(places, heights, color, hatch, hover, text=text, **small, **named(name))
    more = {**named("best sampled slope, from below"), "mode": "lines+markers"}
    more["line"] = {"color": UNPROVED, "width": 2, "dash": "dash"}
    look = {"symbol": "circle-open", "size": 9, "color": UNPROVED, "line": {"width": 2}}
    panels.marks(places, values[2], "best sampled slope, depth %{x}: %{y:.6g}", more=more, **look)


def _positive(values: np.ndarray) -> np.ndarray:
    """The values that a logarithmic axis has a place for; NaN for the others."""
    return np.where((values > 0) & np.isfinite(values), values, np.nan)
