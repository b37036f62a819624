"""Which neurons are fixed near a point."""

from collections.abc import Iterator
from functools import lru_cache

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from lliptools.bounds import global_bound
from lliptools.bounds.checks import check_labels
from lliptools.certificates import certified_radius
from lliptools.nets import ClippedReLU
from lliptools.teach import figures
from lliptools.teach.views import NeuronView, Plane, neuron_view, plane_view, scale_thresholds
from lliptools.teach.widgets.base import Explorer, check_start, log_slider, nice, slider

__all__ = ["NeuronExplorer"]

STEPS = 100


class NeuronExplorer(Explorer):
    """Which neurons of a network are fixed near a point, what that strikes from its matrices, and what it buys.

    net: any network that lliptools.local_bound takes. x: (points, features), y: (points,) the points to pick from and
    their labels. index, eps, theta_scale: where the sliders start. eps_max: end of the radius slider, in units of x.
    theta_scale multiplies every clip threshold, from 1/4 to 4; a network that clips nothing has no such slider.
    source: how net, x and y are called where the explorer is made, for the call that opens the same view again.
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
        source: str = "net, x, y",
    ) -> None:
        everywhere = global_bound(net, x[:1])  # checks network and points before anything is drawn
        y = check_labels(y, len(x), everywhere.blocks[-1].slope.shape[1], x.device)
        check_start("index", index, 0, len(x) - 1)
        check_start("theta_scale", theta_scale, 1 / 4, 4)
        if eps_max is None:
            eps_max = nice(2.5 * float(certified_radius(net, x, y, bound=global_bound).median())) or 1.0
        check_start("eps_max", eps_max, 1e-12, 1e12)
        check_start("eps", 0.0 if eps is None else eps, 0, eps_max)
        self._net, self._x, self._y = net, x.detach().flatten(1).double(), y
        self._eps_max, step = eps_max, eps_max / STEPS
        self._radii = torch.arange(STEPS + 1, dtype=torch.float64, device=x.device) * step
        self._view = lru_cache(maxsize=64)(self._compute)
        self._plane = lru_cache(maxsize=16)(self._compute_plane)
        start = step * round((eps_max / 4 if eps is None else eps) / step)  # on the slider's own grid
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
        }
        clipped = any(isinstance(layer, ClippedReLU) for layer in net)
        super().__init__(controls, [["eps"], ["point", "theta_scale"] if clipped else ["point"]], source)

    @property
    def view(self) -> NeuronView:
        """What is shown now: the results for the picked point, over all radii of the slider."""
        return self._view(self.controls["point"].value, self.controls["theta_scale"].value)

    @property
    def grid_index(self) -> int:
        """Where the radius slider stands: an index into view.radii."""
        return min(round(self.controls["eps"].value / self._eps_max * STEPS), STEPS)

    @property
    def radius(self) -> float:
        """The radius that is shown."""
        return self._radii[self.grid_index].item()

    def _figure(self, *, coarse: bool) -> go.Figure:
        return figures.neurons(self.view, self.grid_index)

    def _summary(self) -> tuple[str, ...]:
        return self.view.summary(self.grid_index)

    def _frames(self) -> Iterator[tuple[go.Figure, tuple[str, ...]]]:
        view = self.view
        for index in range(len(view.radii)):
            yield figures.neurons(view, index), view.summary(index)

    def _keywords(self) -> dict[str, object]:
        shown: dict[str, object] = {
            "index": self.controls["point"].value,
            "eps": self.radius,
            "theta_scale": self.controls["theta_scale"].value,
            "eps_max": self._eps_max,
        }
        return shown if self._source == "net, x, y" else {**shown, "source": self._source}

    def _compute(self, index: int, theta_scale: float) -> NeuronView:
        net = scale_thresholds(self._net, theta_scale)
        plane = self._plane(theta_scale) if self._x.shape[1] == 2 else None
        return neuron_view(net, self._x[index], int(self._y[index]), self._radii, plane)

    def _compute_plane(self, theta_scale: float) -> Plane:
        return plane_view(scale_thresholds(self._net, theta_scale), self._x)
