"""What clipping makes constant."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput
from lliptools.teach.explorers.clipping.figure import clipping
from lliptools.teach.explorers.clipping.view import LAYERS, ClipView, Member, ThetaCurve, clip_view, member, theta_curve
from lliptools.teach.shared import efforts
from lliptools.teach.shared.controls import choice, layer_slider, point_slider
from lliptools.teach.shared.efforts import Effort
from lliptools.teach.shared.explorer import Figure
from lliptools.teach.shared.radius import RadiusExplorer
from lliptools.teach.shared.units import hidden

__all__ = ["ClipExplorer"]

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

    The intervals follow at once; the curve over all thresholds and the family, part by part, when the controls rest.
    Raises InvalidInput for networks, points, labels and starting values that do not fit.
    """

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
    ) -> None:
        self._nets = dict(net) if isinstance(net, Mapping) else {"the network": net}
        names = list(self._nets)
        if not names or not all(isinstance(one, str) for one in names) or network not in (None, *names):
            raise InvalidInput(
                expected="networks by name, and network as one of the names",
                got=f"the names {names}" + (f" and network={network!r}" if network is not None else ""),
                cause="an empty dictionary, or a name that is spelled otherwise",
                next_step="pass one network, or a dictionary such as {'standard': net_a, 'clipped': net_b}",
            )
        found = [efforts.everywhere(one, x).plain for one in self._nets.values()]  # checks networks and points
        for one in found:
            y = efforts.labels(one, x, y)
        self._x, self._y = x.detach(), y
        self._effort = max((efforts.effort(one) for one in found), key=lambda allowed: allowed.tolerance)
        count = min(len(x), POINTS if self._effort == Effort() else POINTS // 8)
        self._some = torch.linspace(0, len(x) - 1, count, device=x.device).round().long()
        self._scales = FACTORS if self._effort == Effort() else [*FACTORS[:-1:4], math.inf]
        deepest = max(len(hidden(bound.blocks)) for bound in found)
        scales = [*((f"{factor:.3g}", factor) for factor in FACTORS[:-1]), ("∞", math.inf)]
        scaled = "multiplies every clip threshold of the network; ∞ clips nothing"
        point = point_slider(index, len(x))

        def typical() -> float:
            pairs = zip(self._nets.values(), found, strict=True)
            return max(efforts.typical_radius(one, self._x, y, bound) for one, bound in pairs)

        controls = {
            "network": choice("network", "which network is looked at", names, network or names[0]),
            "theta_scale": choice("θ times", scaled, scales, _factor(theta_scale)),
            "eps": self._ball(eps, eps_max, typical, steps=STEPS, start=1 / 5),
            "point": point,
            "first": layer_slider(first, deepest, LAYERS, "three hidden layers"),
        }
        self._view = lru_cache(maxsize=64)(self._compute)
        self._curves: dict[tuple[str, int, float], ThetaCurve] = {}
        self._members: dict[tuple[str, float, float], Member] = {}
        super().__init__(controls, [["eps"], ["theta_scale", "network"], ["point", "first"]], source)

    @property
    def view(self) -> ClipView:
        """What is shown now."""
        return self._view(*self._state)

    @property
    def _state(self) -> tuple[str, int, float, float]:
        controls = self.controls
        return controls["network"].value, controls["point"].value, self.radius, controls["theta_scale"].value

    def _next_part(self) -> Callable[[], None] | None:
        network, point, eps, theta_scale = self._state
        if (network, point, eps) not in self._curves:
            return partial(self._find_curve, network, point, eps)
        missing = [name for name in self._nets if (name, eps, theta_scale) not in self._members]
        return partial(self._find_member, missing[0], eps, theta_scale) if missing else None

    def _figure(self, *, coarse: bool) -> Figure:
        network, point, eps, theta_scale = self._state
        found = [self._members.get((name, eps, theta_scale)) for name in self._nets]
        members = [] if None in found else [member for member in found if member]
        curve = self._curves.get((network, point, eps))
        return clipping(self.view, curve, members, network, self.controls["first"].value - 1)

    def _summary(self) -> tuple[str, ...]:
        return self.view.summary()

    def _compute(self, network: str, point: int, eps: float, theta_scale: float) -> ClipView:
        here = torch.cat([self._some.new_tensor([point]), self._some])
        x = self._x[here].double()
        return clip_view(self._nets[network], x, self._y[here], eps, theta_scale, self._effort)

    def _find_curve(self, network: str, point: int, eps: float) -> None:
        x = self._x[point : point + 1].double()
        self._curves[network, point, eps] = theta_curve(self._nets[network], x, eps, self._scales, self._effort)

    def _find_member(self, name: str, eps: float, theta_scale: float) -> None:
        here = torch.cat([self._some[:1], self._some])
        given = name, self._nets[name], self._x[here].double(), self._y[here]
        self._members[name, eps, theta_scale] = member(*given, eps, theta_scale, self._effort)


def _factor(theta_scale: float) -> float:
    """The stop of the slider that a start means."""
    nearest = min(FACTORS, key=lambda factor: 0.0 if factor == theta_scale else abs(factor - theta_scale))
    if not (nearest == theta_scale or abs(nearest - theta_scale) <= 1e-4 * theta_scale):
        wanted = "theta_scale as 2 to a multiple of ½ from 1/16 to 16, or inf"
        cause, mend = "a start between the stops of its slider", "leave theta_scale out for a default"
        raise InvalidInput(expected=wanted, got=f"{theta_scale}", cause=cause, next_step=mend)
    return nearest
