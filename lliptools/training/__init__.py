"""Training: data, augmentation and batches, losses and objectives, recipes, the loop."""

from lliptools.bounds.estimated import estimated_bound
from lliptools.training.batches import batches, crop_and_flip
from lliptools.training.data import Split, digit_images, digits, moons
from lliptools.training.history import History
from lliptools.training.images import cifar10, mnist, tiny_imagenet
from lliptools.training.loop import fit
from lliptools.training.losses import bcp, gloro, lmt, sparsity_loss
from lliptools.training.norms import SharedNorm
from lliptools.training.objectives import (
    EMMA,
    LMT,
    Adversarial,
    Annealed,
    Certified,
    Clean,
    GloRo,
    Objective,
    Offset,
    changed,
)
from lliptools.training.recipes import RECIPES, Recipe, recipe

__all__ = [
    "EMMA",
    "LMT",
    "RECIPES",
    "Adversarial",
    "Annealed",
    "Certified",
    "Clean",
    "GloRo",
    "History",
    "Objective",
    "Offset",
    "Recipe",
    "SharedNorm",
    "Split",
    "batches",
    "bcp",
    "changed",
    "cifar10",
    "crop_and_flip",
    "digit_images",
    "digits",
    "estimated_bound",
    "fit",
    "gloro",
    "lmt",
    "mnist",
    "moons",
    "recipe",
    "sparsity_loss",
    "tiny_imagenet",
]
