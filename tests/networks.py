"""Networks on which every bound is held against the truth."""

import torch
from torch import Tensor, nn

from lliptools import nets


def random_mlp(*sizes, activation="relu", seed=0, dtype=torch.float64) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nets.mlp(*sizes, activation=activation, theta=0.3)
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(2.0)
    return net.to(dtype)


def dead_layer() -> nn.Sequential:
    """Its second layer puts out 0 whatever comes in."""
    net = random_mlp(3, 8, 6, 4)
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.fill_(-1.0)
    return net


def scaled(factor: float) -> nn.Sequential:
    net = random_mlp(3, 8, 6, 4, activation="clipped_relu")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(factor)
    return net


def zero_thresholds() -> nn.Sequential:
    net = random_mlp(3, 8, 6, 4, activation="clipped_relu")
    with torch.no_grad():
        net[1].theta[::2] = 0.0
    return net


NETWORKS = {
    "relu": lambda: random_mlp(3, 16, 12, 4),
    "clipped": lambda: random_mlp(3, 16, 12, 4, activation="clipped_relu", seed=1),
    "deep": lambda: random_mlp(3, 8, 8, 8, 8, 5, seed=2),
    "float32": lambda: random_mlp(3, 16, 12, 4, activation="clipped_relu", seed=3, dtype=torch.float32),
    "one layer": lambda: random_mlp(3, 4, seed=4),
    "dead layer": dead_layer,
    "weights of 1e-5": lambda: scaled(1e-5),
    "weights of 1e5": lambda: scaled(1e5),
    "theta 0": zero_thresholds,
    "fold": lambda: nets.fold(3, 2),
    "one threshold, fixed": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(3, 7), nets.ClippedReLU(0.4, learnable=False), nn.Linear(7, 5), nn.Linear(5, 4)
    ),
    "ends in an activation": lambda: nn.Sequential(nn.Linear(3, 6, bias=False), nn.ReLU(), nn.Linear(6, 4), nn.ReLU()),
    "starts with an activation": lambda: nn.Sequential(nn.ReLU(), nn.Linear(3, 4)),
}
RADII = (0.0, 1e-12, 0.01, 0.1, 0.5, 3.0, 1e3)


def points(net: nn.Sequential, count: int = 6, seed: int = 0) -> Tensor:
    """Points of the networks above, all of which take three features."""
    generator = torch.Generator().manual_seed(seed)
    dtype = next((p.dtype for p in net.parameters()), torch.float64)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64).to(dtype)


def jacobians(net: nn.Sequential, samples: Tensor) -> Tensor:
    """(samples, features) -> (samples, outputs, features)."""
    return torch.func.vmap(torch.func.jacrev(lambda row: net(row[None])[0]))(samples)


def in_ball(center: Tensor, eps: float, count: int, seed: int = 0) -> Tensor:
    """Points of the closed ball around one point, half of them on its sphere: (features,) -> (count, features)."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(count, len(center), generator=generator, dtype=torch.float64)
    direction = direction / direction.norm(dim=1, keepdim=True)
    length = torch.rand(count, 1, generator=generator, dtype=torch.float64) ** (1 / len(center))
    length[::2] = 1.0
    return center.double() + eps * (1 - 1e-12) * length * direction
