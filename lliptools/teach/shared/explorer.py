"""What explorers share: controls, a figure that follows them, the same in words, and the call that opens it again."""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, Self

import ipywidgets
from plotly.graph_objects import Figure

from lliptools.teach.shared.button import Button, Order
from lliptools.teach.shared.controls import moves, positions, state
from lliptools.teach.shared.made import Made, State
from lliptools.teach.shared.transport import Screen, plotly_js

QUIET = 0.15  # seconds without a move before what takes long is computed
DELAY = 0.01  # seconds between two parts of it, in which the kernel answers
Look = Mapping[str, Any] | None  # ipywidgets' layout of the whole
Shown = tuple[Any, Callable[[], Figure], tuple[str, ...]]  # a view, what draws it, and the same in words


class Explorer(Made):
    """A figure, its controls, a sentence that says what it shows and the call that opens the present view.

    A class that derives from it implements `_show`, and where the whole picture takes longer than a hand waits, one of
    these:

    * `slow = True`: `_show` is asked for a coarse picture at once, and for the whole one when the controls are at rest
    * `_next_part`: what is known is drawn at once, the rest part by part
    * `framed = "name"` of a slider: the pictures at all its positions are made, and the browser shows them by itself

    Arguments:

    * rows: the controls by name, the one that tells the story first; they become attributes, and one that cannot
      move is not shown
    * source: how what is explored is called in code; `usual` as a rule, empty where it is nothing but the controls
    * layout: of the whole, by default as wide as its cell
    * fixed: keywords of the call that no control moves, None to leave one out

    In a script all is drawn at once. JupyterLab lets a busy kernel answer controls in a second thread: one of the two
    draws at a time, and a control may move meanwhile, and is drawn next. So what is kept for later is computed from
    values that were read once.
    """

    slow = False
    framed: str | None = None
    _later: asyncio.Handle | None = None

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Have the browser read plotly.js while the explorer is computed."""
        plotly_js()
        return super().__new__(cls, *arguments, **keywords)

    def __init__(
        self, rows: Sequence[Mapping[str, ipywidgets.ValueWidget]], source: str, *, layout: Look = None, **fixed: object
    ) -> None:
        self._name(rows)
        self._source, self._fixed = source, fixed
        self._held, self._moved, self._turn = False, False, RLock()
        self._notes: tuple[Mapping[str, Any], ...] = ()
        self._behind = self._coarse = False  # whether what is drawn here lacks something: what is known, or at all
        self._order = Order(self._turn)
        self.call = ipywidgets.HTML(layout={"overflow": "auto hidden", "margin": "0"})
        _, draw, lines = self._show(self._state, False)
        framed = self.controls[self.framed] if self.framed else None
        self.screen = Screen(draw(), lines, list(self.controls.values()), framed)
        self._tell_call()
        for control in self.controls.values():
            control.observe(self._update, names="value")
            self._order.keep(control)
        started = [state(control) for control in self.controls.values()]
        look: dict[str, Any] = {"width": "72px", "flex": "0 0 auto", "margin": "2px 0 2px 12px"}
        back = "back to where the controls started"
        self.reset = self._button("reset", back, lambda: None, moved_to=started, layout=look)
        super().__init__(self._arranged(), layout={"width": "100%", "overflow": "hidden", **(layout or {})})
        self.add_class("ll-explorer")
        self.at = self._standing
        self.screen.home = self.model_id
        self._rest(QUIET if self.framed else DELAY)

    def pack(self) -> Self:
        """Make the pictures at all positions of the first control now, and return the explorer.

        Displayed after that, it moves in a page that has no kernel, as one by `jupyter nbconvert --execute --to html`.
        """
        with self._turn:
            self._cancel()
            story = next(control for control in self.controls.values() if moves(control))
            here, made = story.value, []
            self.screen.drop()
            for position in positions(story):
                story.value = position
                self.finish()
                made.append((self._figure(), self._summary()))
            story.value = here
            self.finish()
            self.screen.follow(story)
            while not self.screen.ready:
                self.screen.make(iter(made))
            self._cancel()
        return self

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
        self._order.keep(button)
        return button

    @property
    def view(self) -> Any:
        """What is shown when the controls are at rest: the numbers behind figure and words."""
        return self._show(self._state, False)[0]

    def _show(self, at: State, coarse: bool) -> Shown:
        """The view where the controls stand at such values, what draws it, and the same in words, line by line.

        The figure has always the same number of traces and texts. coarse: what an explorer that is slow has at once.
        """
        raise NotImplementedError

    def annotate(self, texts: Sequence[Mapping[str, Any]]) -> None:
        """Write texts into every figure from now on; once it is displayed, always as many."""
        with self._turn:
            self._cancel()
            self._notes = tuple(texts)
            self.screen.drop()
            self._draw()
            self._rest(QUIET)

    def _noted(self, figure: Figure) -> Figure:
        for text in self._notes:
            figure.add_annotation(text)
        return figure

    def _figure(self, *, coarse: bool = False) -> Figure:
        return self._noted(self._show(self._state, coarse)[1]())

    def _summary(self) -> tuple[str, ...]:
        return self._show(self._state, self._coarse)[2]

    def _frames(self) -> Iterator[tuple[Figure, tuple[str, ...]]]:
        """Figure and summary at every position of the framed slider, while the other controls stand as they do."""
        assert self.framed
        at = self._state
        for position in self.screen.positions:
            _, draw, lines = self._show({**at, self.framed: position}, False)
            yield self._noted(draw()), lines

    def _next_part(self) -> Callable[[], object] | None:
        """What computes the next part that the present view lacks, in a second at most; None where it is whole."""
        return None

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
            if change and _stays(change):
                return
            if change and change.owner in self.screen.others:
                self.screen.drop()
            if self._held:
                self._moved = True
                return
            self._cancel()
            self.at = self._standing
            if self.screen.ready:  # the browser shows it already
                self._behind = True
                self.screen.lines = self._summary()
                self._tell_call()
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
                self.screen.make(self._frames())
            self._rest(DELAY)

    def _draw(self, *, coarse: bool = False) -> None:
        """Bring figure and words to the present view; in silence where the browser shows it already."""
        self._behind = self._coarse = coarse
        _, draw, lines = self._show(self._state, coarse)
        self.screen.show(self._noted(draw()), lines, silently=self.screen.ready)
        self._tell_call()


def _stays(change: Any) -> bool:
    """Whether a number is only spelled otherwise: the view of a slider brings 1.0 to 0.9999999999999996."""
    step = getattr(change.owner, "step", None)
    return isinstance(step, float) and math.isclose(change.old, change.new, rel_tol=1e-9, abs_tol=1e-9 * step)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of a kernel; None where there is none, as in a script."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
