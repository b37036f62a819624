"""Buttons that act on what the controls show, however late the kernel hears of them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from lliptools.teach.shared.controls import key, state

SCRIPT = Path(__file__).parent.joinpath("button.js").read_text(encoding="utf-8")


class Button(anywidget.AnyWidget):
    """A button whose press carries what its controls show in the browser.

    press: called with the state of each control in the order of controls, {"value": v} or {"index": i}. moved_to: the
    states to which a press first moves the controls; empty where it moves none. look: button_style, layout, disabled.
    """

    _esm = SCRIPT
    description = traitlets.Unicode().tag(sync=True)
    button_style = traitlets.Unicode().tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    controls: Any = traitlets.List().tag(sync=True, **ipywidgets.widget_serialization)
    fields: Any = traitlets.List().tag(sync=True)
    moved_to: Any = traitlets.List().tag(sync=True)

    def __init__(
        self,
        description: str,
        tooltip: str,
        controls: Sequence[ipywidgets.ValueWidget],
        press: Callable[[Sequence[dict[str, Any]]], None],
        **look: Any,
    ) -> None:
        fields = [key(control) for control in controls]
        super().__init__(description=description, tooltip=tooltip, controls=list(controls), fields=fields, **look)
        self._press = press
        self.on_msg(lambda _, content, buffers: press(content["shown"]))

    def click(self) -> None:
        """Press the button from Python: the controls count as they stand here."""
        self._press(self.moved_to or [state(control) for control in self.controls])


class Order:
    """What the browser says of controls and buttons, taken as if it came in the order in which it was sent.

    The kernel answers messages of different widgets in different threads. What a control has said before a press and
    comes after it is dropped: the press has carried what became of it. turn: held while a message is taken.
    """

    def __init__(self, turn: AbstractContextManager[Any]) -> None:
        self._turn = turn
        self._pressed: dict[str, datetime] = {}  # when a button was pressed last, on each page

    def keep(self, widget: ipywidgets.Widget) -> None:
        """Take the messages of a widget in order from now on."""

        def take(message: Mapping[str, Any]) -> None:
            page, date = message["header"]["session"], message["header"]["date"]
            with self._turn:
                if isinstance(widget, Button):
                    self._pressed[page] = date
                if date >= self._pressed.get(page, date):
                    widget._handle_msg(message)

        widget.comm.on_msg(take)
