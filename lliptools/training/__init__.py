"""Training: data, losses, recipes, the loop."""

from lliptools.training.data import Split, digits, moons
from lliptools.training.loop import fit
from lliptools.training.losses import sparsity_loss, worst_logits
from lliptools.training.recipes import RECIPES, Recipe, recipe

__all__ = ["RECIPES", "Recipe", "Split", "digits", "fit", "moons", "recipe", "sparsity_loss", "worst_logits"]
