"""Which neurons are fixed near a point."""

import math
from collections.abc import Iterator

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from lliptools.nets.checks import check_labels
from lliptools.nets.clips import Clipped
from lliptools.teach.explorers.neurons.figure import neurons
from lliptools.teach.explorers.neurons.units_figure import AT_ONCE
from lliptools.teach.explorers.neurons.view import NeuronView, neuron_view
from lliptools.teach.shared.controls import check_start, log_slider, nice, slider
from lliptools.teach.shared.efforts import Effort, Everywhere, effort, everywhere, scale_thresholds, typical_radius
from lliptools.teach.shared.explorer import Explorer
from lliptools.teach.shared.plane import Plane, plane_view
from lliptools.teach.shared.units import stations

__all__ = ["NeuronExplorer"]

KEPT = 64  # views that are kept to come back to
Key = tuple[int, float]  # the point, and what multiplies its thresholds


class NeuronExplorer(Explorer):
    """Which neurons of a network are fixed near a point, what that strikes from its matrices, and what it buys.

    net: any network that lliptools.local_bound takes. x: (points, *sample), y: (points,) the points to pick from and
    their labels. index, eps, theta_scale: where the sliders start. eps_max: end of the radius slider, in units of x.
    theta_scale multiplies every clip threshold, from 1/4 to 4; a network that clips nothing has no such slider.
    first: of a network of more than four linear maps, the first of those that are shown.
    source: how net, x and y are called where the explorer is made, for the call that opens the same view again.
    Another point or threshold is drawn at the present radius first, and over all radii when the controls are at rest.
    Raises InvalidInput for points, labels and starting values that do not fit.
    """

    framed = "eps"

    def __init__(
        self,
        net: nn.Sequential,
        x: Tensor,
        y: Tensor,
        *,
        index: int = 0,
        eps: float | None = None,
        theta_scale: float = 1.0,
        eps_max: float | None = None,
        first: int = 1,
        source: str = "net, x, y",
    ) -> None:
        self._net, self._views = net, dict[Key, NeuronView]()
        self._everywhere, self._planes = dict[float, Everywhere](), dict[float, Plane]()
        self._everywhere[1.0] = everywhere(net, x)  # checks network and points before anything is drawn
        whole = self._everywhere[1.0].plain
        self._x, self._y = x.detach(), check_labels(y, len(x), whole.blocks[-1].slope.shape[1], x.device)
        check_start("index", index, 0, len(x) - 1)
        check_start("theta_scale", theta_scale, 1 / 4, 4)
        if eps_max is None:
            eps_max = nice(2.5 * typical_radius(net, self._x, self._y, whole)) or 1.0
        check_start("eps_max", eps_max, 1e-12, 1e12)
        check_start("eps", 0.0 if eps is None else eps, 0, eps_max)
        self._effort = effort(whole)
        self._eps_max, step = eps_max, eps_max / self._effort.steps
        self._radii = torch.arange(self._effort.steps + 1, dtype=torch.float64, device=x.device) * step
        start = step * round((eps_max / 4 if eps is None else eps) / step)  # on the slider's own grid
        pages = max(1, sum(1 for _ in stations(whole.blocks)) - AT_ONCE + 1)
        check_start("first", first, 1, pages)
        controls = {
            "eps": slider(
                "ε in input units",
                "radius of the ball around the point, in the units of the network's input",
                *(0.0, eps_max, step, start),
                wide=True,
            ),
            "point": slider("point nr", "which of the given points is looked at", 0, len(x) - 1, 1, index),
            "theta_scale": log_slider(
                "θ times", "multiplies every clip threshold of the network", -2, 2, 0.25, theta_scale
            ),
            "first": slider("layers from", "the first of the four layers that are shown", 1, pages, 1, first),
        }
        clipped = any(isinstance(layer, Clipped) for layer in net.modules())
        rows = [["eps"], ["point", "theta_scale"] if clipped else ["point"]]
        super().__init__(controls, [*rows, ["first"]] if pages > 1 else rows, source)

    @property
    def view(self) -> NeuronView:
        """The results for the picked point, over all radii of the slider."""
        return self._view(self._key)

    @property
    def grid_index(self) -> int:
        """Where the radius slider stands: an index into view.radii."""
        return min(round(self.controls["eps"].value / self._eps_max * self._effort.steps), self._effort.steps)

    @property
    def radius(self) -> float:
        """The radius that is shown."""
        return self._radii[self.grid_index].item()

    @property
    def slow(self) -> bool:  # type: ignore[override]
        """Whether what is to be shown has not been computed yet."""
        return self._key not in self._views

    @property
    def _key(self) -> Key:
        return self.controls["point"].value, self.controls["theta_scale"].value

    def _figure(self, *, coarse: bool) -> go.Figure:
        index = self.grid_index
        self._shown = self._first_look(self._key, index) if coarse else (self._view(self._key), index)
        return neurons(*self._shown, self.controls["first"].value - 1)

    def _summary(self) -> tuple[str, ...]:
        # Where the browser shows what is known, nothing may have been drawn here yet.
        view, index = self._shown if self.slow else (self.view, self.grid_index)
        return view.summary(index)

    def _frames(self) -> Iterator[tuple[go.Figure, tuple[str, ...]]]:
        view, first = self.view, self.controls["first"].value
        for index in range(len(view.radii)):
            yield neurons(view, index, first - 1), view.summary(index)

    def _keywords(self) -> dict[str, object]:
        shown: dict[str, object] = {
            "index": self.controls["point"].value,
            "eps": self.radius,
            "theta_scale": self.controls["theta_scale"].value,
            "eps_max": self._eps_max,
        }
        if self.controls["first"].value > 1:
            shown["first"] = self.controls["first"].value
        return shown

    def _view(self, key: Key) -> NeuronView:
        if key not in self._views:
            while len(self._views) >= KEPT:
                del self._views[next(iter(self._views))]
            self._views[key] = self._compute(key, self._radii, self._effort)
        return self._views[key]

    def _first_look(self, key: Key, index: int) -> tuple[NeuronView, int]:
        """The view at one radius and at the ends of the slider only, its large norms to a tenth."""
        radii = torch.unique(self._radii[[0, index, self._effort.steps]])
        quick = Effort(tolerance=max(self._effort.tolerance, 0.1), precision=math.inf)
        return self._compute(key, radii, quick), int((radii == self._radii[index]).nonzero()[0, 0])

    def _compute(self, key: Key, radii: Tensor, allowed: Effort) -> NeuronView:
        index, theta_scale = key
        net = scale_thresholds(self._net, theta_scale)
        if theta_scale not in self._everywhere:
            self._everywhere[theta_scale] = everywhere(net, self._x)
        if theta_scale not in self._planes and self._x.shape[1:] == (2,):
            self._planes[theta_scale] = plane_view(net, self._x.double())
        return neuron_view(
            net,
            self._x[index].double(),
            int(self._y[index]),
            radii,
            self._planes.get(theta_scale),
            effort=allowed,
            everywhere=self._everywhere[theta_scale],
        )
