"""Controls that the keyboard moves, each with a description and a tooltip, and where they start."""

import math
from collections.abc import Sequence
from typing import Any

import ipywidgets

from lliptools.errors import InvalidInput

MOST_BUTTONS, LONG = 6, 9  # options; letters of a name that need more room than a number


def slider(
    description: str, tooltip: str, low: float, high: float, step: float, value: float, *, argument: str = ""
) -> ipywidgets.FloatSlider | ipywidgets.IntSlider:
    """A slider from low to high; over whole numbers where all of them are.

    argument: what a start outside of it is called, by default its description. Raises InvalidInput for one.
    """
    check_start(argument or description, value, low, high)
    if all(isinstance(number, int) for number in (low, high, step, value)):
        kind, more = ipywidgets.IntSlider, {}
    else:
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        kind, more = ipywidgets.FloatSlider, {"readout_format": f".{digits}f" if digits < 6 else ".2e"}
    look = {**more, **_place()}
    return kind(description=description, tooltip=tooltip, min=low, max=high, step=step, value=value, **look)


def log_slider(
    description: str, tooltip: str, low: float, high: float, step: float, value: float, *, argument: str
) -> ipywidgets.FloatLogSlider:
    """A slider over powers of 2, whose exponents run from low to high; as slider."""
    check_start(argument, value, 2.0**low, 2.0**high)
    span = {"base": 2.0, "min": low, "max": high, "step": step, "value": value, "readout_format": ".3g"}
    return ipywidgets.FloatLogSlider(description=description, tooltip=tooltip, **span, **_place())


def choice(
    description: str, tooltip: str, options: Sequence[Any], value: Any, argument: str = ""
) -> ipywidgets.ToggleButtons | ipywidgets.SelectionSlider:
    """One of a few, in their order, as buttons, or of many as a slider over their names; as slider.

    options: values, or pairs (name, value). JupyterLab keeps the arrow keys from a list that drops down.
    """
    values = _values(options)
    if value not in values:
        wanted, cause = f"{argument or description + ' as'} one of {', '.join(map(str, values))}", "another spelling"
        mend = "leave it out for a default"
        raise InvalidInput(expected=wanted, got=repr(value)[:80], cause=cause, next_step=mend)
    look: dict[str, Any] = {"options": options, "value": value, **_place()}
    if len(options) > MOST_BUTTONS:
        picked = ipywidgets.SelectionSlider(description=description, tooltip=tooltip, **look)
        names = [option[0] if isinstance(option, tuple) else option for option in options]
        return picked.add_class("ll-long") if max(len(str(name)) for name in names) > LONG else picked
    look["style"]["button_width"], look["layout"]["flex"] = "auto", "0 1 auto"
    return ipywidgets.ToggleButtons(description=description, tooltip=tooltip, **look)


def point_slider(index: int, count: int) -> ipywidgets.IntSlider:
    """A slider over the points that are given."""
    return slider("point nr", "which of the given points is looked at", 0, count - 1, 1, index, argument="index")


def layer_slider(first: int, count: int, shown: int, words: str) -> ipywidgets.IntSlider:
    """A slider over the layers of a network, of which only so many are shown at once."""
    tooltip = f"the first of the {words} that are shown"
    return slider("layers from", tooltip, 1, max(1, count - shown + 1), 1, first, argument="first")


def moves(control: Any) -> bool:
    """Whether a control has more than one place to stand at: a slider that has one cannot be drawn."""
    return len(control.options) > 1 if hasattr(control, "options") else control.min < control.max


def key(control: ipywidgets.ValueWidget) -> str:
    """The name under which the browser knows what a control stands at."""
    return "index" if hasattr(control, "options") else "value"


def state(control: ipywidgets.ValueWidget) -> dict[str, Any]:
    """What a control stands at, as the browser says it."""
    return {key(control): getattr(control, key(control))}


def positions(control: Any) -> list[Any]:
    """Where a control can stand."""
    if hasattr(control, "options"):
        return _values(control.options)
    steps = [control.min + k * control.step for k in range(round((control.max - control.min) / control.step) + 1)]
    return [control.base**step for step in steps] if hasattr(control, "base") else steps


def _values(options: Sequence[Any]) -> list[Any]:
    return [option[1] if isinstance(option, tuple) else option for option in options]


def _place() -> dict[str, Any]:
    style = {"description_width": "initial"}
    return {"style": style, "layout": {"width": "auto", "min_width": "200px", "flex": "1 1 240px"}}


def nice(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten; 0 for 0 or no number."""
    if not (math.isfinite(value) and value > 0):
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value * (1 - 1e-9))


def refuse(where: str, cause: str, mend: str, **given: object) -> None:
    """Refuse starts, by name, that have no meaning where they are given."""
    for name, value in given.items():
        if value is not None:
            raise InvalidInput(expected=f"no {name} {where}", got=f"{name}={value!r}", cause=cause, next_step=mend)


def check_start(name: str, value: float, lowest: float, highest: float) -> None:
    """Refuse a starting value outside of its slider."""
    if not lowest <= value <= highest:
        wanted, mend = f"{name} from {lowest:g} to {highest:g}", f"leave {name} out for a default"
        raise InvalidInput(expected=wanted, got=f"{value}", cause="a start outside of the slider", next_step=mend)
