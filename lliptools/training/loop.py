"""The loop: Adam on the worst logits that a bound allows."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lliptools.bounds import local_bound
from lliptools.nets import ClippedReLU, mlp
from lliptools.training.data import Split
from lliptools.training.losses import sparsity_loss, worst_logits
from lliptools.training.recipes import Recipe

__all__ = ["fit"]

SMALLEST_THETA = 1e-3


def fit(recipe: Recipe, data: Split, *, seed: int = 0, progress: bool = False) -> nn.Sequential:
    """Train the recipe's network on data, in float64 on the data's device; returned in evaluation mode.

    The loss is κ·CE(f) + (1 − κ)·(CE(worst logits) + sparsity·sparsity loss), κ falling from 1 to 0 as eps grows.
    The worst logits rest on the local bound with exact norms. Raises FloatingPointError where the loss stops being
    finite. Source: Huang et al. (NeurIPS 2021), the loss that is there combined with BCP.
    """
    from tqdm.auto import tqdm

    torch.manual_seed(seed)
    device = data.x_train.device
    net = mlp(*recipe.sizes, activation=recipe.activation, theta=recipe.theta).double().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    for epoch in tqdm(range(recipe.epochs), desc=recipe.name, disable=not progress):
        ramp = min(1.0, 2 * epoch / recipe.epochs)
        decay = max(0.0, 2 * epoch / recipe.epochs - 1)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (recipe.learning_rate_end / recipe.learning_rate) ** decay
        for batch in torch.randperm(len(data.x_train)).to(device).split(recipe.batch_size):
            loss = _loss(net, data.x_train[batch], data.y_train[batch], recipe, ramp)
            if not loss.isfinite():
                raise FloatingPointError(f"the loss of {recipe.name} is {loss.item()} in epoch {epoch}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            _project_thresholds(net)
    return net.eval()


def _loss(net: nn.Sequential, x: Tensor, y: Tensor, recipe: Recipe, ramp: float) -> Tensor:
    logits = net(x)
    clean = cross_entropy(logits, y)
    if recipe.eps == 0 or ramp == 0:
        return clean
    bound = local_bound(net, x, ramp * recipe.eps, differentiable=True)
    certified = cross_entropy(worst_logits(logits, bound.pairwise(y), bound.eps, y), y)
    if recipe.sparsity:
        certified = certified + recipe.sparsity * sparsity_loss(net, bound)
    return (1 - ramp) * clean + ramp * certified


@torch.no_grad()
def _project_thresholds(net: nn.Sequential) -> None:
    for layer in net:
        if isinstance(layer, ClippedReLU):
            layer.theta.clamp_(min=SMALLEST_THETA)
