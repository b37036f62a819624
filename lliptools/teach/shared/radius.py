"""What explorers of a ball share: networks and points, the slider of its radius, and the call that opens the view."""

from collections.abc import Mapping, Sequence

import ipywidgets
import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput
from lliptools.teach.shared import efforts
from lliptools.teach.shared.controls import check_start, nice, slider
from lliptools.teach.shared.explorer import Explorer, Look, State


class RadiusExplorer(Explorer):
    """An explorer with a slider eps: the radius of a ball, on a grid from 0 to eps_max in units of the input."""

    keywords = ("network", "index", "eps", "theta_scale", "method", "net", "eps_max", "first")

    def __init__(self, rows: Sequence[Mapping[str, ipywidgets.ValueWidget]], source: str, layout: Look = None) -> None:
        super().__init__(rows, source, layout=layout, eps_max=self._eps_max)

    def _take(
        self, net: nn.Sequential | Mapping[str, nn.Sequential], x: Tensor, y: Tensor, *, several: bool = False
    ) -> None:
        """Check a network, or several by name, and the points, before anything is drawn. Raises InvalidInput."""
        named = net.items() if isinstance(net, Mapping) else ()
        good = named and all(isinstance(name, str) and isinstance(each, nn.Module) for name, each in named)
        if (several or isinstance(net, Mapping)) and not good:
            got = f"{list(net)}" if isinstance(net, Mapping) else type(net).__name__
            wanted, cause = "a dictionary of networks by name", "a single network, a list, or other things in it"
            raise InvalidInput(expected=wanted, got=got, cause=cause, next_step='pass {"mine": net}')
        self._nets = dict(net) if isinstance(net, Mapping) else {"the network": net}
        self._whole = {name: efforts.Everywhere(each, x) for name, each in self._nets.items()}
        for whole in self._whole.values():
            y = efforts.labels(whole.plain, x, y)
        self._net, self._x, self._y = next(iter(self._nets.values())), x.detach(), y

    def _ball(
        self,
        eps: float | None,
        eps_max: float | None,
        *,
        steps: int,
        start: float = 1 / 4,
        share: float = 0.5,
        times: float = 1.0,
        around: str = "the point",
    ) -> ipywidgets.FloatSlider:
        """The slider; without eps it starts at a part.

        Without eps_max it ends at the next round number after so many times the largest of the radii below which the
        global bounds of the networks certify that share of the points.
        """
        if eps_max is None:
            points, whole = (self._x, self._y), self._whole
            far = [efforts.typical_radius(net, *points, whole[name], share) for name, net in self._nets.items()]
            eps_max = nice(times * max((radius for radius in far if radius < torch.inf), default=0.0)) or 1.0
        check_start("eps_max", eps_max, 1e-12, 1e12)
        check_start("eps", 0.0 if eps is None else eps, 0, eps_max)
        # To 12 digits: 0.7 / 100 · 20 is 0.14, and not a little less.
        radii = [float(f"{k * eps_max / steps:.12g}") for k in range(steps + 1)]
        self._eps_max, self._radii = eps_max, torch.tensor(radii, dtype=torch.float64)
        nearest = round((eps_max * start if eps is None else eps) / (eps_max / steps))
        tooltip = f"radius of the ball around {around}, in the units of the network's input"
        return slider("ε in input units", tooltip, 0.0, eps_max, eps_max / steps, radii[nearest])

    def _step(self, eps: float) -> int:
        """A radius of the slider as a number of steps from 0."""
        last = len(self._radii) - 1
        return min(round(eps / self._eps_max * last), last)

    def _radius(self, at: State) -> float:
        return self._radii[self._step(at["eps"])].item()

    @property
    def radius(self) -> float:
        """The radius that is shown."""
        return self._radius(self._state)

    def _keywords(self, **more: object) -> dict[str, object]:
        at = self._state
        first = None if at.get("first") == 1 else at.get("first")
        return super()._keywords(index=at.get("point"), eps=self.radius, first=first, **more)
