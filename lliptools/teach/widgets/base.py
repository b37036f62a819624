"""What explorers share: controls, a figure that follows them, the same in words, and the call that opens it again."""

import asyncio
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from lliptools.errors import InvalidInput
from lliptools.teach.style import dark
from lliptools.teach.widgets.frames import Frames
from lliptools.teach.widgets.redraw import figure_widget, redraw

__all__ = ["Explorer", "check_start", "choice", "dropdown", "figure_widget", "log_slider", "nice", "redraw", "slider"]

NARROW, WIDE = "400px", "720px"
QUIET = 0.15  # seconds without a move before what takes long is computed
BREATH = 0.01  # seconds between two pictures that are made beforehand, for what a hand asks meanwhile


class Explorer(ipywidgets.VBox):
    """A figure, its controls, a summary in words and the call that opens the present view.

    A class that derives from it says what is shown: _figure, _summary and _keywords. Where the whole picture takes
    longer than a hand waits it says slow = True and draws something coarser for _figure(coarse=True); the whole picture
    follows when the controls have been at rest.

    Where one slider is moved most, it says framed = the name of that slider, and _frames gives the figure at each of
    its positions: they are made while the controls rest, and from then on the browser shows them without the kernel.

    Explorer.dark = True, set before one is made, draws all of them for a dark page.

    controls: by name, each with a description and a tooltip; they become attributes. rows: the names of the controls,
    row by row; a control that is in none is not shown. source: how what is explored is called where the explorer is
    made, as code; empty where it is nothing but the controls.
    """

    slow = False
    framed: str | None = None
    dark = False

    def __init__(
        self, controls: Mapping[str, ipywidgets.ValueWidget], rows: Sequence[Sequence[str]], source: str
    ) -> None:
        self.controls = dict(controls)
        for name, control in self.controls.items():
            setattr(self, name, control)
        self._source, self._held = source, False
        self._later: asyncio.Handle | None = None
        self._start = {name: control.value for name, control in self.controls.items()}
        self.reset = ipywidgets.Button(
            description="reset", tooltip="back to where the controls started", layout={"width": "80px"}
        )
        self.summary, self.call = ipywidgets.HTML(), ipywidgets.HTML()
        self.figure = figure_widget(self._colored(self._figure(coarse=False)))
        others = [control for name, control in self.controls.items() if name != self.framed]
        self.frames = Frames(self.figure, self.controls[self.framed], self.summary, others) if self.framed else None
        self._write()
        for control in self.controls.values():
            control.observe(self._update, names="value")
        self.reset.on_click(lambda _: self._to_start())
        # A window narrower than the figure scrolls it.
        framed = ipywidgets.Box([self.figure], layout={"overflow": "auto hidden"})
        lines = [[self.controls[name] for name in row] for row in rows]
        lines[0].append(self.reset)
        super().__init__([*map(ipywidgets.HBox, lines), self.summary, framed, self.call])
        self._rest(_running_loop(), drawn=True)

    def _figure(self, *, coarse: bool) -> go.Figure:
        """The figure of the present view: always the same number of traces and texts."""
        raise NotImplementedError

    def _summary(self) -> tuple[str, ...]:
        """The numbers of the present view in words, line by line."""
        raise NotImplementedError

    def _keywords(self) -> dict[str, object]:
        """The keywords that open the present view."""
        raise NotImplementedError

    def _frames(self) -> Iterator[tuple[go.Figure, tuple[str, ...]]]:
        """Figure and summary at every position of the framed slider, while the other controls stand as they do."""
        raise NotImplementedError

    def reproduce(self) -> str:
        """The one-line call that opens the present view."""
        given = [f"{name}={_spelled(value)}" for name, value in self._keywords().items()]
        arguments = [self._source, *given] if self._source else given
        return f"ll.teach.widgets.{type(self).__name__}({', '.join(arguments)})"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Move several controls, and draw once."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self._update(None)

    def finish(self) -> None:
        """Draw the whole picture of the present view now, where it was left for later."""
        self._cancel()
        self._draw(coarse=False)

    def _to_start(self) -> None:
        with self.held():
            for name, value in self._start.items():
                self.controls[name].value = value

    def _update(self, _: Any) -> None:
        if self._held:
            return
        self._cancel()
        loop = _running_loop()
        if self.frames and self.frames.shown:
            self._write(silently=True)
            self._rest(loop, drawn=False)
            return
        coarse = self.slow and loop is not None
        self._draw(coarse=coarse)
        self._rest(loop, drawn=not coarse)

    def _cancel(self) -> None:
        """Have nothing done later."""
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _rest(self, loop: asyncio.AbstractEventLoop | None, *, drawn: bool) -> None:
        """Have what can wait done when the controls have been at rest."""
        if loop is None:
            if not drawn:
                self._draw(coarse=False)
        elif self.frames or not drawn:
            self._later = loop.call_later(QUIET, self._at_rest, loop, drawn)

    def _at_rest(self, loop: asyncio.AbstractEventLoop, drawn: bool) -> None:
        if not drawn:
            self._draw(coarse=False)
        if self.frames and not self.frames.shown:
            coming = ((self._colored(figure), _spoken(lines)) for figure, lines in self._frames())
            self.frames.make(coming)
            self._later = loop.call_later(BREATH, self._at_rest, loop, True)

    def _draw(self, *, coarse: bool) -> None:
        """Bring figure and words to the present view; in silence where the browser shows it already."""
        if self.frames and self.frames.shown:
            redraw(self.figure, self._colored(self._figure(coarse=coarse)), send=False)
            self._write(silently=True)
            return
        redraw(self.figure, self._colored(self._figure(coarse=coarse)), again=self.frames.owed if self.frames else ())
        self._write()
        if self.frames and self.frames.owed:
            self.summary.send_state("value")
            self.frames.owed = []

    def _colored(self, figure: go.Figure) -> go.Figure:
        return dark(figure) if self.dark else figure

    def _write(self, *, silently: bool = False) -> None:
        summary = _spoken(self._summary())
        with self.summary._lock_property(value=summary) if silently else nullcontext():
            self.summary.value = summary
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


def choice(description: str, tooltip: str, options: Sequence[Any], value: Any) -> ipywidgets.SelectionSlider:
    """One of a few, in their order, as a slider over their names: values, or pairs (name, value).

    JupyterLab keeps the arrow keys from a list that drops down.
    """
    return ipywidgets.SelectionSlider(
        description=description, tooltip=tooltip, options=options, value=value, **_place(wide=False)
    )


def _place(wide: bool) -> dict[str, Any]:
    return {"style": {"description_width": "110px"}, "layout": {"width": WIDE if wide else NARROW}}


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


def _spoken(lines: Sequence[str]) -> str:
    """Lines of a summary, for the eye and for a screen reader."""
    return f"<div role='status' style='line-height: 1.5'>{'<br>'.join(map(html.escape, lines))}</div>"


def _spelled(value: object) -> str:
    """A value as code."""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else f"float('{value}')"
    return repr(value)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of a kernel; None where there is none, as in a script."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
