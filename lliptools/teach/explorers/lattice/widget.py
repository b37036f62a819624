"""The order of bounds, from a lower bound by way of the truth to the product of norms."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from lliptools.teach.explorers.lattice.figure import lattice
from lliptools.teach.explorers.lattice.view import LatticeRow, LatticeView, rungs
from lliptools.teach.shared.controls import point_slider
from lliptools.teach.shared.explorer import Look, Shown, State
from lliptools.teach.shared.radius import RadiusExplorer

STEPS = 20
AT_ONCE = ("global", "local", "centred")  # quick enough to be there when the point is
ONE_BY_ONE = ("exact",)
PART = 7  # radii of the others that are computed before the kernel answers again


class LatticeExplorer(RadiusExplorer):
    """All bounds of lliptools.BOUNDS near a point: their order, their values, what they certify, what they cost.

    One that calls itself an upper bound and lies below a slope that was found is refuted.

    * net: any network that lliptools.local_bound takes
    * x: (points, *sample), y: (points,) the points to pick from and their labels
    * index, eps: where the sliders start
    * eps_max: end of the radius slider, in units of x
    * source: how net, x and y are called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    Raises InvalidInput for points, labels and starting values that do not fit.
    """

    def __init__(
        self,
        net: nn.Sequential,
        x: Tensor,
        y: Tensor,
        *,
        index: int = 0,
        eps: float | None = None,
        eps_max: float | None = None,
        source: str = "net, x, y",
        layout: Look = None,
    ) -> None:
        self._take(net, x, y)
        self._bounds = rungs()
        self._rows: dict[int, dict[str, LatticeRow]] = {}
        self._costs: dict[str, float] = {}
        point = point_slider(index, len(x))
        super().__init__(
            [{"eps": self._ball(eps, eps_max, steps=STEPS, times=2.5), "point": point}], source, layout=layout
        )

    def _known(self, index: int) -> dict[str, LatticeRow]:
        """The rows of a point that have all their values by now."""
        rows = self._rows.setdefault(index, {})
        return {name: row for name, row in rows.items() if len(row.values) == len(self._radii)}

    def _next_part(self) -> Callable[[], None] | None:
        index = self.controls["point"].value
        missing = [name for name in self._bounds if name not in self._known(index)]
        if not missing:
            return None
        return partial(self._compute, index, missing[0], len(self._radii) if missing[0] in ONE_BY_ONE else PART)

    def _show(self, at: State, coarse: bool) -> Shown:
        index, step = at["point"], self._step(at["eps"])
        for name in AT_ONCE:
            if name not in self._known(index):
                self._compute(index, name, len(self._radii))
        view = LatticeView(int(self._y[index]), self._radii, tuple(self._bounds), self._known(index))
        return view, partial(lattice, view, step, self._costs), view.summary(step)

    def _compute(self, index: int, name: str, count: int) -> None:
        """The values at the next radii; a row is shown when it has them all."""
        x, y, rows = self._x[index], int(self._y[index]), self._rows[index]
        if name not in rows:
            rows[name] = LatticeRow(self._net, x, y, self._bounds[name], one_by_one=name in ONE_BY_ONE)
        done = len(rows[name].values)
        rows[name].extend(self._radii[done : done + count].to(x.device))
        if name in self._known(index):
            self._costs.setdefault(name, rows[name].cost)
