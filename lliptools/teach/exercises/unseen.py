"""Small networks made from a seed, with points, and with adversarial points to refute claims by."""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lliptools.bounds import adversarial_distance
from lliptools.certificates.attacks import pgd
from lliptools.certificates.margins import smallest_margin
from lliptools.nets import mlp

RIDGE_WIDTH = 1e-3  # relative to the spread of the points: an attack steps over it
POINTS = 10
FAR = 8.0


class Unseen:
    """A network, points x (batch, features), labels y (batch,), and what is known of the truth.

    The points are the first of those given, and one that is nearest to a tie has the label of its rival.
    adversarial: (batch, features), where y does not strictly win. distance: (batch,), how far that is from x; 0 where y
    does not win at x itself. exact: whether no nearer one exists, as in the plane, where it is sought up to a distance
    within, and inf where there is none.
    """

    def __init__(
        self, name: str, net: nn.Sequential, x: Tensor, y: Tensor, points: int = POINTS, within: float = FAR
    ) -> None:
        self.name, self.net, self.x, self.y = name, net, x[:points], y[:points].clone()
        logits = net(self.x)
        n = int(smallest_margin(logits, self.y).abs().argmin())
        self.y[n] = logits[n].masked_fill(torch.arange(logits.shape[1]) == self.y[n], -torch.inf).argmax()
        self.adversarial, self.distance = _nearest_adversarial(net, self.x, self.y, within)
        self.exact = x.shape[1] == 2


def linear_layers(net: nn.Sequential) -> list[nn.Linear]:
    """The network's linear layers, in order."""
    return [layer for layer in net if isinstance(layer, nn.Linear)]


def sizes(net: nn.Sequential) -> str:
    """The numbers of units, layer by layer, as in 2-8-2."""
    layers = linear_layers(net)
    return "-".join(map(str, [layers[0].in_features, *(layer.out_features for layer in layers)]))


@lru_cache(maxsize=4)
def unseen_networks(seed: int) -> tuple[Unseen, ...]:
    """Five networks: three in the plane, where the truth is exact, two on 8×8 pictures, where an attack refutes."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        plane, cloud, pictures = moons_like(), blobs(features=2, classes=3), blobs(features=64, classes=4)
        return (
            Unseen("two classes in the plane", trained(plane, (12, 12)), *plane),
            Unseen("three classes in the plane, clipped", trained(cloud, (12, 12), "clipped_relu"), *cloud),
            Unseen("three classes in the plane, a second network", *with_ridge(cloud)),
            Unseen("8×8 pictures of two classes", *straight()),
            Unseen("8×8 pictures of four classes", *with_ridge(pictures)),
        )


def moons_like(count: int = 200) -> tuple[Tensor, Tensor]:
    """Two interleaved half-circles with noise: x (count, 2), y (count,)."""
    y = torch.arange(count) % 2
    angle = torch.pi * torch.rand(count, dtype=torch.float64)
    upper = torch.stack([angle.cos(), angle.sin()], dim=1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=1)
    return torch.where(y[:, None] == 0, upper, lower) + 0.1 * torch.randn(count, 2, dtype=torch.float64), y


def blobs(features: int, classes: int, count: int = 200) -> tuple[Tensor, Tensor]:
    """One cloud per class, around a middle at distance 1 from the origin: x (count, features), y (count,)."""
    middles = torch.linalg.qr(torch.randn(features, features, dtype=torch.float64))[0]
    if classes > features:
        turn = 2 * torch.pi * torch.arange(classes, dtype=torch.float64) / classes
        middles = torch.stack([turn.cos(), turn.sin()], dim=1) @ middles
    y = torch.arange(count) % classes
    return middles[y] + 0.35 / features**0.5 * torch.randn(count, features, dtype=torch.float64), y


def trained(points: tuple[Tensor, Tensor], hidden: tuple[int, ...], activation: str = "relu") -> nn.Sequential:
    """A network of those widths that a few steps of gradient descent with momentum have taught the points."""
    x, y = points
    net = mlp(x.shape[1], *hidden, int(y.max()) + 1, activation=activation).double()
    parameters = list(net.parameters())
    moving = [torch.zeros_like(parameter) for parameter in parameters]
    for _ in range(150):
        gradients = torch.autograd.grad(cross_entropy(net(x), y), parameters)
        with torch.no_grad():
            for parameter, momentum, gradient in zip(parameters, moving, gradients, strict=True):
                parameter.sub_(momentum.mul_(0.9).add_(gradient, alpha=0.1))
    return net.eval().requires_grad_(False)


def _ridged(net: nn.Sequential, direction: Tensor, offset: float, width: float, height: float) -> nn.Sequential:
    """The network of two hidden layers with class 0's logit raised along the line or plane direction·x = offset.

    height · relu(1 − |direction·x − offset| / width) is added, by two units of the first layer and one of the second.
    Outside of the ridge the network and its gradient are what they were. direction: (features,), of length 1.
    """
    first, second, last = linear_layers(net)
    one, two = first.out_features, second.out_features
    new = mlp(first.in_features, one + 2, two + 1, last.out_features).double().requires_grad_(False)
    layers = linear_layers(new)
    for layer, old in zip(layers, (first, second, last), strict=True):
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[: old.out_features, : old.in_features] = old.weight
        layer.bias[: old.out_features] = old.bias
    layers[0].weight[one:], layers[0].bias[one:] = torch.stack([direction, -direction]), torch.tensor([-offset, offset])
    layers[1].weight[two, one:], layers[1].bias[two] = -1 / width, 1.0
    layers[2].weight[0, two] = height
    return new.eval()


def straight(features: int = 64) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network whose units are all on, and whose global bound is the truth for every f_y − f_j; with its points."""
    left, right = (torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))[0] for n in (16, features))
    stretch = torch.linspace(1.0, 0.6, 16, dtype=torch.float64)
    net = mlp(features, 16, 2).double().requires_grad_(False)
    first, last = linear_layers(net)
    first.weight.copy_(left @ torch.diag(stretch) @ right[:16])
    first.bias.fill_(50.0)
    last.weight.copy_(torch.stack([left[:, 0], -left[:, 0]]))
    last.bias.copy_(-last.weight @ first.bias)
    x = torch.randn(POINTS, features, dtype=torch.float64)
    return net.eval(), x, (x @ right[0] < 0).long()


def with_ridge(points: tuple[Tensor, Tensor]) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network that was taught the points, with a narrow ridge of class 0 through the middle of the others."""
    x, y = points
    net = trained(points, (12, 12))
    direction = torch.linalg.qr(torch.randn(x.shape[1], 1, dtype=torch.float64))[0][:, 0]
    along = x @ direction
    return _ridged(net, direction, float(along[y != 0].median()), RIDGE_WIDTH * float(along.std()), 50.0), x, y


def _nearest_adversarial(net: nn.Sequential, x: Tensor, y: Tensor, within: float) -> tuple[Tensor, Tensor]:
    """Points where y does not strictly win, and their distances: the nearest in the plane, else the nearest found."""
    if x.shape[1] == 2:
        distance, found = adversarial_distance(net, x, y, within=_along_rays(net, x, y).clamp_max(within))
        return _pushed(net, x, y, torch.where(distance.isfinite()[:, None], found, torch.nan))
    candidates = [_across_ridge(net, x)]
    candidates += [pgd(net, x, y, 0.05 * 2.0**k, steps=20, restarts=1) for k in range(8)]
    best, nearest = torch.full_like(x, torch.nan), torch.full_like(x[:, 0], torch.inf)
    for end in candidates:
        crossing, length = _first_crossing(net, x, y, end)
        better = length < nearest
        best, nearest = torch.where(better[:, None], crossing, best), torch.where(better, length, nearest)
    return best, nearest


def _along_rays(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Within how far a point where y has lost lies on one of 64 rays, or FAR: (batch,)."""
    angle = torch.linspace(0, 2 * torch.pi, 65, dtype=torch.float64)[:-1]
    rays, lengths = torch.stack([angle.cos(), angle.sin()], dim=1), torch.linspace(0.0, FAR, 161, dtype=torch.float64)
    trials = x[:, None, None] + lengths[:, None, None] * rays
    flat = trials.flatten(0, 2)
    lost = smallest_margin(net(flat), y.repeat_interleave(len(flat) // len(x))).view(len(x), 161, 64) <= 0
    reached = lost.any(dim=2)
    first = torch.where(reached.any(dim=1), reached.int().argmax(dim=1), 160)
    return lengths[first].clamp_min(lengths[1])


def _pushed(net: nn.Sequential, x: Tensor, y: Tensor, tie: Tensor) -> tuple[Tensor, Tensor]:
    """Where classes tie, rounding may let either win: the first point a little further on where y has lost."""
    best, distance = tie.clone(), (tie - x).norm(dim=1).nan_to_num(nan=torch.inf)
    pending = distance.isfinite()
    for further in (0.0, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6):
        trial = x + (1 + further) * (tie - x)
        lost = pending & (smallest_margin(net(trial), y) <= 0)
        best, distance = torch.where(lost[:, None], trial, best), torch.where(lost, (trial - x).norm(dim=1), distance)
        pending = pending & ~lost
    return best, distance


def _first_crossing(net: nn.Sequential, x: Tensor, y: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """The way from x to an end where y has lost, halved until it just loses; inf where it wins at the end."""
    lost = smallest_margin(net(end), y) <= 0
    share, won = torch.ones_like(x[:, :1]), torch.zeros_like(x[:, :1])
    for _ in range(45):
        middle = (share + won) / 2
        over = (smallest_margin(net(x + middle * (end - x)), y) <= 0)[:, None]
        share, won = torch.where(over, middle, share), torch.where(over, won, middle)
    best = torch.where((smallest_margin(net(x), y) <= 0)[:, None], x, x + share * (end - x))
    return best, torch.where(lost, (best - x).norm(dim=1), torch.inf)


def _across_ridge(net: nn.Sequential, x: Tensor) -> Tensor:
    """The nearest points of the line or plane on which the last unit of the first layer breaks."""
    first = linear_layers(net)[0]
    normal, offset = first.weight[-1], first.bias[-1]
    return x - (x @ normal + offset)[:, None] * normal / normal.square().sum()
