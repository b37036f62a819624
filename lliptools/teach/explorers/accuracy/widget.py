"""What a bound buys: several networks, certified, attacked and clean, and their points one by one."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from lliptools.digits import radius_text
from lliptools.teach.explorers.accuracy.figure import accuracy, nearest_picture
from lliptools.teach.explorers.accuracy.view import AccuracyView, attacked, broken_at, certified_radii, pictures
from lliptools.teach.shared.controls import choice
from lliptools.teach.shared.explorer import Look, Shown, State
from lliptools.teach.shared.radius import RadiusExplorer

STEPS = 50
SHOWN = 42  # points on the wall
AT_ONCE = 60  # points whose radii are found in one part
ATTACKS = 6  # radii at which every point is attacked
METHODS = ("global", "local")


class AccuracyExplorer(RadiusExplorer):
    """Certified accuracy against radius of several networks, attacked and clean beside it, and their points one by one.

    * nets: networks by name, all for the same points
    * x: (points, *sample), y: (points,)
    * eps, method, net: where the controls start
    * eps_max: end of the radius slider, in units of x
    * source: how nets, x and y are called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    A click on a picture shows it attacked. Attacked is projected gradient descent at six radii, then a search on the
    line to what it found.
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
        eps_max: float | None = None,
        source: str = "nets, x, y",
        layout: Look = None,
    ) -> None:
        self._take(nets, x, y, several=True)
        self._broken: dict[str, Tensor] = {}
        self._certified: dict[str, dict[str, Tensor]] = {each: {} for each in METHODS}
        self._wall = pictures(x, SHOWN)
        self._plane = x.detach().double().cpu() if x.dim() == 2 and x.shape[1] == 2 else None
        names, shown = list(nets), "whose points are shown one by one"
        picked = choice("network", shown, names, names[0] if net is None else net, "net as")
        by = choice("certified by", "which bound certifies", METHODS, method, "method as")
        ball = self._ball(eps, eps_max, steps=STEPS, share=0.9, around="every point")
        self._picked: tuple[int, State] | None = None  # on the wall, and where the controls stood at the click
        super().__init__([{"eps": ball}, {"net": picked, "method": by}], source, layout=layout)
        if self._plane is None:
            wall = next(k for k, trace in enumerate(self.figure.data) if trace.type == "heatmap")
            self.screen.on_move(wall, self._pick)

    def _pick(self, x: float, y: float) -> None:
        """Show the picture that is clicked on attacked, until a control moves or a click falls beside it."""
        number, at = nearest_picture(self._wall, x, y), self._state
        picked = None if number is None else (number, at)
        with self._turn:
            if picked != self._picked:  # a hand that is pressed says so again and again
                self._picked = picked
                self._draw()

    def _attacked(self, number: int, at: State) -> tuple[Tensor, str]:
        """The wall with one picture attacked, and what has become of its label."""
        net, x, label = self._nets[at["net"]], self._x.detach().clone(), self._y[number : number + 1]
        found, wins = attacked(net, x[number], label, self._radius(at))
        if wins != int(label) and (broken := self._broken.get(at["net"])) is not None:
            # Nearer than the six radii have found it.
            self._broken[at["net"]] = broken.index_fill(
                0, torch.tensor(number), min(broken[number].item(), self._radius(at))
            )
        x[number] = found.clamp(x.min().item(), x.max().item())  # the other pictures keep their greys
        eps = radius_text(self._radius(at), 3)
        said = f"Point {number}, a {int(label)}, attacked within ε = {eps}: {at['net']} says {wins}."
        return pictures(x, SHOWN), said

    def _next_part(self) -> Callable[[], None] | None:
        """First what the wall shows, then the attacks, then all the curves."""
        method, chosen = self.controls["method"].value, self.controls["net"].value
        names = [chosen, *(name for name in self._nets if name != chosen)]
        known = self._certified[method]
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
        count = len(self._x) if method == "global" else AT_ONCE
        found = certified_radii(self._nets[name], self._x, self._y, method, known.to(self._x.device), count)
        self._certified[method][name] = found.cpu()

    def _show(self, at: State, coarse: bool) -> Shown:
        wall, said = self._wall, list[str]()
        if self._picked and self._picked[1] == at:
            wall, *said = self._attacked(self._picked[0], at)
        known = dict(self._broken), dict(self._certified[at["method"]])
        view, net, radius = AccuracyView(tuple(self._nets), self._y.cpu(), *known), at["net"], self._radius(at)
        lines = (*said, *view.summary(net, radius, at["method"]))
        return view, partial(accuracy, view, net, radius, self._eps_max, wall, self._plane), lines
