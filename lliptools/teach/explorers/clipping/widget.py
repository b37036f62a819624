"""What clipping makes constant."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from lliptools.teach.explorers.clipping.figure import clipping, spans
from lliptools.teach.explorers.clipping.view import LAYERS, ClipView, Member, theta_curve
from lliptools.teach.shared import efforts
from lliptools.teach.shared.controls import choice, layer_slider, point_slider
from lliptools.teach.shared.efforts import Effort
from lliptools.teach.shared.explorer import Look, Shown, State
from lliptools.teach.shared.radius import RadiusExplorer
from lliptools.teach.shared.units import hidden

STEPS = 100  # of the radius slider
POINTS = 32  # over which means are taken
OCTAVES = 4  # the thresholds go up and down by so many factors of two
FACTORS = [*(2.0 ** (half / 2) for half in range(-2 * OCTAVES, 2 * OCTAVES + 1)), math.inf]


class ClipExplorer(RadiusExplorer):
    """Which neurons clipping makes constant, and what that does to the local and to the global bound.

    * net: any network that lliptools.local_bound takes, or several for the same points by name, such as those of one
      family: {"standard": …, "clipped": …, "sparse": …}
    * x: (points, *sample), y: (points,) the points to pick from and their labels; means are taken over up to 32 of them
    * network, index, eps, theta_scale: where the controls start, the last a power of 2 from 1/16 to 16, its exponent a
      multiple of ½, or inf for no clipping at all
    * eps_max: end of the radius slider, in units of x
    * first: of a network with more than three hidden layers, the first that is shown
    * source: how net, x and y are called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    The intervals and the bounds of the point follow at once; what is said of the other points, the curve over all
    thresholds and the family, when the controls rest. The axes stay while a hand moves, and for all thresholds.
    Raises InvalidInput for networks, points, labels and starting values that do not fit.
    """

    slow = True

    def __init__(
        self,
        net: nn.Sequential | Mapping[str, nn.Sequential],
        x: Tensor,
        y: Tensor,
        *,
        network: str | None = None,
        index: int = 0,
        eps: float | None = None,
        theta_scale: float = 1.0,
        eps_max: float | None = None,
        first: int = 1,
        source: str = "net, x, y",
        layout: Look = None,
    ) -> None:
        self._take(net, x, y)
        names, found = list(self._nets), [whole.plain for whole in self._whole.values()]
        self._effort = max(map(efforts.effort, found), key=lambda allowed: allowed.tolerance)
        count = min(len(x), POINTS if self._effort == Effort() else POINTS // 8)
        self._some = torch.linspace(0, len(x) - 1, count, device=x.device).round().long()
        self._scales = FACTORS if self._effort == Effort() else [*FACTORS[:-1:4], math.inf]
        scales = [*((f"{factor:.3g}", factor) for factor in FACTORS[:-1]), ("∞", math.inf)]
        scaled = "multiplies every clip threshold of the network; ∞ clips nothing"
        times = choice("θ times", scaled, scales, _factor(theta_scale), "theta_scale as inf or a root of 2:")
        named = choice("network", "which network is looked at", names, names[0] if network is None else network)
        deepest = max(len(hidden(bound.blocks)) for bound in found)
        layer = layer_slider(first, deepest, LAYERS, "three hidden layers")
        self._view = lru_cache(maxsize=64)(self._compute)
        self._axes: tuple[str, list[tuple[float, float]]] = "", []
        self._curves: dict[tuple[str, int, float], tuple[Sequence[float], Tensor]] = {}
        self._members: dict[tuple[str, float, float], Member] = {}
        ball, point = self._ball(eps, eps_max, steps=STEPS, start=1 / 5), point_slider(index, len(x))
        rows = [{"theta_scale": times, "eps": ball, "network": named, "point": point, "first": layer}]
        super().__init__(rows, source, layout=layout)

    def _where(self, at: State) -> tuple[str, int, float, float]:
        return at["network"], at["point"], self._radius(at), at["theta_scale"]

    def _next_part(self) -> Callable[[], None] | None:
        network, point, eps, theta_scale = self._where(self._state)
        if (network, point, eps) not in self._curves:
            return partial(self._find_curve, network, point, eps)
        missing = [name for name in self._nets if (name, eps, theta_scale) not in self._members]
        return partial(self._find_member, missing[0], point, eps, theta_scale) if missing else None

    def _show(self, at: State, coarse: bool) -> Shown:
        network, point, eps, theta_scale = where = self._where(at)
        found = [self._members.get((name, eps, theta_scale)) for name in self._nets]
        members = [] if None in found else [member for member in found if member]
        view, curve = self._view(*where, alone=coarse), self._curves.get((network, point, eps))
        if not (coarse and self._axes[0] == network):
            self._axes = network, spans(self._view(network, point, eps, math.inf, alone=True))
        draw = partial(clipping, view, curve, members, network, at["first"] - 1, self._axes[1])
        return view, draw, view.summary()

    def _compute(self, network: str, point: int, eps: float, theta_scale: float, alone: bool) -> ClipView:
        """The view of a point, alone or with those over which means are taken."""
        here = torch.cat([self._some.new_tensor([point]), self._some[: 0 if alone else None]])
        net, x, y = self._nets[network], self._x[here].double(), self._y[here]
        return ClipView(net, x, y, eps, theta_scale, self._effort, self._whole[network].plain)

    def _find_curve(self, network: str, point: int, eps: float) -> None:
        x = self._x[point : point + 1].double()
        found = theta_curve(self._nets[network], x, eps, self._scales, self._effort)
        self._curves[network, point, eps] = self._scales, found

    def _find_member(self, name: str, point: int, eps: float, theta_scale: float) -> None:
        view = self._view(name, point, eps, theta_scale, alone=False)
        self._members[name, eps, theta_scale] = Member(name, view)


def _factor(theta_scale: float) -> float:
    """The stop of the slider that a start means; what is near to none as it is."""
    near = [factor for factor in FACTORS[:-1] if abs(factor - theta_scale) <= 1e-4 * factor]
    return near[0] if near else theta_scale
