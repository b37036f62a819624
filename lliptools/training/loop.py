"""The loop: AdamW on a recipe's objective, resumed where it was interrupted, in one process or in several."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

import lliptools
from lliptools.certificates.attacks import is_correct
from lliptools.certificates.stages import certify_in_stages
from lliptools.errors import InvalidInput
from lliptools.nets import ClippedReLU
from lliptools.training import checkpoints
from lliptools.training.batches import batches
from lliptools.training.data import Split
from lliptools.training.diagnosis import all_finite, first_not_finite, largest_weight
from lliptools.training.distributed import Team, as_device
from lliptools.training.history import History
from lliptools.training.norms import SharedNorm
from lliptools.training.recipes import Recipe

SMALLEST_THETA = 1e-3
MEASURED = 32  # batches of an epoch, more or less, whose accuracy is measured: it costs a forward pass of its own
AT_ONCE = 256  # points of the validation part
IN_THE_BAR = {"loss": "loss", "clean": "clean", "validation_certified": "certified"}


def fit(
    net: nn.Sequential,
    data: Split,
    recipe: Recipe,
    *,
    device: str | torch.device | None = None,
    seed: int | None = None,
    progress: bool = False,
    checkpoint: Path | None = None,
    callback: Callable[[History], bool | None] | None = None,
) -> History:
    """Train a network in place on data by a recipe, and leave it in evaluation mode; History.net is the same network.

    * device: where to train; by default where the network is.
    * seed: of order and augmentation, which are then the same on every device. By default they are drawn from torch's
      random numbers: with torch.manual_seed before the network is built, weights and batches are the same each time.
    * progress: show a bar. callback: called with the history after each epoch, in evaluation mode; True ends the run.
    * checkpoint: a folder of its own, which after every epoch contains where the run stands; the same call resumes
      there, and on a CPU ends, bit by bit, as a run that was not interrupted.
    * recipe.hold_out points are held out first, and measured by the local bound at recipe.radii[0] every epoch.
    * Where torch.distributed is initialised all its processes have to call; see training.distributed.

    Raises FloatingPointError where the loss or a weight stops being finite, and InvalidInput for the checkpoint of
    another run, a damaged one, a folder in which another process trains, a bad seed and a device that is not here.
    """
    from tqdm.auto import tqdm

    run = _Run(net, data, recipe, device, seed)
    leads = run.team.leads
    try:
        with checkpoints.held(checkpoint) if checkpoint and leads else nullcontext():
            history = run.resumed(checkpoint) if checkpoint else History(recipe.name, net)
            bar = tqdm(total=recipe.epochs, initial=len(history), desc=recipe.name, disable=not (progress and leads))
            # Half precision, should the caller have asked torch for it, would make bounds worthless.
            with bar, torch.autocast(run.device.type, enabled=False):
                while len(history) < recipe.epochs:
                    history = history.then(run.epoch(len(history)))
                    if checkpoint and leads:
                        run.store(checkpoint, history)
                    found = history.epochs[-1]
                    shown = {label: f"{found[name]:.4g}" for name, label in IN_THE_BAR.items() if name in found}
                    bar.set_postfix(shown, refresh=False)
                    bar.update()
                    with _same_random_numbers(run.device):
                        done = bool(callback and leads and callback(history))
                    if run.team.total(torch.tensor(float(done), device=run.device)):
                        break
    finally:
        net.eval()
    return history


class _Run:
    """A training run between two steps."""

    def __init__(
        self, net: nn.Sequential, data: Split, recipe: Recipe, device: str | torch.device | None, seed: int | None
    ) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            why = "a generator, or a number that was read as text", "pass seed=0"
            raise InvalidInput("seed as a whole number, or None for torch's random numbers", repr(seed)[:80], *why)
        self.team = Team.here()
        self.team.check(net)
        if self.team.size > 1 and getattr(recipe.objective, "bound", "") == "centred":
            why = "slopes that a class shares, whose gradient would stay in its process", "train in one process"
            raise InvalidInput("a bound other than the centred one, with several processes", recipe.name, *why)
        self.net = net if device is None else net.to(as_device(device))
        self.recipe = recipe
        self.parameters = list(net.parameters())
        self.device, self.dtype = self.parameters[0].device, self.parameters[0].dtype
        self.data = (data.hold_out(recipe.hold_out) if recipe.hold_out else data).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.parameters, recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay
        )
        self.norm = SharedNorm(recipe.norm_steps) if recipe.norm_steps else None
        self.kept: dict[str, checkpoints.Kept] = {"weights": net, **({"norm": self.norm} if self.norm else {})}
        self.seed = f"{torch.initial_seed()} (torch's)" if seed is None else f"{seed}"
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)
        if self.team.size > 1:
            # What a share draws, as dropout does, differs with its size: from the same numbers the processes would
            # soon shuffle differently. Order and augmentation have theirs, those that torch would draw on a CPU.
            start = torch.get_rng_state() if self.generator is None else self.generator.get_state()
            self.generator = torch.Generator().set_state(self.team.adopted(start.to(self.device)).cpu())
            for value in net.state_dict().values():
                self.team.adopted(value)

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the training points; what History says of it."""
        start, recipe, data = perf_counter(), self.recipe, self.data
        rate = recipe.schedule(recipe.learning_rate, number, recipe.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        every = max(1, len(data.y_train) // recipe.batch_size // MEASURED)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        right, seen = torch.zeros((), dtype=torch.int64, device=self.device), 0
        drawn: dict[str, Any] = {"augment": recipe.augment, "generator": self.generator, "dtype": self.dtype}
        for step, (x, y) in enumerate(batches(*data.stored("train"), recipe.batch_size, **drawn)):
            if step % every == 0:
                right, seen = right + self._right(x, y), seen + len(x)
            loss = loss + len(x) * self._step(x, y, number, step)
        self.net.eval()
        if not all_finite(self.net):  # the last step can have spoilt what no later loss has shown
            raise self._stopped("a weight of {} is not finite", number, step, x)
        numbers = {"loss": loss.item() / len(data.y_train), "clean": float(self.team.total(right)) / seen}
        numbers |= _validated(self.net, data, recipe.radii[0], self.team)
        return {"epoch": number, "learning_rate": rate, **numbers, "seconds": perf_counter() - start}

    @torch.no_grad()
    def _right(self, x: Tensor, y: Tensor) -> Tensor:
        """How many points of this process's share of a batch are classified correctly, 0-dim."""
        self.net.eval()  # so that dropout and batch norm draw and learn nothing from being watched
        x, y = self.team.share(x), self.team.share(y)
        return (self.net(x).argmax(dim=1) == y).sum() if len(x) else torch.zeros_like(y.sum())

    def _step(self, x: Tensor, y: Tensor, epoch: int, step: int) -> Tensor:
        """One step on a batch, of which this process takes its share; the loss of the whole batch, 0-dim float64."""
        self.net.train()
        own_x, own_y = self.team.share(x), self.team.share(y)
        weight = len(own_x) / len(x)
        if not weight:  # all processes go the same way, since norms are shared: this one with a point that counts 0
            own_x, own_y = x[:1], y[:1]
        if self.norm:
            self.norm.total = lambda vector: self.team.total(vector if weight else torch.zeros_like(vector))
        try:
            loss = self.recipe.objective(self.net, own_x, own_y, epoch / self.recipe.epochs, self.norm)
        except InvalidInput as error:
            if all_finite(self.net):
                raise
            raise self._stopped("a weight of {} is not finite", epoch, step, x) from error  # so a bound refused it
        total = self.team.total(weight * loss.detach().double())
        if not total.isfinite():
            raise self._stopped(f"the loss of {{}} is {total.item()}", epoch, step, x)
        self.optimizer.zero_grad()
        loss.backward()
        self.team.total_gradients(self.parameters, weight)
        self.optimizer.step()
        _project_thresholds(self.net)
        return total

    def _stopped(self, what: str, epoch: int, step: int, x: Tensor) -> FloatingPointError:
        rate = self.optimizer.param_groups[0]["lr"]
        return FloatingPointError(
            f"{what.format(self.recipe.name)} in epoch {epoch}, step {step}: {first_not_finite(self.net, x)}; "
            f"{largest_weight(self.net)}. Next step: a smaller learning rate (here {rate:g}), or points of smaller size"
        )

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What a run has to agree on with the checkpoint it resumes."""
        data = self.data
        parts = {part: data.stored(part) for part in ("train", "validation")}
        return {
            "recipe": checkpoints.described(self.recipe),
            "seed": self.seed,
            "processes": self.team.size,
            "versions": {"lliptools": lliptools.__version__, "torch": torch.__version__},
            "data": {part: None if x is None else [*x.shape] for part, (x, _) in parts.items()},
            "content": {part: checkpoints.digest(x, y) for part, (x, y) in parts.items()},
            "weights": {name: [*value.shape] for name, value in self.net.state_dict().items()},
        }

    def store(self, folder: Path, history: History) -> None:
        tensors = checkpoints.packed(self.kept, self.optimizer, self.generator, self.device)
        checkpoints.write(folder, self._identity, {"history": history.epochs}, tensors)

    def resumed(self, folder: Path) -> History:
        """The history of the checkpoint, after all has been put back as it was; an empty one where there is none."""
        found = checkpoints.read(folder, self._identity)
        if found is None:
            return History(self.recipe.name, self.net)
        record, tensors = found
        try:
            checkpoints.unpack(tensors, self.kept, self.optimizer, self.generator, self.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise checkpoints.damaged(folder, f"tensors of another run: {error}") from error
        return History(self.recipe.name, self.net, tuple(record["history"]))


@torch.no_grad()
def _project_thresholds(net: nn.Sequential) -> None:
    for layer in net.modules():
        if isinstance(layer, ClippedReLU):
            layer.theta.clamp_(min=SMALLEST_THETA)


def _same_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside leaves torch's random numbers as they were: looking on must not change what is trained."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _validated(net: nn.Sequential, data: Split, eps: float, team: Team) -> dict[str, float]:
    """Clean and certified accuracy on the validation part, by the local bound at eps; each of a team has its share."""
    if data.y_validation is None:
        return {}
    x, y = map(team.share, data.stored("validation"))
    counts = torch.zeros(2, dtype=torch.int64, device=x.device)
    with _same_random_numbers(x.device):
        for points, labels in batches(x, y, AT_ONCE, shuffle=False, dtype=torch.float64):
            right = is_correct(net, points, labels)
            # Whoever is misclassified is not certified: only the others cost.
            holds = certify_in_stages(net, points[right], labels[right], eps).holds if right.any() else right
            counts += torch.stack((right.sum(), holds.sum()))
    clean, certified = team.total(counts).tolist()
    of = len(data.y_validation)
    return {"validation_clean": clean / of, "validation_certified": certified / of}
