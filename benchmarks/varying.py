"""How many units vary in a ball: what is seen to vary, and what the boxes allow. Tighter boxes could win the gap.

LLIPTOOLS_DATA=... python benchmarks/varying.py    # writes benchmarks/results/varying.md; two minutes

A unit is seen to vary where its activation at the point differs from that at x + eps g/|g| or at x - eps g/|g|, g the
gradient of its pre-activation: a lower bound of those that vary. The boxes of the local bound give an upper one.
"""

from pathlib import Path

import torch
from common import machine, table
from torch import Tensor, nn

import lliptools as ll
from lliptools.training import as_float

PAGE = Path(__file__).parent / "results" / "varying.md"
FAMILIES = {"digits-0.5": 0.3, "mnist-mlp-0.3": 0.3, "mnist-maxmin": 0.3, "mnist-small": 0.3, "cifar10-small": 36 / 255}
KINDS = ("standard", "global", "local", "clipped", "sparse")
POINTS, UNITS = 5, 200  # points, and units a layer and point, evenly spread


def layers(net: nn.Sequential, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Pre-activations and activations (batch, units) of every hidden layer."""
    found, h = [], x
    for layer in net:
        z, h = h, layer(h)
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.Flatten):
            found.append((z.flatten(1), h.flatten(1)))
    return found


def seen_to_vary(net: nn.Sequential, x: Tensor, eps: float) -> list[float]:
    """The share of units of each layer that are seen to vary around one point x (1, *sample)."""
    shares = []
    for depth, (z, h) in enumerate(layers(net, x)):
        units = torch.linspace(0, z.shape[1] - 1, min(UNITS, z.shape[1])).long()
        copies = x.expand(len(units), *x.shape[1:]).clone().requires_grad_()
        layers(net, copies)[depth][0][torch.arange(len(units)), units].sum().backward()
        assert copies.grad is not None
        g = copies.grad.flatten(1)
        step = (eps * g / g.norm(dim=1, keepdim=True).clamp(min=1e-300)).view_as(copies)
        varies = torch.zeros(len(units), dtype=torch.bool)
        for sign in (-1, 1):
            moved = layers(net, (x + sign * step).detach())[depth][1]
            varies |= moved[torch.arange(len(units)), units] != h[0, units]
        shares.append(varies.double().mean().item())
    return shares


def row(name: str, eps: float) -> list[object]:
    """Mean shares over some points."""
    net, data = ll.nets.load(name), ll.training.recipe(name).data()
    x = as_float(data.x_test[:POINTS], torch.float64)
    bound, whole = ll.local_bound(net, x, eps), ll.global_bound(net, x)
    allowed = [(block.slope != 0).double().mean().item() for block in bound.blocks if block.activation is not None]
    seen = [seen_to_vary(net, x[n : n + 1], eps) for n in range(POINTS)]
    means = [sum(layer) / POINTS for layer in zip(*seen, strict=True)]
    shares = " · ".join(f"{low:.2f} to {high:.2f}" for low, high in zip(means, allowed, strict=True))
    return [name, f"{eps:.3g}", shares, (bound.value / whole.value).mean().item()]


def main() -> None:
    """The page."""
    torch.set_num_threads(1)
    rows = [row(f"{family}-{kind}", eps) for family, eps in FAMILIES.items() for kind in KINDS]
    text = (
        "# How many units vary in a ball\n\n"
        f"Made by `python benchmarks/varying.py` with {machine()}, on {POINTS} test points. For every hidden layer: "
        "the share of units that are seen to vary, to the share that the boxes allow to vary. Even boxes without "
        "slack could strike no more than the first number leaves.\n\n"
        f"{table(['network', 'eps', 'units that vary, layer by layer', 'local / global'], rows)}\n"
    )
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
