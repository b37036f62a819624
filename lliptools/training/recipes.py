"""Recipes by name: everything that a training run depends on but the seed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput
from lliptools.layers import lipschitz_cnn, lipschitz_mlp, sll_network
from lliptools.nets import mlp
from lliptools.training.augmentation import crop_and_flip
from lliptools.training.data import Split, digits, moons
from lliptools.training.images import cifar10, mnist
from lliptools.training.objectives import Certified, Clean, Objective, Offset
from lliptools.training.schedules import HoldThenFall, Schedule, Triangle

__all__ = ["RECIPES", "Recipe", "recipe"]

HOLD_THEN_FALL = HoldThenFall(1e-5)


@dataclass(frozen=True)
class Recipe:
    """One training run.

    data: what to train on. network: a partial call of a function of lliptools that builds the network. objective: what
    is minimised. radii: at which the result is measured on the test points, in input units. learning_rate: at its
    peak; schedule says how it changes. betas and weight_decay: of AdamW. augment: as of training.batches.
    dtype: in which it is trained. hold_out: how many training points are kept from training, as a validation part.
    dtype: in which it is trained. norm_steps: of training.SharedNorm, which estimates norms; None for exact norms.
    """

    name: str
    data: Callable[[], Split]
    network: partial[nn.Sequential]
    objective: Objective
    epochs: int
    radii: tuple[float, ...] = (0.1,)
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: Schedule = HOLD_THEN_FALL
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    augment: Callable[..., Tensor] | None = None
    dtype: torch.dtype = torch.float64
    hold_out: int = 0
    norm_steps: int | None = None


def _by_design(kind: str) -> Recipe:
    """The same digits, layers, loss and epochs for every kind of 1-Lipschitz layer."""
    return Recipe(
        f"{kind}-digits",
        digits,
        partial(lipschitz_mlp, kind, 64, 10, depth=4),
        Offset(math.sqrt(2) * 0.5),
        epochs=60,
        radii=(0.1, 0.3, 0.5, 1.0),
        learning_rate=1e-2,
        schedule=Triangle(),
        betas=(0.5, 0.9),
    )


def _sll(size: str) -> Recipe:
    """The paper's run on CIFAR-10."""
    return Recipe(
        f"sll-{size}",
        cifar10,
        partial(sll_network, size),
        Offset(3 * math.sqrt(2) / 2),
        epochs=1000,
        radii=(36 / 255, 72 / 255, 108 / 255, 1.0),
        batch_size=256,
        learning_rate=1e-2,
        schedule=Triangle(),
        betas=(0.5, 0.9),
        augment=crop_and_flip,
        dtype=torch.float32,
    )


RECIPES = {
    each.name: each
    for each in (
        Recipe("moons", moons, partial(mlp, 2, 16, 16, 2), Clean(), epochs=200, learning_rate=5e-3, weight_decay=1e-3),
        Recipe("digits-relu", digits, partial(mlp, 64, 128, 128, 10), Clean(), epochs=60, weight_decay=1e-3),
        Recipe(
            "digits-clipped",
            digits,
            partial(mlp, 64, 128, 128, 10, activation="clipped_relu", theta=0.3),
            Certified(eps=0.1, sparsity=3.0),
            epochs=120,
        ),
        *(_by_design(kind) for kind in ("spectral", "aol", "cpl", "sll", "cayley", "bro", "sandwich")),
        Recipe(
            "sll-mnist",
            mnist,
            partial(lipschitz_cnn, "sll", (1, 28, 28), 10, channels=16, convolutions=3, dense=2, inner=256),
            Offset(3 * math.sqrt(2) / 2),
            epochs=6,
            radii=(0.1, 0.3, 0.5, 1.58),
            batch_size=256,
            learning_rate=1e-2,
            schedule=Triangle(),
            betas=(0.5, 0.9),
            dtype=torch.float32,
        ),
        *(_sll(size) for size in ("small", "medium", "large", "xlarge")),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InvalidInput, with the names there are, for any other."""
    if name not in RECIPES:
        raise InvalidInput(
            expected=f"one of {sorted(RECIPES)}",
            got=repr(name),
            cause="a recipe that does not exist",
            next_step="`lliptools recipes` lists them",
        )
    return RECIPES[name]
