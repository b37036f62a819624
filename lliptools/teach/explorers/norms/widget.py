"""A norm from below and from above."""

import math
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.teach.explorers.norms.figure import norms
from lliptools.teach.explorers.norms.view import NormView
from lliptools.teach.shared.controls import refuse, slider
from lliptools.teach.shared.explorer import Explorer, Look, Shown, State

STEPS, STARTS = 40, 8
OTHER = ("a start of the other kind of explorer", "leave it out")


class NormExplorer(Explorer):
    """Power and Lanczos iteration from below, Gram iteration from above, closing in on the norm of a matrix.

    * matrix: any matrix (rows, columns), such as the weight of a torch.nn.Linear; start: which of 8 random starts
    * without one it is diag(1, ratio), with a start at angle degrees from the direction that is stretched most, and 7
      others at random
    * iteration: where that slider starts
    * seed: of the random starts
    * source: how matrix is called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    Raises InvalidInput for anything but a matrix of finite numbers, and for starts that do not fit.
    """

    usual = "W"
    framed = "iteration"

    def __init__(
        self,
        matrix: Tensor | None = None,
        *,
        ratio: float | None = None,
        angle: int | None = None,
        start: int | None = None,
        iteration: int = 5,
        seed: int = 0,
        source: str = "W",
        layout: Look = None,
    ) -> None:
        fits = isinstance(matrix, Tensor | None)
        if not fits:
            wanted, mend = "a matrix as a tensor (rows, columns)", "pass layer.weight of a torch.nn.Linear"
            raise InvalidInput(expected=wanted, got=type(matrix).__name__, cause="a layer, or an array", next_step=mend)
        self._matrix, self._seed = None if matrix is None else matrix.detach().cpu(), seed
        self._view = lru_cache(maxsize=64)(self._compute)
        step = slider("iteration", "how many steps each method has made", 0, STEPS, 1, iteration)
        if matrix is None:
            refuse("without a matrix, whose starts are angles", *OTHER, start=start)
            ratio, angle = 0.5 if ratio is None else float(ratio), 60 if angle is None else angle
            second = slider("σ₂/σ", "second singular value over the first", 0.0, 1.0, 0.01, ratio, argument="ratio")
            turned = "of the start, from the direction that is stretched most"
            turn = slider("angle in degrees", turned, 0, 90, 1, angle, argument="angle")
            super().__init__([{"iteration": step, "ratio": second, "angle": turn}], "", seed=seed, layout=layout)
        else:
            refuse("with a matrix", *OTHER, ratio=ratio, angle=angle)
            tooltip = "which of the random start vectors is followed"
            number = slider("start nr", tooltip, 0, STARTS - 1, 1, start or 0, argument="start")
            super().__init__([{"iteration": step, "start": number}], source, seed=seed, layout=layout)

    def _show(self, at: State, coarse: bool) -> Shown:
        view, where = self._view(at.get("ratio"), at.get("angle")), (at.get("start", 0), at["iteration"])
        return view, partial(norms, view, *where), view.summary(*where)

    def _compute(self, ratio: Any, angle: Any) -> NormView:
        generator = torch.Generator().manual_seed(self._seed)
        if self._matrix is not None:
            starts = torch.randn(STARTS, *self._matrix.shape[-1:], generator=generator, dtype=torch.float64)
            return NormView(self._matrix, starts, STEPS)
        others = torch.rand(STARTS - 1, generator=generator, dtype=torch.float64) * math.pi / 2
        angles = torch.cat([torch.tensor([math.radians(angle)], dtype=torch.float64), others])
        # At 90 degrees nothing is left along the first direction, not even rounding.
        starts = torch.stack([angles.cos(), angles.sin()], dim=1).round(decimals=15)
        return NormView(torch.diag(torch.tensor([1.0, ratio], dtype=torch.float64)), starts, STEPS)
