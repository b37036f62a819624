"""Training: data, augmentation and batches, losses, recipes, the loop."""

from lliptools.training.augmentation import crop_and_flip
from lliptools.training.batches import as_float, batches
from lliptools.training.data import Split, digits, moons
from lliptools.training.images import cifar10, mnist, tiny_imagenet
from lliptools.training.loop import fit
from lliptools.training.losses import sparsity_loss, worst_logits
from lliptools.training.recipes import RECIPES, Recipe, recipe

__all__ = [
    "RECIPES",
    "Recipe",
    "Split",
    "as_float",
    "batches",
    "cifar10",
    "crop_and_flip",
    "digits",
    "fit",
    "mnist",
    "moons",
    "recipe",
    "sparsity_loss",
    "tiny_imagenet",
    "worst_logits",
]
