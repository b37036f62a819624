"""One condition for layers that are 1-Lipschitz by design."""

import math
from functools import cache, lru_cache, partial

import torch
from torch import Tensor

from lliptools.teach.explorers.condition.figure import condition
from lliptools.teach.explorers.condition.view import ConditionView
from lliptools.teach.shared.controls import check_start, choice, slider
from lliptools.teach.shared.explorer import Explorer, Look, Shown, State

MOST = 2.0  # log₂ q₂/q₁ goes so far to either side
STEP = 0.05
MANY = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).round(decimals=2)
MATRICES = {
    "a long and a short one": torch.tensor([[2.0, 0.3], [0.5, 0.4]]).double(),
    "1  .6 | .2  .9": torch.tensor([[1.0, 0.6], [0.2, 0.9]]).double(),
    "orthogonal columns": torch.tensor([[0.8, -0.6], [0.6, 0.8]]).double(),
    "nearly the same twice": torch.tensor([[1.0, 0.95], [0.0, 0.1]]).double(),
    "eight columns": MANY,
}


class ConditionExplorer(Explorer):
    """Which diagonal scales T fulfil T ⪰ WᵀW, and make W T^(−½) and x − 2 W T⁻¹ σ(Wᵀx + b) 1-Lipschitz.

    * W: a matrix (features, inner) of two columns or more, of which the plane shows the first two; without one there is
      a small set to choose from
    * q: where the slider of q₂/q₁ starts, from 1/4 to 4, every other q being 1
    * matrix: the name of the one that is chosen first
    * source: how W is called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    Raises InvalidInput for a matrix and for starts that do not fit.
    """

    usual = "W"
    keywords = ("q", "matrix")
    framed = "log_q"

    def __init__(
        self,
        W: Tensor | None = None,
        *,
        q: float = 1.0,
        matrix: str | None = None,
        source: str = "W",
        layout: Look = None,
    ) -> None:
        self._matrices = MATRICES if W is None else {source: W}
        names = list(self._matrices)
        check_start("q", q, 2**-MOST, 2**MOST)
        for each in self._matrices.values():  # all of them, before anything is drawn
            ConditionView(each)
        self._view, self._reach = lru_cache(maxsize=512)(self._compute), cache(self._compute_reach)
        ratio = "ratio of the weights of columns 2 and 1 in SLL's scale, a power of 2 without unit; AOL is 0"
        span = (-MOST, MOST, STEP, STEP * round(math.log2(q) / STEP))
        power = slider("log₂ q2/q1", ratio, *span)
        chosen = choice("matrix", "which matrix W is scaled", names, names[0] if matrix is None else matrix)
        super().__init__([{"log_q": power, "matrix": chosen}], "" if W is None else source, layout=layout)

    def _show(self, at: State, coarse: bool) -> Shown:
        view = self._view(at["matrix"], at["log_q"])
        return view, partial(condition, view, self._reach(at["matrix"])), view.summary()

    def _keywords(self, **more: object) -> dict[str, object]:
        return super()._keywords(q=float(f"{2.0 ** self.controls['log_q'].value:.6g}"), **more)

    def _compute(self, name: str, log_q: float) -> ConditionView:
        W = self._matrices[name]
        q = torch.zeros(W.shape[1], dtype=torch.float64)
        q[1] = log_q * math.log(2)
        return ConditionView(W, q)

    def _compute_reach(self, name: str) -> tuple[float, float, float]:
        """How far the axes of the plane and the discs go: they stay, so that what moves is seen to move."""
        views = [self._view(name, ratio) for ratio in (-MOST, 0.0, MOST)]
        most = [max(view.scales[kind][k].item() for view in views for kind in view.scales) for k in (0, 1)]
        across, up = (max(1.1 * m, 1.7 * c) or 1.0 for m, c in zip(most, views[0].section.corner, strict=True))
        return across, up, 2 * max(view.radii.max().item() for view in views) or 1.0
