"""What explorers share: controls, a figure that follows them, the same in words, and the call that opens it again."""

import asyncio
import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from threading import RLock
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from lliptools.teach.shared.button import Button
from lliptools.teach.shared.controls import moves, state
from lliptools.teach.shared.figure_widget import figure_widget
from lliptools.teach.shared.frames_widget import Frames
from lliptools.teach.shared.redraw import redraw
from lliptools.teach.shared.style import dark

__all__ = ["Explorer"]

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
    row by row; one that is in none, or that cannot move, is not shown. source: how what is explored is called where the
    explorer is made, as code, which as a rule is what the class names as usual; empty where it is nothing but the
    controls.

    JupyterLab lets a kernel that is busy answer controls in a second thread. One of the two draws at a time; what a
    control says may change meanwhile, and is drawn next. So what is kept for later has to be computed from values that
    were read once.
    """

    usual = "net, x, y"
    slow = False
    framed: str | None = None
    dark = False

    def __init__(
        self, controls: Mapping[str, ipywidgets.ValueWidget], rows: Sequence[Sequence[str]], source: str
    ) -> None:
        self.controls = dict(controls)
        for name, control in self.controls.items():
            setattr(self, name, control)
        self._source, self._held, self._moved, self._turn = source, False, False, RLock()
        self._later: asyncio.Handle | None = None
        self._pressed: dict[str, datetime] = {}  # when a button was pressed last, on each page that shows the explorer
        self.summary, self.call = ipywidgets.HTML(), ipywidgets.HTML()
        self.figure = figure_widget(self._colored(self._figure(coarse=False)))
        others = [control for name, control in self.controls.items() if name != self.framed]
        self.frames = Frames(self.figure, self.controls[self.framed], self.summary, others) if self.framed else None
        self._write()
        for control in self.controls.values():
            control.observe(self._update, names="value")
            self._order(control)
        self.reset = self._button(
            "reset",
            "back to where the controls started",
            lambda: None,
            moved_to=[state(control) for control in self.controls.values()],
            layout={"width": "80px", "margin": "2px 2px 2px 16px"},
        )
        # A window narrower than the figure scrolls it.
        framed = ipywidgets.Box([self.figure], layout={"overflow": "auto hidden"})
        lines = [[self.controls[name] for name in row if moves(self.controls[name])] for row in rows]
        lines[0].append(self.reset)
        super().__init__([*map(ipywidgets.HBox, lines), self.summary, framed, self.call])
        self._rest(_running_loop(), drawn=True)

    def _button(self, description: str, tooltip: str, press: Callable[[], None], **look: Any) -> Button:
        """A button that brings the controls to what they show when it is pressed, and then calls press."""

        def pressed(shown: Sequence[Mapping[str, Any]]) -> None:
            with self._turn:
                with self.held():
                    for control, new in zip(self.controls.values(), shown, strict=True):
                        if new != state(control):
                            control.set_state(new)
                press()

        button = Button(description, tooltip, list(self.controls.values()), pressed, **look)
        self._order(button)
        return button

    def _order(self, widget: ipywidgets.Widget) -> None:
        """Take what the browser says of a control or a button as if it came in the order in which it was sent.

        The kernel answers messages of different widgets in different threads. What a control has said before a press
        and comes after it is dropped: the press has carried what became of it.
        """

        def take(message: Mapping[str, Any]) -> None:
            page, date = message["header"]["session"], message["header"]["date"]
            with self._turn:
                if isinstance(widget, Button):
                    self._pressed[page] = date
                if date >= self._pressed.get(page, date):
                    widget._handle_msg(message)

        widget.comm.on_msg(take)

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
        keywords = self._keywords()
        if self._source not in ("", self.usual):
            keywords["source"] = self._source
        given = [f"{name}={_spelled(value)}" for name, value in keywords.items()]
        arguments = [self._source, *given] if self._source else given
        return f"ll.teach.{type(self).__name__}({', '.join(arguments)})"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Move several controls, and draw once; nothing where none has moved."""
        with self._turn:
            self._held, self._moved = True, False
            try:
                yield
            finally:
                self._held = False
            if self._moved:
                self._update(None)

    def finish(self) -> None:
        """Draw the whole picture of the present view now, where it was left for later."""
        waits = self._later is not None
        self._cancel()
        if waits:
            self._draw(coarse=False)

    def _update(self, change: Any) -> None:
        with self._turn:
            if self.frames and change and change.owner in self.frames.others:
                self.frames.drop()
            if self._held:
                self._moved = True
            else:
                self._cancel()
                self._follow()

    def _follow(self) -> None:
        """Bring the explorer to what its controls say now: at once what is quick, the rest when they are at rest."""
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
        with self._turn:
            if not drawn:
                self._draw(coarse=False)
            if self.frames and not self.frames.shown:
                coming = ((self._colored(figure), _spoken(lines)) for figure, lines in self._frames())
                self.frames.make(coming)
                self._later = loop.call_later(BREATH, self._at_rest, loop, True)

    def _draw(self, *, coarse: bool) -> None:
        """Bring figure and words to the present view; in silence where the browser shows it already."""
        figure = self._colored(self._figure(coarse=coarse))
        if self.frames and self.frames.shown:
            redraw(self.figure, figure, send=False)
            self._write(silently=True)
            return
        redraw(self.figure, figure, again=self.frames.owed if self.frames else ())
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


def _spoken(lines: Sequence[str]) -> str:
    """Lines of a summary, for the eye and for a screen reader."""
    return f"<div role='status' style='line-height: 1.5'>{'<br>'.join(map(html.escape, lines))}</div>"


def _spelled(value: object) -> str:
    """A value as code: as short as it can be without meaning another number."""
    if not isinstance(value, float):
        return repr(value)
    if not math.isfinite(value):
        return f"float('{value}')"
    short = f"{value:.6g}"
    return short if math.isclose(float(short), value, rel_tol=1e-12) else repr(value)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of a kernel; None where there is none, as in a script."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
