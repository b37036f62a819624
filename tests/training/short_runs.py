"""A run of few epochs on few points of the moons, and what is compared of two of them."""

from dataclasses import replace
from functools import partial

import torch

import lliptools as ll
from lliptools.training import fit

RECIPE = replace(
    ll.training.recipe("moons"),
    network=partial(ll.nets.mlp, 2, 8, 2, activation="clipped_relu"),
    objective=ll.training.Certified(eps=0.1, sparsity=0.1),
    epochs=6,
    hold_out=50,
)


def moons():
    split = ll.training.moons()
    return replace(split, x_train=split.x_train[:300], y_train=split.y_train[:300])


def built(recipe):
    torch.manual_seed(0)
    return recipe.network().to(recipe.dtype)


def without_seconds(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history.epochs]


def same(one, other):
    states = one.net.state_dict(), other.net.state_dict()
    return all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


def one_epoch(folder, data=None, recipe=RECIPE):
    return fit(built(recipe), data or moons(), recipe, seed=0, checkpoint=folder, callback=lambda history: True)
