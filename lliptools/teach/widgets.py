"""Widgets: state, a figure function and an update. They neither compute nor draw by themselves."""

import html
import math
from functools import lru_cache
from typing import Any

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from lliptools.bounds import global_bound
from lliptools.bounds.checks import check_labels
from lliptools.certificates import certified_radius
from lliptools.errors import InvalidInput
from lliptools.nets import ClippedReLU
from lliptools.teach import figures
from lliptools.teach.style import CONFIG
from lliptools.teach.views import NeuronView, Plane, neuron_view, plane_view, scale_thresholds

__all__ = ["NeuronExplorer", "figure_widget", "redraw"]

STEPS = 100


class NeuronExplorer(ipywidgets.VBox):
    """Which neurons of a network are fixed near a point, what that strikes from its matrices, and what it buys.

    net: any network that lliptools.local_bound takes. x: (points, features), y: (points,) the points to pick from and
    their labels. index, eps, theta_scale: where the sliders start. eps_max: end of the radius slider, in units of x.
    theta_scale multiplies every clip threshold, from 1/4 to 4; a network that clips nothing has no such slider.
    source: how net, x and y are called where the explorer is made, for the call that opens the same view again.
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
        theta_scale: float = 1.0,
        eps_max: float | None = None,
        source: str = "net, x, y",
    ) -> None:
        everywhere = global_bound(net, x[:1])  # checks network and points before anything is drawn
        y = check_labels(y, len(x), everywhere.blocks[-1].slope.shape[1], x.device)
        _check("index", index, 0, len(x) - 1)
        _check("theta_scale", theta_scale, 1 / 4, 4)
        if eps_max is None:
            eps_max = _nice(2.5 * float(certified_radius(net, x, y, bound=global_bound).median())) or 1.0
        _check("eps_max", eps_max, 1e-12, 1e12)
        _check("eps", 0.0 if eps is None else eps, 0, eps_max)
        self._net, self._x, self._y, self._source = net, x.detach().flatten(1).double(), y, source
        self._eps_max, step = eps_max, eps_max / STEPS
        self._radii = torch.arange(STEPS + 1, dtype=torch.float64, device=x.device) * step
        clipped = any(isinstance(layer, ClippedReLU) for layer in net)
        self._start = {"index": index, "eps": eps_max / 4 if eps is None else eps, "theta_scale": theta_scale}

        self.point = ipywidgets.IntSlider(
            description="point nr", min=0, max=len(x) - 1, tooltip="which of the given points is looked at", **_SLIDER
        )
        self.eps = ipywidgets.FloatSlider(
            description="ε in input units",
            min=0.0,
            max=self._eps_max,
            step=step,
            readout_format=f".{max(0, -math.floor(math.log10(step) + 1e-9))}f",
            tooltip="radius of the ball around the point, in the units of the network's input",
            **_WIDE_SLIDER,
        )
        self.theta_scale = ipywidgets.FloatLogSlider(
            description="θ times",
            base=2.0,
            min=-2,
            max=2,
            step=0.25,
            readout_format=".3g",
            tooltip="multiplies every clip threshold of the network",
            **_SLIDER,
        )
        self.reset = ipywidgets.Button(
            description="reset", tooltip="back to where the sliders started", layout={"width": "80px"}
        )
        self.summary = ipywidgets.HTML()
        self.call = ipywidgets.HTML()

        self._view = lru_cache(maxsize=64)(self._compute)
        self._plane = lru_cache(maxsize=16)(self._compute_plane)
        self._to_start()
        self.figure = figure_widget(figures.neurons(self.view, self.grid_index))
        self._write()
        for control in (self.point, self.eps, self.theta_scale):
            control.observe(self._update, names="value")
        self.reset.on_click(lambda _: self._to_start())
        second = [self.point, self.theta_scale] if clipped else [self.point]
        # A window narrower than the figure scrolls it.
        framed = ipywidgets.Box([self.figure], layout={"overflow": "auto hidden"})
        rows = [ipywidgets.HBox([self.eps, self.reset]), ipywidgets.HBox(second)]
        super().__init__([*rows, self.summary, framed, self.call])

    @property
    def view(self) -> NeuronView:
        """What is shown now: the results for the picked point, over all radii of the slider."""
        return self._view(self.point.value, self.theta_scale.value)

    @property
    def grid_index(self) -> int:
        """Where the radius slider stands: an index into view.radii."""
        return min(round(self.eps.value / self._eps_max * STEPS), STEPS)

    def reproduce(self) -> str:
        """The one-line call that opens the present view."""
        eps = f"{self.radius:.6g}, theta_scale={self.theta_scale.value:.6g}, eps_max={self._eps_max:.6g}"
        source = "" if self._source == "net, x, y" else f', source="{self._source}"'
        return f"ll.teach.widgets.NeuronExplorer({self._source}, index={self.point.value}, eps={eps}{source})"

    @property
    def radius(self) -> float:
        """The radius that is shown."""
        return self._radii[self.grid_index].item()

    def _to_start(self) -> None:
        self.point.value, self.eps.value = self._start["index"], self._start["eps"]
        self.eps.value = self.radius  # on the slider's own grid
        self.theta_scale.value = self._start["theta_scale"]

    def _compute(self, index: int, theta_scale: float) -> NeuronView:
        net = scale_thresholds(self._net, theta_scale)
        plane = self._plane(theta_scale) if self._x.shape[1] == 2 else None
        return neuron_view(net, self._x[index], int(self._y[index]), self._radii, plane)

    def _compute_plane(self, theta_scale: float) -> Plane:
        return plane_view(scale_thresholds(self._net, theta_scale), self._x)

    def _update(self, _: Any) -> None:
        redraw(self.figure, figures.neurons(self.view, self.grid_index))
        self._write()

    def _write(self) -> None:
        fixed, proved = (html.escape(line) for line in self.view.summary(self.grid_index))
        self.summary.value = f"<div role='status' style='line-height: 1.5'>{fixed}<br>{proved}</div>"
        self.call.value = f"this view: <code>{html.escape(self.reproduce())}</code>"


_SLIDER: dict[str, Any] = {"style": {"description_width": "110px"}, "layout": {"width": "400px"}}
_WIDE_SLIDER: dict[str, Any] = {"style": {"description_width": "110px"}, "layout": {"width": "720px"}}


def figure_widget(figure: go.Figure) -> go.FigureWidget:
    """The figure as a widget, without the button that uploads it."""
    widget = go.FigureWidget(figure)
    widget._config = CONFIG
    return widget


def redraw(widget: go.FigureWidget, figure: go.Figure) -> None:
    """Bring the widget to the figure in one message, sending only what has changed. Both have the same traces."""
    with widget.batch_update():
        for shown, wanted in zip(widget.data, figure.data, strict=True):
            shown.update(_changed(shown, wanted))
        widget.layout.update(_changed(widget.layout, figure.layout))


def _changed(shown: Any, wanted: Any) -> dict[str, Any]:
    before, after = shown.to_plotly_json(), wanted.to_plotly_json()
    return {key: value for key, value in after.items() if not _same(before.get(key), value)}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        equal_nan = one.dtype.kind == "f" and other.dtype.kind == "f"
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=equal_nan)
    return type(one) is type(other) and bool(one == other)


def _nice(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten; 0 for 0 or no number."""
    if not (math.isfinite(value) and value > 0):
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value * (1 - 1e-9))


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise InvalidInput(
            expected=f"{name} from {lowest:g} to {highest:g}",
            got=f"{value}",
            cause="a start outside of the slider",
            next_step=f"leave {name} out for a default",
        )
