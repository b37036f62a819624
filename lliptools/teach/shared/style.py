"""One look for all figures: colours that the colour-blind can tell apart, each doubled by a shape or a hatch."""

import colorsys
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class State:
    """How a state of a unit is shown, everywhere: as a symbol, or where units are many as a cell of this fill.

    The fills are told apart by their lightness alone.
    """

    name: str
    color: str
    symbol: str
    fill: str


# Okabe–Ito colours. The order is that of the states in the views.
STATES = (
    State("constant at 0", "#999999", "circle-open", "#E0E0E0"),
    State("constant at θ", "#E69F00", "triangle-up", "#E69F00"),
    State("varying: on", "#0072B2", "square", "#002B45"),
    State("varying: undecided", "#0072B2", "circle", "#0072B2"),
)
# Refuted is what an attack has broken; what is merely not proved is neither.
CERTIFIED, UNPROVED, REFUTED = "#009E73", "#CC79A7", "#D55E00"
LOCAL, GLOBAL, GLOBAL_LINE = "#0072B2", "#FFFFFF", "#777777"
INK = "#222222"
# A marker each for the global and for the local bound.
BOTH: dict[str, Any] = {"symbol": ["square", "circle"], "color": [GLOBAL_LINE, LOCAL], "size": 9}
BOTH["line"] = {"color": INK, "width": 1}

# Tints of the classes in a decision map, and the lines along which units bend.
TINTS = ("#E6F1FA", "#F3CF94", "#DDF0E4", "#F7DDE9", "#EFEFD0", "#E4DDF3", "#D8EEEE", "#F3E0D8", "#E8E8E8", "#E0F0D0")
KINK = "#A3A3A3"

# Weight matrices are one uint8 picture: 0 … WEIGHT_KEPT is |w| over its largest value, 255 is a masked entry.
WEIGHT_KEPT = 230
STEPS = (0.0, 0.3, 0.6, 0.8, WEIGHT_KEPT / 255, WEIGHT_KEPT / 255 + 1e-6, 1.0)
SHADES = ("#00224E", "#35456C", "#666970", "#948E77", "#C8B866", "#E6E6E6", "#E6E6E6")
WEIGHTS = [[at, shade] for at, shade in zip(STEPS, SHADES, strict=True)]

GREY = "#888888"
AXIS: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": "outside", "ticklen": 3, "showline": True}
AXIS["linecolor"] = GREY

LAYOUT: dict[str, Any] = {
    "template": "none",
    "width": 840,  # what a notebook's cell has in a window of 1280 pixels; a figure that sizes itself off screen errs
    "font": {"family": "Arial, DejaVu Sans, sans-serif", "size": 12, "color": INK},
    "paper_bgcolor": "#FFFFFF",
    "plot_bgcolor": "#FFFFFF",
    "hoverlabel": {"font": {"size": 12}},
}

# plotly's button that uploads the chart is taken out; nothing leaves the machine.
CONFIG: dict[str, Any] = {"displaylogo": False, "displayModeBar": False, "modeBarButtonsToRemove": ["sendChartToCloud"]}

COLOR = re.compile(r"#[0-9A-Fa-f]{6}\b")
DARKEST = 0.09  # lightness that stands for white


def dark(figure: Any) -> Any:
    """A finished figure for a dark page: grounds, inks and tints turned, hues and shapes as they were.

    Colours are those written #RRGGBB, wherever they stand; pictures of weights and scales known by name stay.
    """
    data = [_dark(trace.to_plotly_json()) for trace in figure.data]
    layout = _dark(figure.layout.to_plotly_json())
    for name, axis in layout.items():
        if name.startswith(("xaxis", "yaxis")):
            axis.setdefault("tickcolor", dark_color(GREY))
    return type(figure)({"data": data, "layout": layout})


def dark_colors(*found: Any) -> dict[str, str]:
    """What every colour in these values is on a dark page."""
    return {color: dark_color(color) for color in sorted(set(COLOR.findall(repr(found))))}


def dark_color(color: str) -> str:
    """A colour #RRGGBB for a dark page: greys and tints change sides, full colours get a little lighter."""
    hue, light, full = colorsys.rgb_to_hls(*(int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)))
    if full < 0.15:
        light = 1 - light * (1 - DARKEST)
    elif light > 0.72:
        light, full = 0.15 + 0.5 * (1 - light), 0.7 * full
    elif light < 0.45:
        light += 0.06
    return "#" + "".join(f"{round(255 * part):02X}" for part in colorsys.hls_to_rgb(hue, light, full))


def _dark(value: Any) -> Any:
    if isinstance(value, str):
        return COLOR.sub(lambda color: dark_color(color.group()), value)
    if isinstance(value, Mapping):
        stays = value.get("colorscale") if _is_weights(value.get("colorscale", "")) else None
        return {name: inner if inner is stays else _dark(inner) for name, inner in value.items()}
    return [_dark(inner) for inner in value] if isinstance(value, list | tuple) else value


def _is_weights(scale: Any) -> bool:
    return not isinstance(scale, str) and [list(step) for step in scale] == WEIGHTS
