"""What clipping makes constant."""

import math
from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput
from lliptools.nets.checks import check_labels
from lliptools.teach.explorers.clipping.figure import LAYERS, clipping
from lliptools.teach.explorers.clipping.view import ClipView, Member, ThetaCurve, clip_view, family, theta_curve
from lliptools.teach.shared.controls import check_start, choice, nice, slider
from lliptools.teach.shared.efforts import Effort, effort, everywhere, typical_radius
from lliptools.teach.shared.explorer import Explorer
from lliptools.teach.shared.units import stations

__all__ = ["ClipExplorer"]

STEPS = 100  # of the radius slider
POINTS = 32  # over which means are taken
OCTAVES = 4  # the thresholds go up and down by so many factors of two


class ClipExplorer(Explorer):
    """Which neurons clipping makes constant, and what that does to the local and to the global bound.

    net: any network that lliptools.local_bound takes, or several for the same points by name, such as those of one
    family: {"standard": …, "clipped": …, "sparse": …}. x: (points, *sample), y: (points,) the points to pick from and
    their labels; means are taken over up to 32 of them. network, index, eps, theta_scale: where the controls start, the
    last a power of 2 from 1/16 to 16, its exponent a multiple of ½, or inf for no clipping at all. eps_max: end of
    the radius slider, in units of x. first: of a network with more than three hidden layers, the first that is shown.
    source: how net, x and y are called where the explorer is made, for the call that opens the same view again.
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
        found = [everywhere(one, x).plain for one in self._nets.values()]  # checks networks and points
        for one in found:
            y = check_labels(y, len(x), one.blocks[-1].slope.shape[1], x.device)
        self._x, self._y = x.detach(), y
        self._effort = max((effort(one) for one in found), key=lambda allowed: allowed.tolerance)
        check_start("index", index, 0, len(x) - 1)
        if eps_max is None:
            radii = (
                typical_radius(one, self._x, y, bound) for one, bound in zip(self._nets.values(), found, strict=True)
            )
            eps_max = nice(max(radii)) or 1.0
        check_start("eps_max", eps_max, 1e-12, 1e12)
        check_start("eps", 0.0 if eps is None else eps, 0, eps_max)
        halves = range(-2 * OCTAVES, 2 * OCTAVES + 1)
        factors = [*(2.0 ** (half / 2) for half in halves), math.inf]
        nearest = min(factors, key=lambda factor: 0.0 if factor == theta_scale else abs(factor - theta_scale))
        if not (nearest == theta_scale or abs(nearest - theta_scale) <= 1e-4 * theta_scale):
            raise InvalidInput(
                expected="theta_scale as 2 to a multiple of ½ from 1/16 to 16, or inf",
                got=f"{theta_scale}",
                cause="a start between the stops of its slider",
                next_step="leave theta_scale out for a default",
            )
        count = min(len(x), POINTS if self._effort == Effort() else POINTS // 8)
        self._some = torch.linspace(0, len(x) - 1, count, device=x.device).round().long()
        self._scales = factors if self._effort == Effort() else [*factors[:-1:4], math.inf]
        hidden = max(sum(one.block.activation is not None for one in stations(bound.blocks)) for bound in found)
        pages = max(1, hidden - LAYERS + 1)
        check_start("first", first, 1, pages)
        self._eps_max, step = eps_max, eps_max / STEPS
        start = step * round((eps_max / 5 if eps is None else eps) / step)
        controls = {
            "network": choice("network", "which network is looked at", names, network or names[0]),
            "theta_scale": choice(
                "θ times",
                "multiplies every clip threshold of the network; ∞ clips nothing",
                [*((f"{factor:.3g}", factor) for factor in factors[:-1]), ("∞", math.inf)],
                nearest,
            ),
            "eps": slider(
                "ε in input units",
                "radius of the ball around the point, in the units of the network's input",
                *(0.0, eps_max, step, start),
                wide=True,
            ),
            "point": slider("point nr", "which of the given points is looked at", 0, len(x) - 1, 1, index),
            "first": slider("layers from", "the first of the three hidden layers that are shown", 1, pages, 1, first),
        }
        rows = [["eps"], ["theta_scale", "network"] if len(names) > 1 else ["theta_scale"]]
        rows.append(["point", "first"] if pages > 1 else ["point"])
        self._view = lru_cache(maxsize=64)(self._compute)
        self._curve, self._member = cache(self._compute_curve), cache(self._compute_member)
        self._known: set[tuple[object, ...]] = set()  # what of them has been computed, for what
        super().__init__(controls, rows, source)

    @property
    def view(self) -> ClipView:
        """What is shown now."""
        return self._view(*self._state)

    @property
    def radius(self) -> float:
        """The radius that is shown."""
        return round(self.controls["eps"].value / self._eps_max * STEPS) * self._eps_max / STEPS

    @property
    def _state(self) -> tuple[str, int, float, float]:
        controls = self.controls
        return controls["network"].value, controls["point"].value, self.radius, controls["theta_scale"].value

    def _next_part(self) -> Callable[[], None] | None:
        network, point, eps, theta_scale = self._state
        if (self._curve, network, point, eps) not in self._known:
            return partial(self._learn, self._curve, network, point, eps)
        missing = [name for name in self._nets if (self._member, name, eps, theta_scale) not in self._known]
        return partial(self._learn, self._member, missing[0], eps, theta_scale) if missing else None

    def _learn(self, part: Callable[..., object], *arguments: object) -> None:
        part(*arguments)
        self._known.add((part, *arguments))

    def _figure(self, *, coarse: bool) -> go.Figure:
        network, point, eps, theta_scale = self._state
        curve = self._curve(network, point, eps) if (self._curve, network, point, eps) in self._known else None
        whole = all((self._member, name, eps, theta_scale) in self._known for name in self._nets)
        members = [self._member(name, eps, theta_scale) for name in self._nets] if whole else []
        return clipping(self.view, curve, members, network, self.controls["first"].value - 1)

    def _summary(self) -> tuple[str, ...]:
        return self.view.summary()

    def _keywords(self) -> dict[str, object]:
        shown: dict[str, object] = {"network": self.controls["network"].value} if len(self._nets) > 1 else {}
        shown |= {
            "index": self.controls["point"].value,
            "eps": self.radius,
            "theta_scale": self.controls["theta_scale"].value,
            "eps_max": self._eps_max,
        }
        if self.controls["first"].value > 1:
            shown["first"] = self.controls["first"].value
        return shown

    def _compute(self, network: str, point: int, eps: float, theta_scale: float) -> ClipView:
        here = torch.cat([self._some.new_tensor([point]), self._some])
        x = self._x[here].double()
        return clip_view(self._nets[network], x, self._y[here], eps, theta_scale, self._effort)

    def _compute_curve(self, network: str, point: int, eps: float) -> ThetaCurve:
        x = self._x[point : point + 1].double()
        return theta_curve(self._nets[network], x, eps, self._scales, self._effort)

    def _compute_member(self, name: str, eps: float, theta_scale: float) -> Member:
        here, net = torch.cat([self._some[:1], self._some]), {name: self._nets[name]}
        return family(net, self._x[here].double(), self._y[here], eps, theta_scale, self._effort)[0]
