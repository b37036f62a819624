"""What an explorer is made of, where its controls stand, and the call that opens it again."""

import html
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import ipywidgets
import traitlets
from plotly.graph_objects import Figure

from lliptools.teach.shared.button import Button
from lliptools.teach.shared.controls import key, moves
from lliptools.teach.shared.transport import Screen
from lliptools.teach.shared.words import call

ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "center", "width": "100%", "overflow": "hidden"}
State = Mapping[str, Any]  # where the controls stand, by name


class Made(ipywidgets.VBox):
    """Controls by name, the one that tells the story first, a screen, and the call that opens the present view."""

    # Where the controls stand, by name: a value, or the number of an option. Set, it moves them.
    at: Any = traitlets.Dict().tag(sync=True)
    controls: dict[str, Any]
    screen: Screen
    call: ipywidgets.HTML
    reset: Button
    usual = "net, x, y"
    keywords: tuple[str, ...] = ()  # of the call, in order; by default as they come
    _source: str
    _fixed: dict[str, object]

    def _name(self, rows: Sequence[Mapping[str, ipywidgets.ValueWidget]]) -> None:
        """Take the controls, which become attributes."""
        self.controls = {name: control for row in rows for name, control in row.items()}
        for name, control in self.controls.items():
            setattr(self, name, control)

    def _arranged(self) -> list[ipywidgets.Widget]:
        """All of it from top to bottom; a control that cannot move is not shown."""
        story, *others = (control for control in self.controls.values() if moves(control))
        story.layout.flex = "1 1 auto"
        lines = [[story, self.reset], [*others, *self._buttons()]]
        return [*(ipywidgets.Box(line, layout=ROW) for line in lines if line), self.screen, self.call]

    def _buttons(self) -> list[ipywidgets.Widget]:
        """A row of more buttons."""
        return []

    def held(self) -> AbstractContextManager[None]:
        """Move several controls, and draw once."""
        raise NotImplementedError

    def _keywords(self, **more: object) -> dict[str, object]:
        """The keywords that open the present view: what can be moved, what is fixed, and more; None for none."""
        moving = {name: control.value for name, control in self.controls.items() if moves(control)}
        found = {**moving, **self._fixed, **more}
        return {name: found[name] for name in self.keywords or found if found.get(name) is not None}

    def reproduce(self) -> str:
        """The one-line call that opens the present view."""
        keywords = self._keywords()
        if self._source not in ("", self.usual):
            keywords["source"] = self._source
        return call(type(self).__name__, self._source, keywords)

    def _tell_call(self) -> None:
        self.call.value = f"<code style='font-size: 11px; white-space: nowrap'>{html.escape(self.reproduce())}</code>"

    def _cancel(self) -> None:
        """Have nothing done later."""

    @property
    def _state(self) -> State:
        return {name: control.value for name, control in self.controls.items()}

    @property
    def _standing(self) -> dict[str, Any]:
        return {name: getattr(control, key(control)) for name, control in self.controls.items()}

    @traitlets.observe("at")
    def _go(self, change: Any) -> None:
        """Move the controls to where they are said to stand."""
        apart = {name: place for name, place in change.new.items() if self._standing[name] != place}
        if apart:
            with self.held():
                for name, place in apart.items():
                    setattr(self.controls[name], key(self.controls[name]), place)

    def __repr__(self) -> str:
        return self.reproduce()

    @property
    def figure(self) -> Figure:
        """The figure as it was drawn last."""
        return self.screen.figure

    @property
    def summary(self) -> str:
        """What is shown, in words: a sentence, and the numbers line by line."""
        return "\n".join(self.screen.lines)

    def close(self) -> None:
        """Close it and all that it is made of."""
        self._cancel()
        for box in self.children:
            for part in (*getattr(box, "children", ()), box):
                part.close()
        super().close()
