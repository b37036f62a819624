"""What explorers of a ball share: the slider of its radius, where that ends, and the call that opens the view."""

from collections.abc import Callable

import ipywidgets
import torch

from lliptools.teach.shared.controls import check_start, moves, nice, slider
from lliptools.teach.shared.explorer import Explorer

__all__ = ["RadiusExplorer"]

# The keywords of a call, in order; the names of the controls, but for the point.
KEYWORDS = ("network", "index", "eps", "theta_scale", "method", "net", "eps_max", "first")


class RadiusExplorer(Explorer):
    """An explorer with a slider eps: the radius of a ball, on a grid from 0 to eps_max in units of the input."""

    def _ball(
        self,
        eps: float | None,
        eps_max: float | None,
        typical: Callable[[], float],
        *,
        steps: int,
        start: float = 1 / 4,
        around: str = "the point",
    ) -> ipywidgets.FloatSlider:
        """The slider; without eps_max to the next round number after the typical radius, without eps at a part."""
        eps_max = (nice(typical()) or 1.0) if eps_max is None else eps_max
        check_start("eps_max", eps_max, 1e-12, 1e12)
        check_start("eps", 0.0 if eps is None else eps, 0, eps_max)
        # To 12 digits: 0.7 / 100 · 20 is 0.14, and not a little less.
        radii = [float(f"{k * eps_max / steps:.12g}") for k in range(steps + 1)]
        self._eps_max, self._radii = eps_max, torch.tensor(radii, dtype=torch.float64)
        nearest = round((eps_max * start if eps is None else eps) / (eps_max / steps))
        tooltip = f"radius of the ball around {around}, in the units of the network's input"
        span = (0.0, eps_max, eps_max / steps, radii[nearest])
        return slider("ε in input units", tooltip, *span, wide=True)

    @property
    def grid_index(self) -> int:
        """Where the radius slider stands: a number of steps from 0."""
        last = len(self._radii) - 1
        return min(round(self.controls["eps"].value / self._eps_max * last), last)

    @property
    def radius(self) -> float:
        """The radius that is shown."""
        return self._radii[self.grid_index].item()

    def _keywords(self) -> dict[str, object]:
        shown = {name: control.value for name, control in self.controls.items()}
        shown |= {"index": shown.get("point"), "eps": self.radius, "eps_max": self._eps_max}
        if shown.get("first") == 1:
            del shown["first"]
        if "network" in shown and not moves(self.controls["network"]):
            del shown["network"]
        return {name: shown[name] for name in KEYWORDS if shown.get(name) is not None}
