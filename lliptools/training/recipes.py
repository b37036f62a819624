"""Recipes by name: everything that a training run depends on but the seed."""

from collections.abc import Callable
from dataclasses import dataclass

from lliptools.errors import InvalidInput
from lliptools.training.data import Split, digits, moons

__all__ = ["RECIPES", "Recipe", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """One training run.

    eps is the radius trained for, in input units: 0 trains by cross-entropy alone. eps_reported is the radius at
    which the result is measured on the held-out points. The radius grows from 0, and the
    weight of the certified loss with it, over the first half of the epochs. The learning rate is constant over that
    half and falls exponentially to learning_rate_end over the other. sparsity weighs the sparsity loss.
    """

    name: str
    data: Callable[[], Split]
    sizes: tuple[int, ...]
    activation: str
    epochs: int
    eps: float = 0.0
    eps_reported: float = 0.1
    theta: float = 1.0
    sparsity: float = 0.0
    batch_size: int = 128
    learning_rate: float = 1e-3
    learning_rate_end: float = 1e-5
    weight_decay: float = 0.0


RECIPES = {
    each.name: each
    for each in (
        Recipe("moons", moons, (2, 16, 16, 2), "relu", epochs=200, learning_rate=5e-3, weight_decay=1e-3),
        Recipe("digits-relu", digits, (64, 128, 128, 10), "relu", epochs=60, weight_decay=1e-3),
        Recipe(
            "digits-clipped",
            digits,
            (64, 128, 128, 10),
            "clipped_relu",
            epochs=120,
            eps=0.1,
            theta=0.3,
            sparsity=3.0,
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InvalidInput, with the names there are, for any other."""
    if name not in RECIPES:
        raise InvalidInput(
            expected=f"one of {sorted(RECIPES)}",
            got=repr(name),
            cause="a recipe that does not exist",
            next_step="`lliptools train --help` lists them",
        )
    return RECIPES[name]
