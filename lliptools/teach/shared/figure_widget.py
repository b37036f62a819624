"""Figures as widgets, all with the one plotly.js of their page."""

import sys
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import plotly
import plotly.graph_objects as go
import traitlets

from lliptools.teach.shared.style import CONFIG

__all__ = ["figure_widget", "send_ahead"]

SCRIPT = Path(__file__).parent.joinpath("figure.js").read_text(encoding="utf-8")


class _Carrier(anywidget.AnyWidget):
    """Brings plotly.js, as plotly's own figures do, to the browser; once, where they bring it each."""

    _esm = SCRIPT + "export default carrier;\n"
    version = traitlets.Unicode(plotly.__version__).tag(sync=True)
    code = traitlets.Bytes().tag(sync=True)


class _Figure(go.FigureWidget):
    """A figure that takes plotly.js from a carrier, and that the browser is told of when it is whole.

    plotly's own is announced empty, and a busy browser then draws it so, with the button that uploads.
    """

    _esm = SCRIPT + "export default figure;\n"
    carrier: Any = traitlets.Any().tag(sync=True, **ipywidgets.widget_serialization)
    _whole = False

    def open(self) -> None:
        """Announce the figure to the browser, once it is whole."""
        if self._whole:
            super().open()


_carriers: list[_Carrier] = []  # at most one


def _carrier() -> _Carrier:
    """What carries plotly.js to the browser; a new one after all widgets have been closed."""
    if not _carriers or _carriers[0].comm is None:
        _carriers[:] = [_Carrier(code=str(go.FigureWidget._esm).encode())]
    return _carriers[0]


def send_ahead() -> None:
    """Have the browser read plotly.js now, if there is one: the first figure then does not wait for it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        _carrier()


def figure_widget(figure: go.Figure) -> go.FigureWidget:
    """The figure as a widget, without the button that uploads it."""
    widget = _Figure(figure)
    widget._config = CONFIG
    widget.carrier = _carrier()
    widget._whole = True
    widget.open()
    return widget
