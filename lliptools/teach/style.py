"""One look for all figures: colours that the colour-blind can tell apart, each doubled by a shape or a hatch."""

from dataclasses import dataclass
from typing import Any

__all__ = [
    "AXIS",
    "CERTIFIED",
    "CONFIG",
    "GLOBAL",
    "GLOBAL_LINE",
    "INK",
    "KINK",
    "LAYOUT",
    "LOCAL",
    "REFUTED",
    "STATES",
    "TINTS",
    "UNPROVED",
    "WEIGHTS",
    "WEIGHT_KEPT",
    "State",
]


@dataclass(frozen=True)
class State:
    """How a state of a unit is shown, everywhere."""

    name: str
    color: str
    symbol: str


# Okabe–Ito colours. The order is that of the states in lliptools.teach.views.
STATES = (
    State("constant at 0", "#999999", "circle-open"),
    State("constant at θ", "#E69F00", "triangle-up"),
    State("varying: on", "#0072B2", "square"),
    State("varying: undecided", "#0072B2", "circle"),
)
# Refuted is what an attack has broken; what is merely not proved is neither.
CERTIFIED, UNPROVED, REFUTED = "#009E73", "#CC79A7", "#D55E00"
LOCAL, GLOBAL, GLOBAL_LINE = "#0072B2", "#FFFFFF", "#777777"
INK = "#222222"

# Tints of the classes in a decision map, and the lines along which units bend.
TINTS = ("#E6F1FA", "#F3CF94", "#DDF0E4", "#F7DDE9", "#EFEFD0", "#E4DDF3", "#D8EEEE", "#F3E0D8", "#E8E8E8", "#E0F0D0")
KINK = "#A3A3A3"

# Weight matrices are one uint8 picture: 0 … WEIGHT_KEPT is |w| over its largest value, 255 is a struck entry.
WEIGHT_KEPT = 230
WEIGHTS = [
    [0.0, "#00224E"],
    [0.3, "#35456C"],
    [0.6, "#666970"],
    [0.8, "#948E77"],
    [WEIGHT_KEPT / 255, "#C8B866"],
    [WEIGHT_KEPT / 255 + 1e-6, "#E6E6E6"],
    [1.0, "#E6E6E6"],
]

AXIS = {
    "showgrid": False,
    "zeroline": False,
    "ticks": "outside",
    "ticklen": 3,
    "linecolor": "#888888",
    "showline": True,
}

LAYOUT: dict[str, Any] = {
    "template": "none",
    "width": 840,  # what a notebook's cell has in a window of 1280 pixels; a figure that sizes itself off screen errs
    "font": {"family": "Arial, DejaVu Sans, sans-serif", "size": 12, "color": INK},
    "paper_bgcolor": "#FFFFFF",
    "plot_bgcolor": "#FFFFFF",
    "hoverlabel": {"font": {"size": 12}},
}

# plotly's button that uploads the chart is taken out; nothing leaves the machine.
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "displayModeBar": False,
    "modeBarButtonsToRemove": ["sendChartToCloud"],
}
