"""A training run that is watched, and stopped, while it goes on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Thread

import ipywidgets
import plotly.graph_objects as go
import torch
from torch import nn

from lliptools.digits import radius_text
from lliptools.errors import InvalidInput
from lliptools.teach.explorers.training.figure import training
from lliptools.teach.shared.controls import check_start, choice, slider
from lliptools.teach.shared.explorer import Explorer, running_loop
from lliptools.training import RECIPES, History, Recipe, Split, digits, fit, moons
from lliptools.training.devices import as_device

__all__ = ["TrainingExplorer"]

MOST_EPOCHS, LAST_SEED = 200, 99
HELD_OUT = 0.1  # of the training points, on which clean and certified accuracy are measured after every epoch


@dataclass
class Run:
    """One run. history: as far as it has come. stop: set to end it after the present epoch. words: how it ended."""

    recipe: Recipe
    history: History
    stop: Event
    words: str = ""


class TrainingExplorer(Explorer):
    """Trains a network by a recipe and draws its curves epoch by epoch; a button stops it, and what there is stays.

    recipe: a name in lliptools.training.RECIPES, beside which the short ones on moons and digits can be picked, or a
    Recipe of one's own. data: a Split to train on in place of the recipe's. epochs: where that control starts. seed: of
    weights, order and augmentation. device: where to train; "auto" is CUDA where there is one, else the CPU.
    A tenth of the training points is held out where the recipe holds out none.
    history and net are those of the last run. source: how recipe and data are called where the explorer is made.
    In a notebook the run goes on beside the kernel, which stays free for other cells; elsewhere start() returns when it
    has ended. Raises InvalidInput for a recipe that does not exist and for starts that do not fit.
    """

    usual = "recipe, data"

    def __init__(
        self,
        recipe: str | Recipe = "moons",
        data: Split | None = None,
        *,
        epochs: int | None = None,
        seed: int = 0,
        device: str = "auto",
        source: str = "recipe, data",
    ) -> None:
        own = recipe if isinstance(recipe, Recipe) else None
        short = {name: each for name, each in RECIPES.items() if each.data in (moons, digits)}
        name = own.name if own else str(recipe)
        if own is None and name not in RECIPES:
            raise InvalidInput(
                expected=f"recipe as one of {sorted(RECIPES)}, or a Recipe",
                got=repr(recipe)[:80],
                cause="a recipe that does not exist",
                next_step=f"pass one of the short ones: {sorted(short)}",
            )
        if data is not None and not isinstance(data, Split):
            raise InvalidInput(
                expected="data as a training.Split",
                got=type(data).__name__,
                cause="points without labels, or a pair of them",
                next_step="pass lliptools.training.Split(x_train, y_train, x_test, y_test)",
            )
        # What is one's own is trained by itself; the short recipes stand beside each other.
        self._named = own is None and data is None
        self._recipes = {name: own or RECIPES[name], **(short if self._named else {})}
        self._data = data
        self._asked, self.device = device, as_device(device)
        epochs = min(self._recipes[name].epochs, MOST_EPOCHS) if epochs is None else epochs
        check_start("epochs", epochs, 1, MOST_EPOCHS)
        check_start("seed", seed, 0, LAST_SEED)
        self._run: Run | None = None
        self._thread: Thread | None = None
        controls = {
            "recipe": choice("recipe", "what is trained, on what, by which loss", list(self._recipes), name),
            "epochs": slider("epochs", "passes over the training points", 1, MOST_EPOCHS, 1, epochs),
            "seed": slider("seed", "of the weights and of the order of the points", 0, LAST_SEED, 1, seed),
        }
        self.progress = ipywidgets.IntProgress(
            description="epoch", tooltip="epochs that are done", max=epochs, style={"description_width": "50px"}
        )
        super().__init__(controls, [["recipe"], ["epochs", "seed"]], "" if self._named else source)
        width = {"width": "100px"}
        self.begin = self._button("start", "train from fresh weights", self.start, button_style="primary", layout=width)
        self.halt = self._button("stop", "end the run after the present epoch", self.stop, disabled=True, layout=width)
        lines: list[ipywidgets.Widget] = list(getattr(self, "children"))  # noqa: B009 - a trait, which has no type
        self.children = (*lines[:2], ipywidgets.HBox([self.begin, self.halt, self.progress]), *lines[2:])

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
        chosen = self._recipes[self.controls["recipe"].value]
        try:
            data = self._data or chosen.data()
            held = chosen.hold_out or (0 if data.x_validation is not None else int(HELD_OUT * len(data.x_train)))
            recipe = replace(chosen, epochs=self.controls["epochs"].value, hold_out=held)
            with torch.random.fork_rng(devices=[]):  # a run must not change what other cells draw
                torch.manual_seed(self.controls["seed"].value)
                net = recipe.network().to(recipe.dtype)
        except Exception as error:  # no data here, or a network that cannot be built: said where a reader looks
            self._run = Run(chosen, History(chosen.name, nn.Sequential()), Event(), _failed(error))
            self._shown()
            return
        self._run = run = Run(recipe, History(recipe.name, net), Event())
        self._shown()
        loop = running_loop()
        if loop is None:
            _train(run, net, data, self.device, self.controls["seed"].value, self._shown)
        else:
            show = _from_thread(loop, lambda: self._shown() if self._run is run else None)
            arguments = (run, net, data, self.device, self.controls["seed"].value, show)
            self._thread = Thread(target=_train, args=arguments, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the run after the present epoch; what it has trained stays."""
        if self.running and self._run is not None:
            self._run.stop.set()
            self.halt.disabled = True
            self._write()

    def _shown(self) -> None:
        """Bring buttons, bar, curves and words to where the run stands."""
        with self._turn:
            going = self.running
            for control in (*self.controls.values(), self.begin, self.reset):
                control.disabled = going
            self.halt.disabled = not going or (self._run is not None and self._run.stop.is_set())
            if self._run is not None:
                self.progress.max, self.progress.value = self._run.recipe.epochs, len(self._run.history)
            self._draw()

    def _figure(self, *, coarse: bool) -> go.Figure:
        if self._run is None:
            return training(History("", nn.Sequential()), self.controls["epochs"].value)
        return training(self._run.history, self._run.recipe.epochs)

    def _summary(self) -> tuple[str, ...]:
        run = self._run
        if run is None:
            return (f"nothing trained yet: press start · trains on {self.device}",)
        done = f"{run.recipe.name}: epoch {len(run.history)} of {run.recipe.epochs}"
        state = run.words or ("stopping after this epoch" if run.stop.is_set() else "training")
        state += f" · on {self.device}"
        if not len(run.history):
            return (f"{done} · {state}",)
        last = run.history.epochs[-1]
        numbers = [f"loss {last['loss']:.4g}", f"clean {last['clean']:.3f} on training batches"]
        if "validation_clean" in last:
            numbers.append(f"held out: clean {last['validation_clean']:.3f}")
            numbers.append(f"certified {last['validation_certified']:.3f} at ε = {radius_text(run.recipe.radii[0])}")
        return f"{done} · {state}", " · ".join(numbers)

    def _keywords(self) -> dict[str, object]:
        shown: dict[str, object] = {"recipe": self.controls["recipe"].value} if self._named else {}
        shown |= {"epochs": self.controls["epochs"].value, "seed": self.controls["seed"].value}
        return shown if self._asked == "auto" else shown | {"device": self._asked}


def _train(
    run: Run, net: nn.Sequential, data: Split, device: torch.device, seed: int, show: Callable[[], None]
) -> None:
    """Train to the end, to a stop or to an error, and say which; show is called after every epoch and at the end."""

    def watch(history: History) -> bool:
        run.history = history
        show()
        return run.stop.is_set()

    try:
        fit(net, data, run.recipe, device=device, seed=seed, callback=watch)
        stopped = len(run.history) < run.recipe.epochs
        run.words = f"stopped after epoch {len(run.history)}: the network stays as it is" if stopped else "done"
    except KeyboardInterrupt:
        run.words = f"interrupted in epoch {len(run.history) + 1}"
    except Exception as error:  # whatever a run dies of is said where a reader looks
        run.words = _failed(error)
    finally:
        run.words = run.words or "ended"
        show()


def _failed(error: Exception) -> str:
    kind = "not a number" if isinstance(error, FloatingPointError) else "failed"
    return f"{kind}: {error}"


def _from_thread(loop: asyncio.AbstractEventLoop, show: Callable[[], None]) -> Callable[[], None]:
    """The same call, made in the kernel's own thread."""

    def ask() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(show)

    return ask
