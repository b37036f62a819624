"""What explorers share: controls, a figure that follows them, the same in words, and the call that opens it again."""

import asyncio
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets
import numpy as np
import plotly.graph_objects as go

from lliptools.errors import InvalidInput
from lliptools.teach.style import CONFIG

__all__ = ["Explorer", "check_start", "dropdown", "figure_widget", "log_slider", "nice", "redraw", "slider"]

NARROW, WIDE = "400px", "720px"
QUIET = 0.15  # seconds without a move before what takes long is computed


class Explorer(ipywidgets.VBox):
    """A figure, its controls, a summary in words and the call that opens the present view.

    A class that derives from it says what is shown: _figure, _summary and _keywords. Where the whole picture takes
    longer than a hand waits it says slow = True and draws something coarser for _figure(coarse=True); the whole picture
    follows when the controls have been at rest.

    controls: by name, each with a description and a tooltip; they become attributes. rows: the names of the controls,
    row by row; a control that is in none is not shown. source: how what is explored is called where the explorer is
    made, as code.
    """

    slow = False

    def __init__(
        self, controls: Mapping[str, ipywidgets.ValueWidget], rows: Sequence[Sequence[str]], source: str
    ) -> None:
        self.controls = dict(controls)
        for name, control in self.controls.items():
            setattr(self, name, control)
        self._source, self._held = source, False
        self._fine_later: asyncio.TimerHandle | None = None
        self._start = {name: control.value for name, control in self.controls.items()}
        self.reset = ipywidgets.Button(
            description="reset", tooltip="back to where the controls started", layout={"width": "80px"}
        )
        self.summary, self.call = ipywidgets.HTML(), ipywidgets.HTML()
        self.figure = figure_widget(self._figure(coarse=False))
        self._write()
        for control in self.controls.values():
            control.observe(self._update, names="value")
        self.reset.on_click(lambda _: self._to_start())
        # A window narrower than the figure scrolls it.
        framed = ipywidgets.Box([self.figure], layout={"overflow": "auto hidden"})
        lines = [[self.controls[name] for name in row] for row in rows]
        lines[0].append(self.reset)
        super().__init__([*map(ipywidgets.HBox, lines), self.summary, framed, self.call])

    def _figure(self, *, coarse: bool) -> go.Figure:
        """The figure of the present view: always the same number of traces and texts."""
        raise NotImplementedError

    def _summary(self) -> tuple[str, ...]:
        """The numbers of the present view in words, line by line."""
        raise NotImplementedError

    def _keywords(self) -> dict[str, object]:
        """The keywords that open the present view."""
        raise NotImplementedError

    def reproduce(self) -> str:
        """The one-line call that opens the present view."""
        keywords = {name: _spelled(value) for name, value in self._keywords().items()}
        given = "".join(f", {name}={value}" for name, value in keywords.items())
        return f"ll.teach.widgets.{type(self).__name__}({self._source}{given})"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Move several controls, and draw once."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self._update(None)

    def _to_start(self) -> None:
        with self.held():
            for name, value in self._start.items():
                self.controls[name].value = value

    def _update(self, _: Any) -> None:
        if self._held:
            return
        self._cancel()
        loop = _running_loop() if self.slow else None
        self._draw(coarse=loop is not None)
        if loop is not None:
            self._fine_later = loop.call_later(QUIET, lambda: self._draw(coarse=False))

    def _draw(self, *, coarse: bool) -> None:
        redraw(self.figure, self._figure(coarse=coarse))
        self._write()

    def _cancel(self) -> None:
        if self._fine_later is not None:
            self._fine_later.cancel()
            self._fine_later = None

    def _write(self) -> None:
        lines = "<br>".join(html.escape(line) for line in self._summary())
        self.summary.value = f"<div role='status' style='line-height: 1.5'>{lines}</div>"
        self.call.value = f"this view: <code>{html.escape(self.reproduce())}</code>"


def slider(
    description: str, tooltip: str, low: float, high: float, step: float, value: float, *, wide: bool = False
) -> ipywidgets.FloatSlider | ipywidgets.IntSlider:
    """A slider from low to high; over whole numbers where all of them are."""
    if all(isinstance(number, int) for number in (low, high, step, value)):
        kind, more = ipywidgets.IntSlider, {}
    else:
        kind, more = ipywidgets.FloatSlider, {"readout_format": f".{max(0, -math.floor(math.log10(step) + 1e-9))}f"}
    return kind(
        description=description, tooltip=tooltip, min=low, max=high, step=step, value=value, **more, **_place(wide)
    )


def log_slider(
    description: str, tooltip: str, low: float, high: float, step: float, value: float, *, base: float = 2.0
) -> ipywidgets.FloatLogSlider:
    """A slider over powers of a base, whose exponents run from low to high."""
    return ipywidgets.FloatLogSlider(
        description=description,
        tooltip=tooltip,
        base=base,
        min=low,
        max=high,
        step=step,
        value=value,
        readout_format=".3g",
        **_place(wide=False),
    )


def dropdown(description: str, tooltip: str, options: Sequence[Any], value: Any) -> ipywidgets.Dropdown:
    """One of several, picked by its name; options are values or pairs (name, value)."""
    return ipywidgets.Dropdown(
        description=description, tooltip=tooltip, options=options, value=value, **_place(wide=False)
    )


def _place(wide: bool) -> dict[str, Any]:
    return {"style": {"description_width": "110px"}, "layout": {"width": WIDE if wide else NARROW}}


def figure_widget(figure: go.Figure) -> go.FigureWidget:
    """The figure as a widget, without the button that uploads it."""
    widget = go.FigureWidget(figure)
    widget._config = CONFIG
    return widget


def redraw(widget: go.FigureWidget, figure: go.Figure) -> None:
    """Bring the widget to the figure in one message, sending only what has changed. Both have the same traces."""
    with widget.batch_update():
        for shown, wanted in zip(widget.data, figure.data, strict=True):
            shown.update(_changed(shown, wanted))
        widget.layout.update(_changed(widget.layout, figure.layout))


def _changed(shown: Any, wanted: Any) -> dict[str, Any]:
    before, after = shown.to_plotly_json(), wanted.to_plotly_json()
    return {key: value for key, value in after.items() if not _same(before.get(key), value)}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        equal_nan = one.dtype.kind == "f" and other.dtype.kind == "f"
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=equal_nan)
    return type(one) is type(other) and bool(one == other)


def nice(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten; 0 for 0 or no number."""
    if not (math.isfinite(value) and value > 0):
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value * (1 - 1e-9))


def check_start(name: str, value: float, lowest: float, highest: float) -> None:
    """Refuse a starting value outside of its slider."""
    if not lowest <= value <= highest:
        raise InvalidInput(
            expected=f"{name} from {lowest:g} to {highest:g}",
            got=f"{value}",
            cause="a start outside of the slider",
            next_step=f"leave {name} out for a default",
        )


def _spelled(value: object) -> str:
    """A value as code."""
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of a kernel; None where there is none, as in a script."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
