"""How far a point can move before its label may change."""

import math
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.teach.explorers.margins.figure import Spans, margins, spans
from lliptools.teach.explorers.margins.view import ASSUMED, MarginView, is_exact, predicted
from lliptools.teach.shared import efforts
from lliptools.teach.shared.controls import choice, log_slider, nice, point_slider, refuse, slider
from lliptools.teach.shared.explorer import Explorer, Look, Shown, State
from lliptools.teach.shared.plane import Plane

PREDICTED = "predicted"
FINER, LESS, MORE = 8, 5, 1  # steps to a doubling of L, doublings below and above the global bound


class MarginExplorer(Explorer):
    """Logits and margins at a point, and the disc in which they cannot change sign.

    * net: any network that lliptools.local_bound takes
    * x: (points, *sample), y: (points,) the points to pick from and their labels
    * index: which point is picked
    * L: the Lipschitz constant that margins are divided by, "global", "local", "centred" (of the centre and any point)
      or, for small networks with two inputs, "exact"; or a number, which is assumed and proves nothing by itself
    * point: where it starts on the map of a network with two inputs; it moves by two sliders or by hand
    * label: the class that is looked at there, or "predicted"
    * source: how net, x and y are called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    Raises InvalidInput for points, labels and starting values that do not fit.
    """

    keywords = ("index", "point", "label", "L")
    slow = True
    _axes: Spans | None = None  # of the whole picture before, which stay while a hand moves

    def __init__(
        self,
        net: nn.Sequential,
        x: Tensor,
        y: Tensor,
        *,
        index: int = 0,
        L: str | float = "global",
        point: tuple[float, float] | None = None,
        label: int | str | None = None,
        source: str = "net, x, y",
        layout: Look = None,
    ) -> None:
        whole = efforts.Everywhere(net, x).plain  # before anything is drawn
        self._net, self._x, self._y, self._index = net, x.detach(), efforts.labels(whole, x, y), index
        number = point_slider(index, len(x))
        self._flat = x[0].numel() == 2 and x.dim() == 2
        self._plane = Plane(net, self._x.double()) if self._flat else None
        self._view = lru_cache(maxsize=64)(self._compute)
        constants = self._constants(L, whole.value.item())
        if self._flat:
            places = self._places(index, point, label, whole.blocks[-1].slope.shape[1])
        else:
            places = [{"point": number}]
            where = "with a network that has more than two inputs"
            refuse(where, "a start on a map", "pick a point by index", point=point, label=label)
        super().__init__([constants, *places], source, layout=layout)
        # Whoever moves L by hand means that L.
        constants["L"].observe(lambda _: self._assume(), names="value")
        if self._flat:
            self.screen.on_move(0, self._move)

    def _show(self, at: State, coarse: bool) -> Shown:
        place, label, constant = self._where(at)
        view = self._view(place, label, "local" if coarse and constant == "exact" else constant, not coarse)
        self._axes = self._axes if coarse else spans(view)
        return view, partial(margins, view, self._axes), view.summary()

    def _keywords(self, **more: object) -> dict[str, object]:
        place, _, constant = self._where(self._state)
        L = constant if isinstance(constant, str) else float(f"{constant:.6g}")
        where = {"index": self._index, "point": place} if self._flat else {"index": place, "point": None}
        return super()._keywords(**where, L=L, **more)

    def _where(self, at: State) -> tuple[Any, Any, str | float]:
        """The point (its coordinates, or its number), the class that is looked at, and the constant."""
        constant = at["L"] if at["bound"] == ASSUMED else at["bound"]
        if self._flat:
            return tuple(round(at[name], 10) for name in ("x0", "x1")), at["label"], constant
        return at["point"], int(self._y[at["point"]]), constant

    def _compute(self, place: Any, label: Any, constant: str | float, truth: bool = True) -> MarginView:
        x = self._x.new_tensor(place, dtype=torch.float64) if self._flat else self._x[place]
        label = predicted(self._net, x) if label == PREDICTED else label
        return MarginView(self._net, x, label, constant, self._plane, truth=truth)

    def _constants(self, start: str | float, everywhere: float) -> dict[str, Any]:
        """The controls of L: which bound it has, and the number that is assumed where it has none."""
        bounds = {"global bound": "global", "local bound": "local", "centred": "centred"}
        if self._flat and is_exact(self._net, self._x[:1]):
            bounds["exact"] = "exact"
        middle = math.floor(math.log2(nice(everywhere) or 1.0))
        number, chosen = (2.0 ** (middle - 1), start) if isinstance(start, str) else (float(start), ASSUMED)
        assumed = "a Lipschitz constant that you assume, in units of the output over units of the input"
        bounded = "what bounds the Lipschitz constant: a theorem, or an assumption"
        options = [*bounds.items(), ("assumed", ASSUMED)]
        return {
            "L": log_slider("assumed L", assumed, middle - LESS, middle + 1 + MORE, 1 / FINER, number, argument="L"),
            "bound": choice("L from", bounded, options, chosen, "L as a number or"),
        }

    def _places(
        self, index: int, point: tuple[float, float] | None, label: int | str | None, classes: int
    ) -> list[dict[str, Any]]:
        """The controls of the point and of its class, for a network with two inputs."""
        assert self._plane is not None
        start = tuple(self._x[index].tolist()) if point is None else point
        sides = (self._plane.x0, self._plane.x1)
        step = nice(float(sides[0][-1] - sides[0][0]) / 250) or 0.01
        place = {}
        for name, side, value in zip(("x0", "x1"), sides, start, strict=True):
            low, high = step * math.ceil(side[0].item() / step), step * math.floor(side[-1].item() / step)
            tooltip = f"coordinate {name} of the point, in the units of the network's input"
            nearest = step * round(value / step)
            place[name] = slider(name, tooltip, low, high, step, nearest, argument=f"point, {name},")
        picked, own = predicted(self._net, self._x.new_tensor(start, dtype=torch.float64)), int(self._y[index])
        if label is None:
            label = PREDICTED if point is not None or own == picked else own
        options = [("predicted", PREDICTED), *[(str(c), c) for c in range(classes)]]
        shown = "whose margins over the other classes are shown"
        return [place, {"label": choice("class y", shown, options, label, "label as")}]

    def _assume(self) -> None:
        if not self._held:
            self.controls["bound"].value = ASSUMED

    def _move(self, across: float, up: float) -> None:
        """Move the point to where a hand is on the map."""
        with self.held():
            for name, value in (("x0", across), ("x1", up)) if self._flat else ():
                control = self.controls[name]
                control.value = min(max(control.step * round(value / control.step), control.min), control.max)
