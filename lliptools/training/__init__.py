"""Training: data, augmentation and batches, losses and objectives, recipes, the loop."""

from lliptools.bounds.estimated import estimated_bound
from lliptools.training.augmentation import crop_and_flip
from lliptools.training.batches import as_float, batches
from lliptools.training.data import Split, digit_images, digits, moons
from lliptools.training.history import History
from lliptools.training.images import cifar10, mnist, tiny_imagenet
from lliptools.training.loop import fit
from lliptools.training.losses import (
    adaptive_rise,
    annealed,
    bcp,
    gloro,
    lmt,
    offset_cross_entropy,
    sparsity_loss,
    worst_logits,
)
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
from lliptools.training.schedules import HoldThenFall, Schedule, Triangle

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
    "HoldThenFall",
    "Objective",
    "Offset",
    "Recipe",
    "Schedule",
    "SharedNorm",
    "Split",
    "Triangle",
    "adaptive_rise",
    "annealed",
    "as_float",
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
    "offset_cross_entropy",
    "recipe",
    "sparsity_loss",
    "tiny_imagenet",
    "worst_logits",
]
