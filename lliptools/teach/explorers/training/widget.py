"""A training run that is watched, and stopped, while it goes on."""

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

import ipywidgets
from torch import nn

from lliptools.errors import InvalidInput
from lliptools.teach.explorers.training.figure import training
from lliptools.teach.explorers.training.view import Run, reached
from lliptools.teach.shared.controls import slider
from lliptools.teach.shared.explorer import Explorer, Look, Shown, State, running_loop
from lliptools.training import History, Recipe, Split
from lliptools.training import recipe as named
from lliptools.training.distributed import as_device

MOST_EPOCHS, LAST_SEED = 200, 99


class TrainingExplorer(Explorer):
    """Trains a network by a recipe and draws its curves epoch by epoch; a button stops it, and what there is stays.

    * recipe: a name in lliptools.training.RECIPES, or a Recipe of one's own; a tenth of the training points is held out
      where it holds out none
    * data: a Split to train on in place of the recipe's
    * epochs: where that control starts
    * seed: of weights, order and augmentation
    * device: where to train; "auto" is CUDA where there is one, else the CPU
    * source: how recipe and data are called in the call that opens the same view again
    * layout: of the widget, as {"width": "600px"}

    A slider goes through the epochs that are done: at each, of a small dense network, the matrices without the rows and
    columns of units that are constant near the first test point.
    history and net are those of the last run. In a notebook the run goes on beside the kernel, which stays free for
    other cells; elsewhere start() returns when it has ended.
    Raises InvalidInput for a recipe that does not exist and for starts that do not fit.
    """

    usual = "recipe, data"
    keywords = ("recipe", "epochs", "seed", "device")

    def __init__(
        self,
        recipe: str | Recipe = "moons",
        data: Split | None = None,
        *,
        epochs: int | None = None,
        seed: int = 0,
        device: str = "auto",
        source: str = "recipe, data",
        layout: Look = None,
    ) -> None:
        own = recipe if isinstance(recipe, Recipe) else named(str(recipe))
        if data is not None and not isinstance(data, Split):
            raise InvalidInput(
                expected="data as a training.Split",
                got=type(data).__name__,
                cause="points without labels, or a pair of them",
                next_step="pass lliptools.training.Split(x_train, y_train, x_test, y_test)",
            )
        self._recipe, self._data, self.device = own, data, as_device(device)
        self._run: Run | None = None
        self._thread: Thread | None = None
        start = min(own.epochs, MOST_EPOCHS) if epochs is None else epochs
        passes = slider("epochs", "passes over the training points", 1, MOST_EPOCHS, 1, start)
        seeds = slider("seed", "of the weights and of the order of the points", 0, LAST_SEED, 1, seed)
        looked = slider("shown", "the epoch whose network is shown", 1, max(2, start), 1, max(2, start))
        rows = [{"epochs": passes, "seed": seeds, "shown": looked}]
        single, asked = own is recipe or data is not None, None if device == "auto" else device
        name, source = (None, source) if single else (own.name, "")
        super().__init__(rows, source, recipe=name, device=asked, layout=layout)

    def _buttons(self) -> list[ipywidgets.Widget]:
        width = {"width": "80px", "flex": "0 0 auto"}
        self.begin = self._button("start", "train from fresh weights", self.start, button_style="primary", layout=width)
        self.halt = self._button("stop", "end the run after the present epoch", self.stop, disabled=True, layout=width)
        look: dict[str, Any] = {"tooltip": "epochs that are done", "style": {"description_width": "initial"}}
        look["layout"] = {"width": "auto", "flex": "1 1 140px"}
        self.progress = ipywidgets.IntProgress(description="epoch", max=self.controls["epochs"].value, **look)
        return [self.begin, self.halt, self.progress]

    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self._run is not None and not self._run.words

    @property
    def history(self) -> History | None:
        """Of the last run, as far as it has come."""
        return self._run.history if self._run else None

    @property
    def net(self) -> nn.Sequential | None:
        """The network of the last run."""
        return self._run.history.net if self._run else None

    def start(self) -> None:
        """Begin a run with the present controls; while one goes on this does nothing."""
        if self.running:
            return
        epochs, seed = (self.controls[name].value for name in ("epochs", "seed"))
        self._run = run = Run(self._recipe, self._data, epochs, seed)
        self.controls["shown"].max = self.controls["shown"].value = max(2, epochs)
        self._shown()
        if run.words:
            return
        loop = running_loop()
        if loop is None:
            run.train(self.device, self._shown)
        else:
            show = _from_thread(loop, lambda: self._shown() if self._run is run else None)
            self._thread = Thread(target=run.train, args=(self.device, show), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the run after the present epoch; what it has trained stays."""
        if self.running and self._run is not None:
            self._run.stop.set()
            self.halt.disabled = True
            self._draw()

    def _shown(self) -> None:
        """Bring buttons, bar, curves and words to where the run stands."""
        with self._turn:
            going = self.running
            for control in (*(self.controls[name] for name in ("epochs", "seed")), self.begin, self.reset):
                control.disabled = going
            self.halt.disabled = not going or (self._run is not None and self._run.stop.is_set())
            if self._run is not None:
                self.progress.max, self.progress.value = self._run.recipe.epochs, len(self._run.history)
            self._draw()

    def _show(self, at: State, coarse: bool) -> Shown:
        run, ghost = self._run, reached(self._recipe)
        if run is None:
            lines = (f"nothing trained yet: press start · trains on {self.device}",)
            return None, partial(training, History("", nn.Sequential()), at["epochs"], ghost), lines
        epoch, near = shown = run.at(at["shown"])
        said = (near.words(epoch),) if near else ()
        draw = partial(training, run.history, run.recipe.epochs, ghost, shown)
        return run, draw, (*run.summary(self.device, at["shown"]), *said)


def _from_thread(loop: asyncio.AbstractEventLoop, show: Callable[[], None]) -> Callable[[], None]:
    """The same call, made in the kernel's own thread."""

    def ask() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(show)

    return ask
