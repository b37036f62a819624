"""One training run, as far as it has come."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event

import torch
from torch import Tensor, nn

from lliptools.bounds import local_bound, round_up
from lliptools.digits import radius_text
from lliptools.nets import available, provenance
from lliptools.teach.shared.units import ON, dense_weights, every_unit, hidden
from lliptools.training import History, Recipe, Split, fit

HELD_OUT = 0.1  # of the training points, on which clean and certified accuracy are measured after every epoch


@dataclass(frozen=True, eq=False)
class Near:
    """A small dense network of an epoch near one point: what of its matrices is not masked.

    * matrices: (rows, columns) float32 each. constant: the local bound on the ball of radius eps
    * states: (units,) of all hidden units, by the codes of shared.units; boxes: (units, 2) their pre-activations
    * names: of the two values at which units are constant
    """

    matrices: tuple[Tensor, ...]
    eps: float
    constant: float
    states: Tensor
    boxes: Tensor
    names: tuple[str, str]

    def words(self, epoch: int) -> str:
        """What is seen, in a sentence."""
        vary = f"{int((self.states >= ON).sum())} of {len(self.states)} units vary"
        ball = f"within ε = {radius_text(self.eps)} of the first test point"
        return f"after epoch {epoch} {vary} {ball}, L ≤ {round_up(self.constant)} there"


def near(net: nn.Module, x: Tensor, eps: float) -> Near | None:
    """The network near the point x, (1, *sample); None where its matrices are not drawn one by one."""
    with torch.no_grad():
        found = local_bound(net, x.double(), eps)
    matrices, layers = dense_weights(found.blocks), hidden(found.blocks)
    if not matrices:
        return None
    return Near(matrices, eps, found.value[0].item(), *every_unit(layers, 0), layers[0].constants)


class Run:
    """One run, with a fresh network.

    * history: as far as it has come
    * near: of the network of every epoch at the first test point, by the radius of the recipe; None where it is large
    * stop: set to end it after the present epoch
    * words: how it ended; from the start where there is no data, or no network can be built
    """

    def __init__(self, chosen: Recipe, data: Split | None, epochs: int, seed: int) -> None:
        self.recipe, self.data, self.seed = chosen, data, seed
        self.history, self.stop, self.words = History(chosen.name, nn.Sequential()), Event(), ""
        self.near: list[Near | None] = []
        try:
            self.data = data = data or chosen.data()
            held = chosen.hold_out or (0 if data.x_validation is not None else int(HELD_OUT * len(data.x_train)))
            recipe = replace(chosen, epochs=epochs, hold_out=held, radii=radii(chosen))
            with torch.random.fork_rng(devices=[]):  # a run must not change what other cells draw
                torch.manual_seed(seed)
                self.history = History(recipe.name, recipe.network().to(recipe.dtype))
            self.recipe = recipe
        except Exception as error:
            self.words = _failed(error)

    def at(self, epoch: int) -> tuple[int, Near | None]:
        """The epoch, or the last one before it that is done, 0 where none is; and its network near a point."""
        done = min(epoch, len(self.near))
        return done, self.near[done - 1] if done else None

    def summary(self, device: torch.device, shown: int) -> tuple[str, ...]:
        """An epoch in a sentence, at most the last one; then how far the run is, and the numbers of the epoch."""
        state = self.words or ("stopping after this epoch" if self.stop.is_set() else "training")
        done = f"{self.recipe.name}: epoch {len(self.history)} of {self.recipe.epochs} · {state} · on {device}"
        if not len(self.history):
            return (done,)
        number = min(max(shown, 1), len(self.history))
        epoch = self.history.epochs[number - 1]
        numbers, verdict = [f"loss {epoch['loss']:.4g}", f"clean {epoch['clean']:.3f} on training batches"], ""
        if "validation_clean" in epoch:
            clean, certified = (f"{epoch[f'validation_{name}']:.3f}" for name in ("clean", "certified"))
            eps = radius_text(self.recipe.radii[0])
            numbers += [f"held out: clean {clean}", f"certified {certified} at ε = {eps}"]
            verdict = f", clean {clean}, certified {certified} at ε = {eps} on held-out points"
        at = f"Epoch {number} of {self.recipe.epochs}{verdict or f', loss {numbers[0][5:]}'}"
        return f"{at} · {state.split(':')[0]}.", done, " · ".join(numbers)

    def _near(self, net: nn.Module, device: torch.device) -> Near | None:
        if self.data is None or not self.recipe.radii or (self.near and not self.near[-1]):
            return None
        return near(net, self.data.x_test[:1].to(device), self.recipe.radii[0])

    def train(self, device: torch.device, show: Callable[[], None]) -> None:
        """Train to the end, to a stop or to an error, and say which; show: called after every epoch and at the end."""

        def watch(history: History) -> bool:
            self.near.append(self._near(history.net, device))
            self.history = history
            show()
            return self.stop.is_set()

        try:
            assert self.data is not None
            fit(self.history.net, self.data, self.recipe, device=device, seed=self.seed, callback=watch)
            stopped = f"stopped after epoch {len(self.history)}: the network stays as it is"
            self.words = stopped if len(self.history) < self.recipe.epochs else "done"
        except KeyboardInterrupt:
            self.words = f"interrupted in epoch {len(self.history) + 1}"
        except Exception as error:  # whatever a run dies of is said where a reader looks
            self.words = _failed(error)
        finally:
            self.words = self.words or "ended"
            show()


def radii(recipe: Recipe) -> tuple[float, ...]:
    """The radius at which a run counts what is certified: the one that it is trained for, else the recipe's first."""
    trained_for = getattr(recipe.objective, "eps", None)
    return recipe.radii[:1] if trained_for is None else (trained_for,)


def reached(recipe: Recipe) -> dict[str, float]:
    """Clean and certified accuracy of the shipped network of a recipe, at its radius; empty where none is shipped.

    global: certified accuracy of its twin with the global bound in the loss, where there is one.
    """
    found = _held_out(recipe.name, radii(recipe))
    family, _, kind = recipe.name.rpartition("-")
    twin = _held_out(f"{family}-global", radii(recipe)) if kind in ("local", "clipped", "sparse") else {}
    return found | ({"global": twin["certified"]} if twin else {})


def _held_out(name: str, eps: tuple[float, ...]) -> dict[str, float]:
    if name not in available():
        return {}
    known = provenance(name)
    same = [each for each in known.get("held_out", []) if (each.get("eps"),) == eps] if known["recipe"] == name else []
    return {what: same[0][what] for what in ("clean", "certified")} if same else {}


def _failed(error: Exception) -> str:
    kind = "not a number" if isinstance(error, FloatingPointError) else "failed"
    return f"{kind}: {error}"
