"""What clipping makes constant, and what that does to the bounds. Nothing is computed here."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lliptools.digits import radius_text, round_up
from lliptools.teach.explorers.clipping.view import ClipView, Member, ThetaCurve
from lliptools.teach.shared.panels import Panels, Span, Spec, array, columns
from lliptools.teach.shared.style import CERTIFIED, GLOBAL, GLOBAL_LINE, INK, LOCAL, STATES
from lliptools.teach.shared.units import AT_THETA, AT_ZERO, ON, UNDECIDED

__all__ = ["LAYERS", "clipping"]

LAYERS = 3  # hidden layers that are shown side by side
TOP, BOTTOM = (0.52, 0.93), (0.06, 0.34)
GREY = "#5A5A5A"  # of what is constant at 0, on the grey of its zone


def clipping(
    view: ClipView, curve: ThetaCurve | None = None, members: Sequence[Member] = (), name: str = "", first: int = 0
) -> go.Figure:
    """What clipping makes constant near a point, in a ball of one radius.

    Top: of every hidden unit, the interval of its pre-activations, between its threshold and 0 or beyond one of them.
    Bottom: the fraction of units that varies, the local and the global bound against the thresholds, and the networks
    of a family side by side, `name` the one that is shown above. first: the first of the three layers that are shown.
    curve and members may come later.
    """
    legends = {
        name: {"orientation": "h", "x": x, "xanchor": anchor, "y": y, "yanchor": "bottom", "traceorder": "normal"}
        for name, x, anchor, y in (
            ("legend", 0, "left", 1),
            ("legend2", 0, "left", 0.385),
            ("legend3", 1, "right", 0.385),
        )
    }
    panels = Panels(560, margin={"l": 48, "r": 10, "t": 30, "b": 36}, showlegend=True, **legends)
    shown = range(len(view.hidden))[first : first + LAYERS]
    if not shown:
        panels.write("no hidden units: one linear map, nothing to clip", 0.5, sum(TOP) / 2)
    for slot, (layer, span) in enumerate(zip(shown, columns(len(shown), 0.0, 1.0, gap=0.06), strict=True)):
        _strips(panels, view, layer, span, legend=slot == 0)
    _varying(panels, view)
    _bounds(panels, view, curve)
    _family(panels, view, members, name)
    return panels.figure()


def _strips(panels: Panels, view: ClipView, layer: int, span: Span, *, legend: bool) -> None:
    strips = view.strips(layer)
    lower, upper, low, high = (array(side) for side in (strips.lower, strips.upper, strips.low, strips.high))
    down, up = _range(lower, upper, low, high)
    count, units = len(lower), np.arange(len(lower))
    thinned = f" (every {strips.every}{_ordinal(strips.every)} drawn)" if strips.every > 1 else ""
    at_low, varying, at_high = strips.counts
    panels.open(
        span,
        TOP,
        f"layer {strips.name}: "
        + (
            f"{at_low} at {strips.names[0]}, {varying} varying, {at_high} at {strips.names[1]}"
            if span[1] - span[0] > 0.4
            else f"{varying} of {sum(strips.counts)} varying"
        ),
        {"range": [-1, count], "showticklabels": False, "ticks": "", "title": f"units, sorted{thinned}"},
        {"range": [down, up], "title": "" if not legend else "pre-activation", "nticks": 6},
    )
    floor, ceiling = np.clip(np.where(np.isinf(low), down, low), down, up), np.clip(high, down, up)
    edges = np.repeat(np.concatenate([units - 0.5, [count - 0.5]]), 2)[1:-1]
    for limit, edge, base, code, hatch in ((low, floor, down, AT_ZERO, ""), (high, ceiling, up, AT_THETA, "/")):
        panels.line(edges, np.full(len(edges), base), color="rgba(0,0,0,0)", width=0)
        panels.add(
            "scatter",
            mode="lines",
            x=edges,
            y=np.repeat(edge, 2),
            fill="tonexty",
            fillcolor=STATES[code].fill if hatch == "" else "#FBE9C3",
            line={"color": "#777777" if hatch == "" else STATES[code].color, "width": int(np.isfinite(limit).any())},
            hoverinfo="skip",
        )
    states = array(strips.states)
    # The ends of an interval: its shape says its state where the colour does not.
    for codes, code, name in (
        ((AT_ZERO,), AT_ZERO, f"constant at {strips.names[0]}"),
        ((AT_THETA,), AT_THETA, f"constant at {strips.names[1]}"),
        ((ON, UNDECIDED), UNDECIDED, "varying"),
    ):
        where = np.isin(states, codes)
        x = np.stack([units[where]] * 2 + [np.full(where.sum(), np.nan)], axis=1).ravel()
        ends = [np.clip(side[where], down, up) for side in (lower, upper)]
        y = np.stack([*ends, np.full(where.sum(), np.nan)], axis=1).ravel()
        shape, color = STATES[code].symbol, GREY if code == AT_ZERO else STATES[code].color
        panels.add(
            "scatter",
            mode="lines+markers",
            name=name,
            showlegend=legend,
            x=x if len(x) else [None],
            y=y if len(y) else [None],
            line={"color": color, "width": 1.6},
            marker={"symbol": shape, "size": 4, "color": color},
            hovertemplate=f"{name}: %{{y:.3g}}<extra></extra>",
        )


def _range(lower: np.ndarray, upper: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """From below all intervals to above them, without the few that reach furthest."""
    ends = np.concatenate([lower[np.isfinite(lower)], upper[np.isfinite(upper)], [0.0]])
    down, up = np.quantile(ends, 0.02), np.quantile(ends, 0.98)
    inner = [limit for limit in (*low, *high) if math.isfinite(limit) and abs(limit) <= 2 * max(-down, up)]
    down, up = min([down, *inner]), max([up, *inner])
    room = 0.08 * (up - down) or 1.0
    return float(down - room), float(up + room)


def _ordinal(number: int) -> str:
    return "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _varying(panels: Panels, view: ClipView) -> None:
    here, mean = view.varying
    names = [station.name for station in view.hidden]
    unit = "%" if len(names) <= 2 else ""
    places = list(range(len(names)))  # numbers with names: plotly forgets that numerals were meant as names
    across: Spec = {"title": "hidden layer", "tickvals": places, "ticktext": names}
    panels.open((0.0, 0.26), BOTTOM, "share of units that varies", across, {"range": [0, 1.15], "tickformat": ".0%"})
    for shares, name, color, hatch in ((here, "this point", LOCAL, ""), (mean, f"mean of {view.count}", GLOBAL, ".")):
        panels.add(
            "bar",
            x=places,
            customdata=names,
            y=shares,
            name=name,
            showlegend=True,
            legend="legend2",
            marker=_filled(color, hatch),
            text=[f"{100 * share:.0f}{unit}" if len(shares) <= 3 else "" for share in shares],
            **_above(),
            hovertemplate=f"{name}, layer %{{customdata}}: %{{y:.1%}}<extra></extra>",
        )


def _bounds(panels: Panels, view: ClipView, curve: ThetaCurve | None) -> None:
    scales = array(curve.scales) if curve else np.array([1.0, math.inf])
    finite = np.log2(scales[np.isfinite(scales)])
    step = (finite[-1] - finite[0]) / max(len(finite) - 1, 1) or 1.0
    end = finite[-1] + 2  # where infinity is drawn
    ticks = [*finite[:: max(1, round(2 / step))], end]
    labels = [*(f"{2**tick:g}" if tick >= 0 else f"1/{2**-tick:g}" for tick in ticks[:-1]), "∞"]
    local, everywhere = view.local, view.everywhere.value.item()
    at = math.log2(view.theta_scale) if math.isfinite(view.theta_scale) else end
    known = [everywhere, *(array(curve.everywhere) if curve else ())]
    top = 1.15 * (max((value for value in known if math.isfinite(value)), default=0.0) or 1.0)
    across: Spec = {
        "range": [finite[0] - step, end + step],
        "title": "θ times",
        "tickvals": ticks,
        "ticktext": labels,
        "tickangle": 0,
    }
    title = f"bounds: ● local {round_up(local, 3)}, ■ global {round_up(everywhere, 3)}"
    panels.open((0.35, 0.66), BOTTOM, title, across, {"range": [0, top], "nticks": 5, "title": "L"})
    x = np.where(np.isfinite(scales), np.log2(scales, where=np.isfinite(scales), out=np.zeros_like(scales)), end)
    nothing = np.full(len(x), np.nan)
    for y, color, width, dash, name in (
        (array(curve.everywhere) if curve else nothing, GLOBAL_LINE, 2, "dash", "global"),
        (array(curve.local) if curve else nothing, LOCAL, 2.5, "solid", "local"),
    ):
        panels.line(x, y, f"{name}: %{{y:.4g}}", color=color, width=width, dash=dash)
    panels.line([at, at], [0, top], color="#888888", width=1)
    ink = {"color": INK, "width": 1}
    panels.add(
        "scatter",
        mode="markers",
        x=[at, at],
        y=[everywhere, local],
        marker={"symbol": ["square", "circle"], "size": 9, "color": [GLOBAL_LINE, LOCAL], "line": ink},
        text=["global", "local"],
        hovertemplate="%{text}: %{y:.4g}<extra></extra>",
    )


def _family(panels: Panels, view: ClipView, members: Sequence[Member], name: str) -> None:
    """Three bars a network: how much of the global bound is left, how many units vary, how many points certify."""
    names = [f"<b>{one.name}</b>" if one.name == name else one.name for one in members]
    single = len(members) <= 1
    title = f"mean of {view.count} points, ε = {radius_text(view.eps, 3)}"
    names = ["this network"] if single and members else names
    panels.open((0.73, 1.0), BOTTOM, title, {"type": "category"}, {"range": [0, 1.15], "tickformat": ".0%"})
    for label, color, hatch, values in (
        ("local/global L", LOCAL, "", [one.ratio for one in members]),
        ("varying", GLOBAL, ".", [one.varying for one in members]),
        ("certified", CERTIFIED, "/", [one.certified for one in members]),
    ):
        panels.add(
            "bar",
            x=names or [None],
            y=values or [None],
            name=label,
            showlegend=True,
            legend="legend3",
            marker=_filled(color, hatch),
            text=[f"{value:.0%}" for value in values] if len(members) <= 2 else [""] * len(members),
            **_above(),
            hovertemplate=f"%{{x}}, {label}: %{{y:.1%}}<extra></extra>",
        )


def _filled(color: str, hatch: str) -> Spec:
    pattern = {"shape": hatch, "bgcolor": color, "fgcolor": "#444444", "size": 5}
    return {"color": color, "line": {"width": 1, "color": INK}, "pattern": pattern}


def _above() -> Spec:
    return {"textposition": "outside", "cliponaxis": False, "constraintext": "none", "textfont": {"size": 11}}
