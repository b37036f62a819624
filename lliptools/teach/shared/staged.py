"""Explorers whose picture comes in parts: what is there is drawn at once, the rest while the controls are at rest."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets

from lliptools.teach.shared.explorer import QUIET, Explorer, _running_loop

__all__ = ["StagedExplorer"]

PAUSE = 0.02  # seconds between two parts, in which the kernel answers


class StagedExplorer(Explorer):
    """An explorer that computes part by part, and draws after each; in a script all parts come at once.

    A class that derives from it says in _next_part what is to be computed next.
    """

    def __init__(
        self, controls: Mapping[str, ipywidgets.ValueWidget], rows: Sequence[Sequence[str]], source: str
    ) -> None:
        super().__init__(controls, rows, source)
        self._go_on(PAUSE)

    def _next_part(self) -> Callable[[], None] | None:
        """What computes the next part that the present view lacks, in a second at most; None where it is whole."""
        raise NotImplementedError

    def finish(self) -> None:
        """Compute what the present view still lacks, now."""
        with self._turn:
            self._cancel()
            missing = False
            while part := self._next_part():
                part()
                missing = True
            if missing:
                self._draw(coarse=False)

    def _follow(self) -> None:
        self._draw(coarse=False)
        self._go_on(QUIET)

    def _go_on(self, pause: float) -> None:
        loop = _running_loop()
        if loop is None:
            self.finish()
        elif self._next_part() is not None:
            self._later = loop.call_later(pause, self._one_part)

    def _one_part(self) -> None:
        with self._turn:
            part = self._next_part()
            if part is not None:
                part()
                self._draw(coarse=False)
                self._go_on(PAUSE)
