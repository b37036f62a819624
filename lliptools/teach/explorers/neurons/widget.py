"""Which neurons are fixed near a point."""

import math
from functools import cache, partial

import torch
from torch import Tensor, nn

from lliptools.teach.explorers.neurons.figure import near, neurons
from lliptools.teach.explorers.neurons.view import NeuronView
from lliptools.teach.shared import efforts
from lliptools.teach.shared.controls import layer_slider, log_slider, point_slider
from lliptools.teach.shared.efforts import Effort, Everywhere
from lliptools.teach.shared.explorer import Look, Shown, State
from lliptools.teach.shared.plane import Plane
from lliptools.teach.shared.radius import RadiusExplorer
from lliptools.teach.shared.units import AT_ONCE, layers

KEPT = 64  # views that are kept to come back to
Key = tuple[int, float]  # the point, and what multiplies its thresholds


class NeuronExplorer(RadiusExplorer):
    """Which neurons of a network are fixed near a point, what that masks in its matrices, and what it buys.

    * net: any network that lliptools.local_bound takes
    * x: (points, *sample), y: (points,) the points to pick from and their labels
    * index, eps, theta_scale: where the sliders start; theta_scale multiplies every clip threshold, from 1/4 to 4, and
      a network that clips nothing has no such slider
    * eps_max: end of the radius slider, in units of x
    * first: of a network of more than four linear maps, the first of those that are shown
    * source: how net, x and y are called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    Another point or threshold is drawn at the present radius first, and over all radii when the controls are at rest.
    Raises InvalidInput for points, labels and starting values that do not fit.
    """

    framed = "eps"
    scaled = True  # whether thresholds can be moved

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
        layout: Look = None,
    ) -> None:
        self._take(net, x, y)
        self._views, self._scaled = dict[Key, NeuronView](), cache(self._scale)
        whole, turn = self._scaled(1.0)[1].plain, 2 if self.scaled and efforts.is_scaled(net) else 0
        self._effort = efforts.effort(whole)
        scaled = "multiplies every clip threshold of the network"
        theta = log_slider("θ times", scaled, -turn, turn, 0.25, theta_scale, argument="theta_scale")
        layer = layer_slider(first, len(list(layers(whole.blocks))), AT_ONCE, "four layers")
        ball, point = self._ball(eps, eps_max, steps=self._effort.steps, times=2.5), point_slider(index, len(x))
        super().__init__(
            [{"eps": ball}, {"point": point, "theta_scale": theta}, {"first": layer}], source, layout=layout
        )

    @property
    def slow(self) -> bool:  # type: ignore[override]
        """Whether what is to be shown has not been computed yet."""
        return self._key(self._state) not in self._views

    def _key(self, at: State) -> Key:
        return at["point"], at["theta_scale"]

    def _show(self, at: State, coarse: bool) -> Shown:
        view, step = self._look(at, coarse)
        return view, partial(neurons, view, step, at["first"] - 1), view.summary(step)

    def _look(self, at: State, coarse: bool) -> tuple[NeuronView, int]:
        """The view and the radius in it, by number."""
        key, step = self._key(at), self._step(at["eps"])
        return self._first_look(key, step) if coarse else (self._view(key), step)

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
        net, everywhere, plane = self._scaled(theta_scale)
        x, y = self._x[index].double(), int(self._y[index])
        return NeuronView(net, x, y, radii.to(x.device), plane, effort=allowed, everywhere=everywhere)

    def _scale(self, theta_scale: float) -> tuple[nn.Sequential, Everywhere, Plane | None]:
        """The network with its thresholds scaled, its global bound, and the plane of a network with two inputs."""
        net = efforts.scale_thresholds(self._net, theta_scale)
        everywhere = Everywhere(net, self._x) if theta_scale != 1 else next(iter(self._whole.values()))
        return net, everywhere, Plane(net, self._x.double()) if self._x.shape[1:] == (2,) else None


class UnitExplorer(NeuronExplorer):
    """The units of a network near a point, and the point moved: NeuronExplorer before there are matrices and bounds."""

    scaled = False

    def _show(self, at: State, coarse: bool) -> Shown:
        view, step = self._look(at, coarse)
        return view, partial(near, view, step), view.units_summary(step)
