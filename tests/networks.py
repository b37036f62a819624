"""Networks on which every bound is held against the truth."""

import copy

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


def random_net(*layers, seed=0) -> nn.Sequential:
    """The layers as a float64 network in evaluation mode, its weights random and not small."""
    torch.manual_seed(seed)
    net = nn.Sequential(*layers).double()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "theta" not in name:
                parameter.normal_(std=0.6)
        for name, buffer in net.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 2.0)
    return net.eval()


def dense(activation, seed=0) -> nn.Sequential:
    second = copy.deepcopy(activation)
    return random_net(nn.Linear(3, 8), activation, nn.Linear(8, 6), second, nn.Linear(6, 4), seed=seed)


def convolutional(activation=None) -> nn.Sequential:
    """Three features as a signal, and as an image."""
    return random_net(
        nn.Unflatten(1, (1, 3)),
        nn.Conv1d(1, 4, 3, padding="same", padding_mode="circular"),
        nn.BatchNorm1d(4),
        activation or nn.ReLU(),
        nn.Unflatten(1, (2, 2)),
        nn.Conv2d(2, 4, 2, padding=1, stride=(1, 2), groups=2, bias=False),
        nn.AvgPool2d(2, 1),
        nn.Dropout(0.3),
        copy.deepcopy(activation) if activation else nn.ReLU(),
        nn.Sequential(nn.Identity(), nn.Flatten()),
        nn.Linear(8, 4),
    )


def residual(activation) -> nn.Sequential:
    def block(width, inner):
        return nets.Residual(nn.Sequential(nn.Linear(width, inner), copy.deepcopy(activation), nn.Linear(inner, width)))

    return random_net(nn.Linear(3, 6), copy.deepcopy(activation), block(6, 4), nn.ReLU(), block(6, 4), nn.Linear(6, 4))


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
    "leaky": lambda: dense(nn.LeakyReLU(0.2)),
    "hard": lambda: random_net(
        nn.Linear(3, 8), nn.Hardtanh(-0.5, 0.7), nn.Linear(8, 6), nn.ReLU6(), nn.Flatten(), nn.Linear(6, 4)
    ),
    "tanh": lambda: dense(nn.Tanh()),
    "sigmoid": lambda: dense(nn.Sigmoid(), seed=1),
    "softplus": lambda: dense(nn.Softplus(beta=3.0, threshold=40), seed=2),
    "elu": lambda: dense(nn.ELU(alpha=1.5), seed=3),
    "gelu": lambda: dense(nn.GELU(), seed=6),
    "prelu, of any sign": lambda: random_net(
        nn.Linear(3, 8), nn.PReLU(8), nn.Linear(8, 6), nn.PReLU(6), nn.Linear(6, 4)
    ),
    "maxmin": lambda: dense(nets.MaxMin(), seed=4),
    "clipped maxmin": lambda: dense(nets.ClippedMaxMin(0.3, -0.2), seed=5),
    "convolutional": lambda: convolutional(),
    "convolutional, clipped by channel": lambda: convolutional(nets.ClippedReLU(0.4)),
    "pooled": lambda: random_net(
        *(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2, padding=2), nn.ReLU(), nn.MaxPool1d(3, 2), nn.Conv1d(4, 4, 2)),
        *(nn.Tanh(), nn.Flatten(), nn.Linear(4, 4)),
        seed=1,
    ),
    "residual": lambda: residual(nn.ReLU()),
    "residual, clipped": lambda: residual(nets.ClippedReLU(0.5)),
    "residual, smooth": lambda: residual(nn.Softplus(threshold=40)),
    "residual, hardswish": lambda: residual(nn.Hardswish()),
    "starts with an activation": lambda: nn.Sequential(nn.ReLU(), nn.Linear(3, 4)),
}
# Those whose regions the exact search can cut: piecewise linear units, one layer after the other.
PIECEWISE = [
    name
    for name in NETWORKS
    if not any(other in name for other in ("tanh", "sigmoid", "softplus", "elu", "maxmin", "residual", "pooled"))
    or name in ("relu", "prelu, of any sign")
]
# One of each kind, for what is drawn of a bound that is tested on all of them.
VARIED = (
    *("relu", "clipped", "float32", "one layer", "dead layer", "ends in an activation", "tanh", "clipped maxmin"),
    *("convolutional, clipped by channel", "pooled", "residual, clipped", "starts with an activation"),
)
RADII = (0.0, 1e-12, 0.01, 0.1, 0.5, 3.0, 1e3)


def points(net: nn.Sequential, count: int = 6, seed: int = 0) -> Tensor:
    """Points of the networks above, all of which take three features."""
    generator = torch.Generator().manual_seed(seed)
    dtype = next((p.dtype for p in net.parameters()), torch.float64)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64).to(dtype)


def jacobians(net: nn.Sequential, samples: Tensor) -> Tensor:
    """(samples, features) -> (samples, outputs, features)."""
    return torch.autograd.functional.jacobian(lambda rows: net(rows).sum(dim=0), samples).transpose(0, 1)


def in_ball(center: Tensor, eps: float, count: int, seed: int = 0) -> Tensor:
    """Points of the closed ball around one point, half of them on its sphere: (features,) -> (count, features)."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(count, len(center), generator=generator, dtype=torch.float64)
    direction = direction / direction.norm(dim=1, keepdim=True)
    length = torch.rand(count, 1, generator=generator, dtype=torch.float64) ** (1 / len(center))
    length[::2] = 1.0
    return center.double() + eps * (1 - 1e-12) * length * direction
