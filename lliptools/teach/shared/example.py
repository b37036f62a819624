"""An explorer on a network that ships: for the app, the gallery, the static pictures and what is timed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from torch import Tensor

from lliptools import nets, training
from lliptools.certificates.certificate import certify
from lliptools.teach.shared.controls import positions
from lliptools.teach.shared.explorer import Explorer

# Where a slider stands, a number or the name of an option, the figure there, and the same in words, line by line.
Picture = tuple[Any, go.Figure, tuple[str, ...]]


@dataclass(frozen=True)
class Example:
    """An explorer, made when it is asked for, and the control that tells its story when it is moved.

    * lesson: the notebook that it belongs to
    * control: its name; empty for what has no slider to be moved, whose page is made otherwise
    * still: the low, the middle and the high position that stand for it where nothing moves
    * every: one of how many positions is on its page of the gallery
    """

    lesson: int
    title: str
    question: str
    make: Callable[[], Any]
    control: str
    still: tuple[Any, Any, Any]
    every: int = 1

    def pictures(self, explorer: Explorer, *, still: bool = False) -> Iterator[Picture]:
        """What the explorer shows while the control runs over its positions; the others stay where they are.

        still: at the low, the middle and the high one only.
        """
        control = explorer.controls[self.control]
        every = positions(control)[:: self.every]
        for position in [_place(control, wanted) for wanted in self.still] if still else every:
            with explorer.held():
                control.value = position
            explorer.finish()
            said = control.label if hasattr(control, "options") else position
            yield said, explorer._figure(), explorer._summary()


def _place(control: Any, wanted: Any) -> Any:
    """The position that is wanted, but for rounding where it is a number; by its name where it has one."""
    if isinstance(wanted, str):
        return dict(control.options)[wanted]
    return min(positions(control), key=lambda position: abs(position - wanted))


def labelled(name: str, *, by_margin: bool = False) -> tuple[Any, Tensor, Tensor]:
    """A shipped network with its test points and labels; by_margin: the smallest margin first."""
    data, net = training.recipe(name).data(), nets.load(name)
    x, y = data.x_test, data.y_test
    order = certify(net, x, y, 0.0).margin.argsort() if by_margin else slice(None)
    return net, x[order], y[order]
