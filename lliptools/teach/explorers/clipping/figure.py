"""What clipping makes constant, and what that does to the bounds."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from lliptools.digits import round_up
from lliptools.teach.explorers.clipping.view import LAYERS, ClipView, Member, Strips
from lliptools.teach.shared.panels import BARE, Panels, Span, Spec, array, categories, colored, columns, named
from lliptools.teach.shared.style import BOTH, CERTIFIED, GLOBAL, GLOBAL_LINE, LOCAL, STATES
from lliptools.teach.shared.units import AT_THETA, AT_ZERO, ON, UNSTABLE
from lliptools.teach.shared.words import shortened

TOP, BOTTOM = (0.5, 1.0), (0.0, 0.3)
CURVE, NETWORKS, LETTERS = (0.0, 0.52), (0.61, 1.0), 40  # the last: of all names below the bars
GREY = "#5A5A5A"  # of what is constant at 0, on the grey of its zone


def spans(view: ClipView) -> list[Span]:
    """The axes of the pre-activations of all hidden layers, as wide as most of the intervals of a view."""
    return [_range(*layer.unit_box(0)) for layer in view.hidden]


def clipping(
    view: ClipView,
    curve: tuple[Sequence[float], Tensor] | None = None,
    members: Sequence[Member] = (),
    name: str = "",
    first: int = 0,
    axes: Sequence[Span] | None = None,
) -> go.Figure:
    """What clipping makes constant near a point, in a ball of one radius.

    * top: of every hidden unit, the interval of its pre-activations, between its threshold and 0 or beyond one of them
    * bottom: the local and the global bound against the thresholds; the networks of a family side by side, `name` the
      one that is shown above

    first: the first of the three layers that are shown. curve: factors of the thresholds, the last inf, and the local
    bound by each. curve and members may come later. axes: of the layers, by default those of the view.
    """
    panels = Panels(460, margin={"l": 52, "r": 12, "t": 22, "b": 42})
    shown, axes = range(len(view.hidden))[first : first + LAYERS], axes or spans(view)
    if not shown:
        panels.write("no hidden units: one linear map, nothing to clip", 0.5, sum(TOP) / 2)
    for slot, (layer, span) in enumerate(zip(shown, columns(len(shown), 0.0, 1.0, gap=0.06), strict=True)):
        _strips(panels, view.strips(layer), span, axes[layer], first=slot == 0)
    _bounds(panels, view, curve)
    _family(panels, members, name)
    return panels.figure()


def _strips(panels: Panels, strips: Strips, span: Span, axis: Span, *, first: bool) -> None:
    lower, upper, low, high = (array(side) for side in (strips.lower, strips.upper, strips.low, strips.high))
    down, up = axis
    count, units = len(lower), np.arange(len(lower))
    thinned = f" (1 in {strips.every} drawn)" if strips.every > 1 else ""
    at_low, varying, at_high = strips.counts
    low_name, high_name = strips.names
    parts: list[tuple[str, str]] = [(f"{at_low} ○ at {low_name}", GREY), (f"{varying} ● varying", LOCAL)]
    if np.isfinite(high).any():
        parts.append((f"{at_high} ▲ at {high_name}", STATES[AT_THETA].color))
    counts = " · ".join(colored(text, color) for text, color in parts)
    across = {"range": [-1, count], "title": f"units, sorted{thinned}", **BARE}
    upward = {"range": [down, up], "title": "pre-activation" if first else "", "nticks": 6}
    panels.open(span, TOP, f"layer {strips.name}: {counts}", across, upward)
    floor, ceiling = np.clip(np.where(np.isinf(low), down, low), down, up), np.clip(high, down, up)
    edges = np.repeat(np.concatenate([units - 0.5, [count - 0.5]]), 2)[1:-1]
    for limit, edge, base, fill, color in (
        (low, floor, down, STATES[AT_ZERO].fill, "#777777"),
        (high, ceiling, up, "#FBE9C3", STATES[AT_THETA].color),
    ):
        panels.line(edges, np.full(len(edges), base), color="rgba(0,0,0,0)", width=0)
        line = {"color": color, "width": int(np.isfinite(limit).any())}
        zone: Spec = {"fill": "tonexty", "fillcolor": fill, "line": line}
        panels.add("scatter", mode="lines", x=edges, y=np.repeat(edge, 2), **zone)
    states = array(strips.states)
    # The ends of an interval: its shape says its state where the colour does not.
    for codes, code, name in (
        ((AT_ZERO,), AT_ZERO, f"constant at {strips.names[0]}"),
        ((AT_THETA,), AT_THETA, f"constant at {strips.names[1]}"),
        ((ON, UNSTABLE), UNSTABLE, "varying"),
    ):
        where = np.isin(states, codes)
        gap = np.full(where.sum(), np.nan)
        x = np.stack([units[where], units[where], gap], axis=1).ravel()
        y = np.stack([*(np.clip(side[where], down, up) for side in (lower, upper)), gap], axis=1).ravel()
        color = GREY if code == AT_ZERO else STATES[code].color
        look = {"line": {"color": color, "width": 1.6}}
        look["marker"] = {"symbol": STATES[code].symbol, "size": 4, "color": color}
        places = {"x": x if len(x) else [None], "y": y if len(y) else [None]}
        panels.add("scatter", f"{name}: %{{y:.3g}}", mode="lines+markers", **places, **look)


def _range(lower: Tensor, upper: Tensor) -> Span:
    """From below all intervals to above them, without the few that reach furthest."""
    ends = np.append(array(torch.cat([lower, upper]).flatten()), 0.0)
    down, up = np.quantile(ends[np.isfinite(ends)], [0.02, 0.98])
    room = 0.08 * (up - down) or 1.0
    return float(down - room), float(up + room)


def _bounds(panels: Panels, view: ClipView, curve: tuple[Sequence[float], Tensor] | None) -> None:
    scales, by_scale = (curve[0], array(curve[1])) if curve else ((1.0, math.inf), np.full(2, np.nan))
    exponents = [math.log2(scale) for scale in scales[:-1]]
    step = (exponents[-1] - exponents[0]) / max(len(exponents) - 1, 1) or 1.0
    end = exponents[-1] + 2  # where infinity is drawn
    ticks = [*exponents[:: max(1, round(2 / step))], end]
    labels = [*(f"{2**tick:g}" if tick >= 0 else f"1/{2**-tick:g}" for tick in ticks[:-1]), "∞"]
    local, everywhere = view.local, view.everywhere.value.item()
    at = math.log2(view.theta_scale) if math.isfinite(view.theta_scale) else end
    top = 1.15 * (everywhere if math.isfinite(everywhere) and everywhere else 1.0)
    across: Spec = {"range": [exponents[0] - step, end + step], "title": "θ times", "tickangle": 0}
    title = f"L: ● local {round_up(local)}, ■ global {round_up(everywhere)}"
    across |= {"tickvals": ticks, "ticktext": labels}
    panels.open(CURVE, BOTTOM, title, across, {"range": [0, top], "nticks": 5, "title": "L"})
    x, flat = np.array([*exponents, end]), np.full(len(scales), everywhere if curve else np.nan)
    panels.line(x, flat, "global: %{y:.4g}", color=GLOBAL_LINE, width=2, dash="dash")
    panels.line(x, by_scale, "local: %{y:.4g}", color=LOCAL, width=2.5, dash="solid")
    panels.line([at, at], [0, top], color="#888888", width=1)
    panels.marks([at, at], [everywhere, local], "%{text}: %{y:.4g}", more={"text": ["global", "local"]}, **BOTH)


def _family(panels: Panels, members: Sequence[Member], name: str) -> None:
    """Three bars per network: how much of the global bound is left, how many units vary, how many points certify."""
    short = {one.name: shortened(one.name, LETTERS // len(members)) for one in members}
    names = [f"<b>{short[each]}</b>" if each == name else short[each] for each in short]
    across = categories(["this network"] if len(members) == 1 else names, tickangle=0, showline=True)
    title = f"mean of {members[0].count}" if members else "mean"
    panels.open(NETWORKS, BOTTOM, title, across, {"range": [0, 1.15], "tickformat": ".0%"})
    for label, color, hatch, values in (
        ("L ÷ global", LOCAL, "", [one.ratio for one in members]),
        ("varying", GLOBAL, ".", [one.varying for one in members]),
        ("certified", CERTIFIED, "/", [one.certified for one in members]),
    ):
        text = [f"{value:.0%}" for value in values] if len(members) <= 2 else [""] * len(members)
        hover, look = f"%{{customdata}}, {label}: %{{y:.1%}}", {**named(label), "customdata": [m.name for m in members]}
        panels.bars(across["tickvals"] or [None], values or [None], color, hatch, hover, text=text, **look)
