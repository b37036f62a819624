"""The loop: AdamW on a recipe's objective."""

import torch
from torch import nn

from lliptools.nets import ClippedReLU
from lliptools.training.batches import batches
from lliptools.training.data import Split
from lliptools.training.recipes import Recipe

__all__ = ["fit"]

SMALLEST_THETA = 1e-3


def fit(net: nn.Sequential, data: Split, recipe: Recipe, *, progress: bool = False) -> nn.Sequential:
    """Train a network on data by a recipe, on the network's device; the same network, in evaluation mode.

    Order and augmentation are drawn from torch's random numbers: with torch.manual_seed before the network is built,
    weights and batches are the same each time. progress: show a bar.
    Raises FloatingPointError where the loss stops being finite.
    """
    from tqdm.auto import tqdm

    net.train()
    parameters = list(net.parameters())
    data = data.to(parameters[0].device)
    optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay)
    for epoch in tqdm(range(recipe.epochs), desc=recipe.name, disable=not progress):
        for group in optimizer.param_groups:
            group["lr"] = recipe.schedule(recipe.learning_rate, epoch, recipe.epochs)
        each = batches(data.x_train, data.y_train, recipe.batch_size, augment=recipe.augment, dtype=parameters[0].dtype)
        for x, y in each:
            loss = recipe.objective(net, x, y, epoch / recipe.epochs)
            if not loss.isfinite():
                raise FloatingPointError(f"the loss of {recipe.name} is {loss.item()} in epoch {epoch}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            _project_thresholds(net)
    return net.eval()


@torch.no_grad()
def _project_thresholds(net: nn.Sequential) -> None:
    for layer in net:
        if isinstance(layer, ClippedReLU):
            layer.theta.clamp_(min=SMALLEST_THETA)
