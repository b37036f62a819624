"""One look for all figures: colours that the colour-blind can tell apart, each doubled by a shape or a hatch."""

from collections.abc import Sequence
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
    State("varying: unstable", "#0072B2", "circle", "#0072B2"),
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

GREY, GREYS = "#888888", [[0, "#FFFFFF"], [1, "#111111"]]  # the latter of pictures
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

# Signed weights on a canvas, from the most negative to the most positive: ever lighter, so that a sign is seen in grey.
SIGNED = ("#00224E", "#35456C", "#7C7B78", "#BCAF6F", "#FEE838")


def state_names(constants: Sequence[str] = ("0", "θ")) -> list[str]:
    """The states of units in their order, by the two values at which they are constant."""
    return [*(f"constant at {value}" for value in constants), *(state.name for state in STATES[2:])]


def canvas_colors(names: Sequence[str] = tuple(state_names())) -> list[dict[str, Any]]:
    """The colours of striking.js on a light page and on a dark one, and the names of the states."""
    light = {"ink": INK, "masked": "#EFEFEF", "lit": REFUTED, "states": [state.fill for state in STATES]}
    # On a dark page what varies is brightest.
    states = ["#4A4A4A", STATES[1].fill, "#D7EAF7", "#56B4E9"]
    dark = {"ink": "#E0E0E0", "masked": "#262626", "lit": "#F46C00", "states": states}
    both = {"names": list(names), "weights": SIGNED}
    return [light | both, dark | both]
