"""Figures that are made beforehand for all positions of one slider, and picked by the browser."""

from collections.abc import Iterator, Sequence
from typing import Any

import anywidget
import ipywidgets
import plotly.graph_objects as go
import traitlets

from lliptools.teach.shared.controls import key
from lliptools.teach.shared.frames import SCRIPT, Parts, Place, pack, parts, varying

__all__ = ["Frames"]


class Frames(anywidget.AnyWidget):
    """The pictures of a figure for all positions of a slider; the browser shows the one at which the slider stands.

    figure, slider, summary: what follows what. others: the controls that the pictures depend on besides the slider;
    once one of them moves, the browser leaves the figure to the kernel until it gets the next pictures.
    """

    _esm = SCRIPT
    followed: Any = traitlets.List().tag(sync=True, **ipywidgets.widget_serialization)
    parcel: Any = traitlets.Bytes().tag(sync=True)

    def __init__(
        self,
        figure: go.FigureWidget,
        slider: ipywidgets.ValueWidget,
        summary: ipywidgets.HTML,
        others: Sequence[ipywidgets.ValueWidget],
    ) -> None:
        super().__init__(followed=[figure, slider, summary, *others])
        self._slider, self.others = slider, list(others)
        # shown: whether the browser has the pictures of the present view, and shows them without the kernel.
        self.shown = False
        # owed: what it has been free to change since the kernel last said it.
        self.owed: list[Place] = []
        self._coming: Iterator[tuple[go.Figure, str]] | None = None
        self._pictures: list[Parts] = []
        self._texts: list[str] = []
        self._given: list[Any] = []

    @property
    def positions(self) -> list[float]:
        """Where the slider can stand."""
        steps = round((self._slider.max - self._slider.min) / self._slider.step)
        return [self._slider.min + k * self._slider.step for k in range(steps + 1)]

    def make(self, coming: Iterator[tuple[go.Figure, str]]) -> None:
        """Make one more picture of the present view, or send them where all are made.

        coming: pictures and texts in the order of positions. What has been begun for the present view is gone on with.
        """
        if self._coming is None:
            self._coming, self._pictures, self._texts = coming, [], []
            self._given = [getattr(other, key(other)) for other in self.others]
        for figure, text in self._coming:
            self._pictures.append(parts(figure))
            self._texts.append(text)
            return
        keys = [key(other) for other in self.others]
        self.owed = varying(self._pictures)
        self.shown = True
        self.parcel = pack(self._pictures, self._texts, self.positions, keys=keys, given=self._given)
        self._coming, self._pictures = None, []

    def drop(self) -> None:
        """Another control has moved: what was made is of no use, here and in the browser.

        The same pictures may come again when it moves back: an empty parcel in between lets them be sent again.
        """
        self.shown, self._coming, self.parcel = False, None, b""
