"""One training run, as far as it has come."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event

import torch
from torch import nn

from lliptools.digits import radius_text
from lliptools.training import History, Recipe, Split, fit

HELD_OUT = 0.1  # of the training points, on which clean and certified accuracy are measured after every epoch


@dataclass
class Run:
    """One run. history: as far as it has come. stop: set to end it after the present epoch. words: how it ended."""

    recipe: Recipe
    history: History
    data: Split | None = None
    stop: Event = field(default_factory=Event)
    words: str = ""

    def summary(self, device: torch.device) -> tuple[str, ...]:
        """The state of the run, and the numbers of its last epoch."""
        state = self.words or ("stopping after this epoch" if self.stop.is_set() else "training")
        done = f"{self.recipe.name}: epoch {len(self.history)} of {self.recipe.epochs} · {state} · on {device}"
        if not len(self.history):
            return (done,)
        last = self.history.epochs[-1]
        numbers = [f"loss {last['loss']:.4g}", f"clean {last['clean']:.3f} on training batches"]
        if "validation_clean" in last:
            numbers.append(f"held out: clean {last['validation_clean']:.3f}")
            numbers.append(f"certified {last['validation_certified']:.3f} at ε = {radius_text(self.recipe.radii[0])}")
        return done, " · ".join(numbers)


def begun(chosen: Recipe, data: Split | None, epochs: int, seed: int) -> Run:
    """A run with a fresh network; where there is no data, or no network can be built, one that says so."""
    try:
        data = data or chosen.data()
        held = chosen.hold_out or (0 if data.y_validation is not None else int(HELD_OUT * len(data.y_train)))
        recipe = replace(chosen, epochs=epochs, hold_out=held)
        with torch.random.fork_rng(devices=[]):  # a run must not change what other cells draw
            torch.manual_seed(seed)
            net = recipe.network().to(recipe.dtype)
    except Exception as error:
        return Run(chosen, History(chosen.name, nn.Sequential()), words=_failed(error))
    return Run(recipe, History(recipe.name, net), data)


def train(run: Run, device: torch.device, seed: int, show: Callable[[], None]) -> None:
    """Train to the end, to a stop or to an error, and say which; show is called after every epoch and at the end."""

    def watch(history: History) -> bool:
        run.history = history
        show()
        return run.stop.is_set()

    try:
        assert run.data is not None
        fit(run.history.net, run.data, run.recipe, device=device, seed=seed, callback=watch)
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
