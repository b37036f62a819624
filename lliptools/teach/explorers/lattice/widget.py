"""The lattice of bounds, from a lower bound by way of the truth to the product of norms."""

from collections.abc import Callable, Mapping
from functools import partial

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from lliptools.bounds import BOUNDS, Bound, global_bound
from lliptools.certificates.radius import certified_radius
from lliptools.errors import InvalidInput
from lliptools.nets.checks import check_labels
from lliptools.teach.explorers.lattice.figure import lattice
from lliptools.teach.explorers.lattice.view import RUNGS, LatticeRow, LatticeView, lattice_row
from lliptools.teach.shared.controls import check_start, nice, slider
from lliptools.teach.shared.explorer import Explorer

__all__ = ["LatticeExplorer"]

STEPS = 20
AT_ONCE = ("global", "local")  # quick enough to be there when the point is
ONE_BY_ONE = ("exact",)
PART = 7  # radii of the others that are computed before the kernel answers again


class LatticeExplorer(Explorer):
    """All bounds of lliptools.BOUNDS near a point: their order, their values, what they certify, what they cost.

    net: any network that lliptools.local_bound takes. x: (points, *sample), y: (points,) the points to pick from and
    their labels. index, eps: where the sliders start. eps_max: end of the radius slider, in units of x. bounds: more
    bounds by name, functions (net, x, eps) -> Bound, to be placed among the others; one that calls itself an upper
    bound and lies below a slope that was found is refuted. source: how net, x and y are called where the explorer is
    made. Raises InvalidInput for points, labels and starting values that do not fit.
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
        bounds: Mapping[str, Callable[..., Bound]] | None = None,
        source: str = "net, x, y",
    ) -> None:
        everywhere = global_bound(net, x[:1])  # checks network and points before anything is drawn
        y = check_labels(y, len(x), everywhere.blocks[-1].slope.shape[1], x.device)
        check_start("index", index, 0, len(x) - 1)
        if eps_max is None:
            eps_max = nice(2.5 * float(certified_radius(net, x[:64], y[:64], bound=global_bound).median())) or 1.0
        check_start("eps_max", eps_max, 1e-12, 1e12)
        check_start("eps", 0.0 if eps is None else eps, 0, eps_max)
        own = dict(bounds or {})
        if taken := sorted(set(own) & set(BOUNDS)):
            raise InvalidInput(
                expected="bounds under names of their own",
                got=f"{taken}",
                cause="a name of lliptools.BOUNDS",
                next_step="call it mine",
            )
        self._net, self._x, self._y, self._own = net, x.detach(), y, own
        self._bounds = {**RUNGS, **own}
        self._eps_max, step = eps_max, eps_max / STEPS
        self._radii = torch.arange(STEPS + 1, dtype=torch.float64, device=x.device) * step
        self._rows: dict[int, dict[str, LatticeRow]] = {}
        self._begun: dict[tuple[int, str], LatticeRow] = {}
        self._costs: dict[str, float] = {}
        start = step * round((eps_max / 4 if eps is None else eps) / step)  # on the slider's own grid
        controls = {
            "eps": slider(
                "ε in input units",
                "radius of the ball around the point, in the units of the network's input",
                *(0.0, eps_max, step, start),
                wide=True,
            ),
            "point": slider("point nr", "which of the given points is looked at", 0, max(len(x) - 1, 1), 1, index),
        }
        super().__init__(controls, [["eps"], ["point"]] if len(x) > 1 else [["eps"]], source)

    @property
    def view(self) -> LatticeView:
        """What is known of the picked point by now, over all radii of the slider."""
        index = self.controls["point"].value
        rows = self._rows.setdefault(index, {})
        for name in AT_ONCE:
            if name not in rows:
                self._compute(index, name, len(self._radii))
        return LatticeView(int(self._y[index]), self._radii.cpu(), tuple(self._bounds), rows)

    @property
    def grid_index(self) -> int:
        """Where the radius slider stands: an index into view.radii."""
        return min(round(self.controls["eps"].value / self._eps_max * STEPS), STEPS)

    def _next_part(self) -> Callable[[], None] | None:
        index = self.controls["point"].value
        missing = [name for name in self._bounds if name not in self._rows.get(index, {})]
        if not missing:
            return None
        return partial(self._compute, index, missing[0], len(self._radii) if missing[0] in ONE_BY_ONE else PART)

    def _figure(self, *, coarse: bool) -> go.Figure:
        view = self.view
        finite = torch.cat([row.values[row.values.isfinite()] for row in view.rows.values()])
        most = float(finite.max()) if len(finite) else 0.0
        return lattice(view, self.grid_index, self._costs, most or 1.0)

    def _summary(self) -> tuple[str, ...]:
        return self.view.summary(self.grid_index)

    def _keywords(self) -> dict[str, object]:
        return {
            "index": self.controls["point"].value,
            "eps": self._radii[self.grid_index].item(),
            "eps_max": self._eps_max,
        }

    def _compute(self, index: int, name: str, count: int) -> None:
        """The values at the next radii; a row is shown when it has them all."""
        begun = self._begun.pop((index, name), None)
        done = 0 if begun is None else len(begun.values)
        row = lattice_row(
            self._net,
            self._x[index],
            int(self._y[index]),
            self._radii[done : done + count],
            self._bounds[name],
            one_by_one=name in ONE_BY_ONE,
        )
        row = row if begun is None else begun.then(row)
        if len(row.values) < len(self._radii):
            self._begun[index, name] = row
        else:
            self._rows[index][name] = row
            self._costs.setdefault(name, row.seconds)
