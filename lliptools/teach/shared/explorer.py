"""What explorers share: controls, a figure that follows them, the same in words, and the call that opens it again."""

import asyncio
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from threading import RLock
from typing import Any, Self

import ipywidgets
from plotly.graph_objects import Figure

from lliptools.teach.shared.button import Button
from lliptools.teach.shared.controls import moves, state
from lliptools.teach.shared.style import dark
from lliptools.teach.shared.transport import Screen, plotly_js
from lliptools.teach.shared.words import call, spoken

__all__ = ["Explorer", "Figure", "running_loop"]

QUIET = 0.15  # seconds without a move before what takes long is computed
DELAY = 0.01  # seconds between two parts of it, in which the kernel answers


class Explorer(ipywidgets.VBox):
    """A figure, its controls, a summary in words and the call that opens the present view.

    A class that derives from it implements `_figure`, `_summary` and `_keywords`, and where the whole picture takes
    longer than a hand waits, one of these:

    * `slow = True`: `_figure(coarse=True)` is drawn at once, the whole picture when the controls are at rest
    * `_next_part`: what is known is drawn at once, the rest part by part
    * `framed = "name"` of a slider: `_frames` are made at all its positions, and the browser shows them by itself

    Arguments:

    * controls: by name, each with a description and a tooltip; they become attributes
    * rows: the names of the controls, row by row; one that is in none, or that cannot move, is not shown
    * source: how what is explored is called in code; `usual` as a rule, empty where it is nothing but the controls

    Explorer.dark = True, set before one is made, draws all of them for a dark page. In a script all is drawn at once.

    JupyterLab lets a busy kernel answer controls in a second thread. One of the two draws at a time; a control may move
    meanwhile, and is drawn next. So what is kept for later is computed from values that were read once.
    """

    usual = "net, x, y"
    slow = False
    framed: str | None = None
    dark = False

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Have the browser read plotly.js while the explorer is computed."""
        plotly_js()
        return super().__new__(cls, *arguments, **keywords)

    def __init__(
        self, controls: Mapping[str, ipywidgets.ValueWidget], rows: Sequence[Sequence[str]], source: str
    ) -> None:
        self.controls = dict(controls)
        for name, control in self.controls.items():
            setattr(self, name, control)
        self._source, self._held, self._moved, self._turn = source, False, False, RLock()
        self._later: asyncio.Handle | None = None
        self._behind = False  # whether what is drawn here lacks something that is known
        self._pressed: dict[str, datetime] = {}  # when a button was pressed last, on each page that shows the explorer
        self.summary, self.call = ipywidgets.HTML(), ipywidgets.HTML()
        others = [control for name, control in self.controls.items() if name != self.framed]
        followed = (self.controls[self.framed], self.summary, others) if self.framed else ()
        self.screen = Screen(self._colored(self._figure(coarse=False)), *followed)
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
        scrolled = ipywidgets.Box([self.screen], layout={"overflow": "auto hidden"})
        lines = [[self.controls[name] for name in row if moves(self.controls[name])] for row in rows]
        lines[0].append(self.reset)
        super().__init__([*(ipywidgets.HBox(line) for line in lines if line), self.summary, scrolled, self.call])
        self._rest(QUIET if self.framed else DELAY)

    @property
    def figure(self) -> Figure:
        """The figure as it was drawn last."""
        return self.screen.figure

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

    def _figure(self, *, coarse: bool) -> Figure:
        """The figure of the present view: always the same number of traces and texts."""
        raise NotImplementedError

    def _summary(self) -> tuple[str, ...]:
        """The numbers of the present view in words, line by line."""
        raise NotImplementedError

    def _keywords(self) -> dict[str, object]:
        """The keywords that open the present view."""
        raise NotImplementedError

    def _frames(self) -> Iterator[tuple[Figure, tuple[str, ...]]]:
        """Figure and summary at every position of the framed slider, while the other controls stand as they do."""
        raise NotImplementedError

    def _next_part(self) -> Callable[[], object] | None:
        """What computes the next part that the present view lacks, in a second at most; None where it is whole."""
        return None

    def reproduce(self) -> str:
        """The one-line call that opens the present view."""
        keywords = self._keywords()
        if self._source not in ("", self.usual):
            keywords["source"] = self._source
        return call(type(self).__name__, self._source, keywords)

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
        """Compute and draw what the present view still lacks, now."""
        with self._turn:
            self._cancel()
            while part := self._next_part():
                part()
                self._behind = True
            if self._behind:
                self._draw()

    def _update(self, change: Any) -> None:
        with self._turn:
            if self.framed and change and change.owner in self.screen.others:
                self.screen.drop()
            if self._held:
                self._moved = True
                return
            self._cancel()
            if self.screen.ready:  # the browser shows it already
                self._behind = True
                self._write(silently=True)
            else:
                self._draw(coarse=self.slow and running_loop() is not None)
            self._rest(QUIET)

    def _cancel(self) -> None:
        """Have nothing done later."""
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _rest(self, pause: float) -> None:
        """Have what can wait done when the controls have been at rest."""
        loop = running_loop()
        if loop is None:
            self.finish()
        elif self._behind or (self.framed and not self.screen.ready) or self._next_part():
            self._later = loop.call_later(pause, self._go_on)

    def _go_on(self) -> None:
        """Do one thing that could wait."""
        with self._turn:
            if part := self._next_part():
                part()
                self._behind = True
            if self._behind:
                self._draw()
            if self.framed and not self.screen.ready:
                self.screen.make((self._colored(figure), spoken(lines)) for figure, lines in self._frames())
            self._rest(DELAY)

    def _draw(self, *, coarse: bool = False) -> None:
        """Bring figure and words to the present view; in silence where the browser shows it already."""
        self._behind = coarse
        figure = self._colored(self._figure(coarse=coarse))
        behind = self.screen.show(figure, silently=self.screen.ready)
        self._write(silently=self.screen.ready)
        if behind:
            self.summary.send_state("value")

    def _colored(self, figure: Figure) -> Figure:
        return dark(figure) if self.dark else figure

    def _write(self, *, silently: bool = False) -> None:
        summary = spoken(self._summary())
        with self.summary._lock_property(value=summary) if silently else nullcontext():
            self.summary.value = summary
        self.call.value = f"this view: <code>{html.escape(self.reproduce())}</code>"


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of a kernel; None where there is none, as in a script."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
