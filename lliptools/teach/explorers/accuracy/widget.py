"""What a bound buys: several networks, certified, attacked and clean, and their points one by one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from lliptools.bounds import BOUNDS, global_bound
from lliptools.certificates.radius import certified_radius
from lliptools.errors import InvalidInput
from lliptools.nets.checks import check_labels
from lliptools.teach.explorers.accuracy.figure import accuracy
from lliptools.teach.explorers.accuracy.view import AccuracyView, broken_at, certified_radii, pictures
from lliptools.teach.shared.controls import check_start, choice, nice, slider
from lliptools.teach.shared.explorer import Explorer

__all__ = ["AccuracyExplorer"]

STEPS = 50
SHOWN = 42  # points on the wall
AT_ONCE = 60  # points whose radii are found in one part
ATTACKS = 6  # radii at which every point is attacked
METHODS = ("global", "local")


class AccuracyExplorer(Explorer):
    """Certified accuracy against radius of several networks, attacked and clean beside it, and their points one by one.

    nets: networks by name, all for the same points. x: (points, *sample), y: (points,). eps, method, net: where the
    controls start. methods: names of upper bounds in lliptools.BOUNDS to certify with. eps_max: end of the radius
    slider, in units of x. source: how nets, x and y are called where the explorer is made.
    Attacked is projected gradient descent at six radii, then a search on the line to what it found.
    Raises InvalidInput for networks, points, labels and starting values that do not fit.
    """

    usual = "nets, x, y"

    def __init__(
        self,
        nets: Mapping[str, nn.Sequential],
        x: Tensor,
        y: Tensor,
        *,
        eps: float | None = None,
        method: str = "local",
        net: str | None = None,
        methods: Sequence[str] = METHODS,
        eps_max: float | None = None,
        source: str = "nets, x, y",
    ) -> None:
        _check(nets, methods, method, net)
        for each in nets.values():  # checks networks and points before anything is drawn
            y = check_labels(y, len(x), global_bound(each, x).blocks[-1].slope.shape[1], x.device)
        self._nets, self._x, self._y, self._methods = dict(nets), x.detach(), y, tuple(methods)
        if eps_max is None:
            by_global = partial(certified_radius, x=x[:64], y=y[:64], bound=global_bound, tolerance=0.01)
            far = torch.stack([by_global(each).quantile(0.9) for each in nets.values()])
            eps_max = nice(float(far[far.isfinite()].max())) if far.isfinite().any() else 0.0
        eps_max = eps_max or 1.0
        check_start("eps_max", eps_max, 1e-12, 1e12)
        check_start("eps", 0.0 if eps is None else eps, 0, eps_max)
        self._eps_max, self._step = eps_max, eps_max / STEPS
        start = self._step * round((eps_max / 4 if eps is None else eps) / self._step)
        self._broken: dict[str, Tensor] = {}
        self._certified: dict[str, dict[str, Tensor]] = {each: {} for each in methods}
        self._wall = pictures(x, SHOWN)
        self._plane = x.detach().double().cpu() if x.dim() == 2 and x.shape[1] == 2 else None
        controls = {
            "eps": slider(
                "ε in input units",
                "radius of the ball around every point, in the units of the networks' input",
                *(0.0, eps_max, self._step, start),
                wide=True,
            ),
            "net": choice("network", "whose points are shown one by one", list(nets), net or next(iter(nets))),
            "method": choice("certified by", "which bound certifies", list(methods), method),
        }
        super().__init__(controls, [["eps"], ["net", "method"]], source)

    @property
    def radius(self) -> float:
        """The radius that is shown."""
        return self._step * min(round(self.controls["eps"].value / self._step), STEPS)

    @property
    def view(self) -> AccuracyView:
        """What is known by now of all networks, certified by the chosen bound."""
        certified = self._certified[self.controls["method"].value]
        return AccuracyView(tuple(self._nets), self._y.cpu(), dict(self._broken), dict(certified))

    def _next_part(self) -> Callable[[], None] | None:
        method, chosen = self.controls["method"].value, self.controls["net"].value
        names = [chosen, *(name for name in self._nets if name != chosen)]
        known = self._certified[method]
        # First what the wall shows, then the attacks, then all the curves.
        for name in names:
            if name not in self._broken:
                return partial(self._attack, name)
            if name == chosen and name not in known:
                return partial(self._certify, method, name)
        for name in names:
            if name not in known or known[name].isnan().any():
                return partial(self._certify, method, name)
        return None

    def _attack(self, name: str) -> None:
        radii = [self._eps_max * (k + 1) / ATTACKS for k in range(ATTACKS)]
        self._broken[name] = broken_at(self._nets[name], self._x, self._y, radii).cpu()

    def _certify(self, method: str, name: str) -> None:
        known = self._certified[method].get(name)
        if known is None:
            known = torch.where(self._broken[name] == 0, 0.0, torch.nan)
        bound: Any = BOUNDS[method]
        count = len(self._x) if method == "global" else AT_ONCE
        self._certified[method][name] = certified_radii(
            self._nets[name], self._x, self._y, bound, known.to(self._x.device), count
        ).cpu()

    def _figure(self, *, coarse: bool) -> go.Figure:
        chosen = self.controls["net"].value
        return accuracy(self.view, chosen, self.radius, self._eps_max, self._wall, self._plane)

    def _summary(self) -> tuple[str, ...]:
        return self.view.summary(self.controls["net"].value, self.radius, self.controls["method"].value)

    def _keywords(self) -> dict[str, object]:
        shown: dict[str, object] = {
            "eps": self.radius,
            "method": self.controls["method"].value,
            "net": self.controls["net"].value,
            "eps_max": self._eps_max,
        }
        if self._methods != METHODS:
            shown["methods"] = self._methods
        return shown


def _check(nets: object, methods: Sequence[str], method: str, net: str | None) -> None:
    if not isinstance(nets, Mapping) or not nets or not all(isinstance(each, nn.Module) for each in nets.values()):
        raise InvalidInput(
            expected="nets as a dictionary of networks by name",
            got=type(nets).__name__ if not isinstance(nets, Mapping) else f"{list(nets)}",
            cause="a single network, or a list of them",
            next_step='pass {"mine": net}',
        )
    upper = [name for name in BOUNDS if name != "sampled"]
    if not methods or not set(methods) <= set(upper) or method not in methods:
        raise InvalidInput(
            expected=f"methods among {upper}, and method among them",
            got=f"methods {list(methods)}, method {method!r}",
            cause="a bound that certifies nothing, or one that was left out of methods",
            next_step="pass method='local'",
        )
    if net is not None and net not in nets:
        raise InvalidInput(
            expected=f"net as one of {list(nets)}",
            got=repr(net)[:80],
            cause="a network instead of its name",
            next_step="leave it out for the first of them",
        )
