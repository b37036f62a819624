"""A network that is trained in the plane, live, with what is certified of every point."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from threading import RLock
from typing import Any

import anywidget
import traitlets

from lliptools.teach.explorers.playground.figure import beginning, frame, palette
from lliptools.teach.explorers.playground.points import Drawn
from lliptools.teach.explorers.playground.view import LIVE, Epoch, Run, Settings
from lliptools.teach.shared.explorer import running_loop
from lliptools.teach.shared.transport import HERE as SHARED
from lliptools.teach.shared.words import call
from lliptools.training.distributed import as_device

HERE = Path(__file__).parent
FILES = (SHARED / "striking.js", SHARED / "keep.js", HERE / "playground.js")
SCRIPT = "".join(file.read_text(encoding="utf-8") for file in FILES)
STYLE = (HERE / "playground.css").read_text(encoding="utf-8")
MOST, PATIENCE = 1000, 5.0  # epochs of a run; seconds that a page may take to paint a frame


class Playground(anywidget.AnyWidget):
    """Trains a small network on points of the plane, live, and shows what is certified of it after every epoch.

    * data, hidden, activation, theta, seed, points, bound, eps, sparsity, rate: view.Settings
    * point: number of the picked one. epochs: trained before it is shown
    * changes: settings that change during the run: {epoch: {"bound": "local"}}, of bound, eps, sparsity and rate
    * device: "auto" is CUDA where there is one, else the CPU

    In a notebook play() returns at once, and the run goes on beside the kernel until pause(), or until no page shows
    it; elsewhere call step().
    Every disc is certified: by the global bound where the loss has that, else by the local bound.
    Raises InvalidInput for settings that do not fit.
    """

    _esm = SCRIPT + "export default { render };\n"
    _css = STYLE
    colors: Any = traitlets.List(palette()).tag(sync=True)
    settings: Any = traitlets.Dict().tag(sync=True)
    playing: Any = traitlets.Bool(False).tag(sync=True)
    point: Any = traitlets.Int(0).tag(sync=True)
    device: Any = traitlets.Unicode().tag(sync=True)
    call: Any = traitlets.Unicode().tag(sync=True)
    trouble: Any = traitlets.Unicode().tag(sync=True)
    home: Any = traitlets.Unicode().tag(sync=True)  # what stands in the cell: of keep.js

    def __init__(
        self,
        data: str | Drawn = "moons",
        *,
        hidden: Sequence[int] = (16, 16),
        activation: str = "clipped_relu",
        theta: float = 1.0,
        seed: int = 0,
        points: int = 200,
        bound: str = "local",
        eps: float = 0.1,
        sparsity: float = 0.0,
        rate: float = 0.01,
        point: int = 0,
        epochs: int = 0,
        changes: Mapping[int, Mapping[str, Any]] | None = None,
        device: str = "auto",
    ) -> None:
        given = data if isinstance(data, str) else tuple((float(a), float(b), int(c)) for a, b, c in data)
        first = Settings(given, tuple(hidden), activation, theta, seed, points, bound, eps, sparsity, rate)
        self._device, self._asked = as_device(device), device
        self._loop, self._turn = running_loop(), RLock()
        self._later: asyncio.TimerHandle | None = None
        self._sent = self._painted = 0
        self.run = Run(first, self._device, {at: dict(more) for at, more in (changes or {}).items()})
        for _ in range(epochs):
            self.run.epoch()
        super().__init__(point=point, device=self._device.type)
        self.home = self.model_id
        self._settled()
        self.on_msg(self._answer)
        self.observe(lambda _: self._settled(), names="point")

    def __repr__(self) -> str:
        return self.reproduce()

    @property
    def epoch(self) -> Epoch:
        """The last one."""
        return self.run.epochs[-1]

    def step(self) -> None:
        """Train one more epoch."""
        with self._turn:
            self.trouble = ""
            try:
                self._tell(self.run.epoch())
            except FloatingPointError as error:
                self.trouble, self.playing = str(error), False
            self._settled()

    def play(self) -> None:
        """Train epoch by epoch until pause; where there is no kernel, nothing."""
        if self._loop is not None and not self.playing:
            self.playing = True
            self._loop.call_soon_threadsafe(self._go_on)

    def pause(self) -> None:
        """Stop after the present epoch; what there is stays, and play goes on from there."""
        self.playing = False
        self._settled()

    def restart(self, **given: Any) -> None:
        """Begin anew with the present settings, or others. Raises InvalidInput for settings that do not fit."""
        with self._turn:
            self.run = Run(replace(self.run.present, **given), self._device)
            self.trouble = ""
            self._tell_all()
            self._settled()

    def change(self, **given: Any) -> None:
        """Other settings: of bound, eps, sparsity and rate the run goes on with them, for the others it begins anew."""
        with self._turn:
            if set(given) <= set(LIVE):
                self.run.change(**given)
                self._tell(self.epoch)
                self._settled()
            else:
                self.restart(**given)

    def reproduce(self) -> str:
        """The one-line call that opens the present view."""
        found = asdict(self.run.settings)
        found |= {"point": self.point, "epochs": len(self.run.epochs) - 1, "changes": self.run.changes or None}
        found["device"] = self._asked
        plain = {**asdict(Settings()), "point": 0, "epochs": 0, "changes": None, "device": "auto"}
        return call(type(self).__name__, "", {name: value for name, value in found.items() if value != plain[name]})

    def _settled(self) -> None:
        """Have the page show the present settings, and the call that comes here."""
        self.settings = asdict(self.run.present)
        if not self.playing or len(self.run.epochs) % 10 == 0:
            self.call = self.reproduce()

    def _go_on(self) -> None:
        """Train an epoch, and the next once a page has painted the one before; pause where none does."""
        with self._turn:
            if self._later is not None:
                self._later.cancel()
            if not self.playing or self._loop is None or self.comm is None:
                return
            if self._late or len(self.run.epochs) > MOST:
                self.pause()
                return
            self.step()
            self._later = self._loop.call_later(PATIENCE if self._late else 1e-3, self._go_on)

    @property
    def _late(self) -> bool:
        """Whether more than one frame is on its way to the page."""
        return self._sent - self._painted > 1

    def _tell(self, epoch: Epoch) -> None:
        head, numbers = frame(epoch)
        self._sent = epoch.number
        self.send({"frame": head}, [numbers])

    def _tell_all(self) -> None:
        told, buffers = beginning(self.run)
        self.send({"start": told}, buffers)
        self._sent, self._painted = 0, 0
        for epoch in self.run.epochs:
            self._tell(epoch)

    def _answer(self, _: object, said: Mapping[str, Any], __: object) -> None:
        """What the page says: a button, a control, a point that is drawn, a frame that is painted."""
        with self._turn:
            if "painted" in said:
                waited, self._painted = self._late, min(said["painted"], self._sent)
                if waited and not self._late and self._loop is not None:
                    self._loop.call_soon_threadsafe(self._go_on)
            elif "set" in said:
                self.change(**{name: tuple(v) if isinstance(v, list) else v for name, v in said["set"].items()})
            elif "draw" in said and not isinstance(drawn := self.run.settings.data, str):
                a, b, label = said["draw"]
                self.restart(data=(*drawn, (round(a, 3), round(b, 3), int(label))))
            elif "do" in said:
                acts = {"play": self.play, "pause": self.pause, "step": self.step, "restart": self.restart}
                {**acts, "tell": self._tell_all}[said["do"]]()
