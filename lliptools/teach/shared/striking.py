"""Weight matrices on a canvas: the rows and columns of constant units fade in place, and the rest slides together."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import torch
import traitlets
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.teach.shared.style import STATES, canvas_colors

SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


class Striking(anywidget.AnyWidget):
    """Weight matrices W_1, …, W_K whose rows and columns are struck as units become constant.

    * weights: K matrices, (rows, columns) each; every hidden layer is the rows of one and the columns of the next
    * height: of the tallest, in pixels
    * slider: the states of all its positions may be given at once, and the browser picks them

    Raises InvalidInput for matrices that do not follow each other.
    """

    _esm = SCRIPT + "export default striking;\n"
    height = traitlets.Int().tag(sync=True)
    colors: Any = traitlets.List(canvas_colors()).tag(sync=True)
    shapes: Any = traitlets.List().tag(sync=True)
    values: Any = traitlets.Bytes().tag(sync=True)
    states: Any = traitlets.Bytes().tag(sync=True)
    positions: Any = traitlets.List([0.0]).tag(sync=True)
    followed: Any = traitlets.List().tag(sync=True, **ipywidgets.widget_serialization)

    def __init__(
        self, weights: Sequence[Tensor], *, height: int = 180, slider: ipywidgets.ValueWidget | None = None
    ) -> None:
        shapes = [tuple(weight.shape) for weight in weights]
        follow = all(before[0] == after[1] for before, after in pairwise(shapes) if len(before) == len(after) == 2)
        if not (follow and all(len(shape) == 2 for shape in shapes)):
            wanted, cause = "matrices whose rows are the columns of the next", "transposed weights, or a missing layer"
            raise InvalidInput(expected=wanted, got=str(shapes), cause=cause, next_step="pass layer.weight of each")
        super().__init__(height=height, shapes=shapes, followed=[slider] if slider else [])
        self.update(weights)
        self.show([torch.full(shape[:1], len(STATES) - 1) for shape in shapes[:-1]])

    def update(self, weights: Sequence[Tensor]) -> None:
        """Other weights of the same shapes."""
        self.values = b"".join(weight.detach().cpu().float().contiguous().numpy().tobytes() for weight in weights)

    def show(self, states: Sequence[Tensor], positions: Sequence[float] = (0.0,)) -> None:
        """The states of the units, by their codes in shared.units, a tensor for every hidden layer: (units,).

        positions: of the slider, where states are given for all of them: (positions, units).
        """
        codes = torch.cat([found.reshape(len(positions), -1) for found in states], dim=1) if states else torch.zeros(0)
        with self.hold_sync():
            self.positions, self.states = list(positions), codes.byte().cpu().numpy().tobytes()
