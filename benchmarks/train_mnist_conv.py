"""Train the small MNIST conv net of the benchmarks, for certification at a radius or (--eps 0) plainly.

    LLIPTOOLS_DATA=... python benchmarks/train_mnist_conv.py --eps 0.5

LLIPTOOLS_DATA names a folder that holds mnist/; without it MNIST is downloaded.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, linear
from truncated_power import adjoint, apply

import lliptools as ll
from lliptools.nets import ClippedReLU

SPARSITY = 1.0  # weight of the sparsity loss beside the certified cross-entropy
AT_THETA = 0.1  # weight of the upper flat zone in the sparsity loss
SMALLEST_THETA = 1e-3
POWER_STEPS = 3  # per batch, each from where the last batch stopped
BATCH = 250
RATE, RATE_END = 2e-3, 2e-5


def network(theta: float = 0.2) -> nn.Sequential:
    """C(1,16,4,2,1) C(16,32,4,2,1) FC100 FC10; one threshold per channel, in the dense layer one per unit."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        ClippedReLU(torch.full((16, 1, 1), theta)),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        ClippedReLU(torch.full((32, 1, 1), theta)),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 100),
        ClippedReLU(torch.full((100,), theta)),
        nn.Linear(100, 10),
    )


def mnist(split: str) -> tuple[Tensor, Tensor]:
    """Images (samples, 1, 28, 28) in [0, 1] and labels of a split: "train" or "t10k"."""
    data = ll.training.mnist()
    x, y = (data.x_train, data.y_train) if split == "train" else (data.x_test, data.y_test)
    return ll.training.as_float(x), y


class NormEstimates:
    """Norms of the hidden linear layers by power iteration, warm from batch to batch: estimates, fit for training."""

    def __init__(self, net: nn.Sequential) -> None:
        hidden = [layer for layer in net if isinstance(layer, nn.Linear | nn.Conv2d)][:-1]
        shapes = [(1, 1, 28, 28), (1, 16, 14, 14), (1, 32 * 7 * 7)]
        self.vectors = [(layer, torch.randn(shape)) for layer, shape in zip(hidden, shapes, strict=True)]

    def __call__(self, steps: int = POWER_STEPS) -> list[Tensor]:
        """One norm per layer, each differentiable in its weights."""
        norms = []
        for layer, v in self.vectors:
            with torch.no_grad():
                for _ in range(steps):
                    u = apply(layer, v)
                    v.copy_(adjoint(layer, u / u.norm(), v.shape))
                    v /= v.norm()
                u = apply(layer, v)
                u /= u.norm()
            norms.append((u * apply(layer, v)).sum())
        return norms


def boxes(net: nn.Sequential, x: Tensor, eps: float, norms: list[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Lower and upper pre-activations over the ball, and the thresholds, of every hidden layer.

    The intersection of interval arithmetic with the ball that the norms allow; sound where the norms are.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    center, lower, upper, reach = x, x - eps, x + eps, torch.tensor(eps)
    for layer in list(net)[:-1]:
        if isinstance(layer, ClippedReLU):
            found.append((lower, upper, layer.theta))
            center, lower, upper = layer(center), layer(lower), layer(upper)
        elif isinstance(layer, nn.Flatten):
            center, lower, upper = layer(center), layer(lower), layer(upper)
        else:
            middle, half = layer((lower + upper) / 2), _apply_absolute(layer, (upper - lower) / 2)
            center, ball = layer(center), reach * _row_norms(layer)
            lower = torch.maximum(middle - half, center - ball)
            upper = torch.minimum(middle + half, center + ball)
            reach = reach * norms[len(found)]
    return found


def worst_logits(net: nn.Sequential, logits: Tensor, y: Tensor, eps: float, norms: list[Tensor]) -> Tensor:
    """f_j + eps · L_hidden · ‖w_j − w_y‖: the logits that an adversary could reach, relative to class y's."""
    weight = net[-1].weight
    apart = (weight[y, None] - weight).square().sum(dim=2).clamp_min(1e-12).sqrt()
    own = torch.nn.functional.one_hot(y, len(weight)).bool()
    return logits + (eps * torch.stack(norms).prod() * apart).masked_fill(own, 0.0)


def sparsity_loss(found: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """What the boxes lack to lie in a flat zone of the clipped ReLU, summed over the layers."""
    parts = [upper.relu().mean() + AT_THETA * (theta - lower).relu().mean() for lower, upper, theta in found]
    return torch.stack(parts).sum()


def fit(net: nn.Sequential, eps: float, epochs: int) -> None:
    """κ·CE(f) + (1 − κ)·(CE(worst logits) + sparsity loss): κ falls from 1 to 0 over the first half, as eps grows."""
    x_train, y_train = mnist("train")
    norms_of = NormEstimates(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    steps = epochs * -(-len(x_train) // BATCH)
    step = 0
    for _ in range(epochs):
        for index in torch.randperm(len(x_train)).split(BATCH):
            ramp = min(1.0, 2 * step / steps)
            optimizer.param_groups[0]["lr"] = RATE * (RATE_END / RATE) ** max(0.0, 2 * step / steps - 1)
            x, y = x_train[index], y_train[index]
            logits = net(x)
            loss = cross_entropy(logits, y)
            if eps > 0:
                norms = norms_of()
                worst = cross_entropy(worst_logits(net, logits, y, ramp * eps, norms), y)
                sparse = sparsity_loss(boxes(net, x, ramp * eps, norms))
                loss = (1 - ramp) * loss + ramp * (worst + SPARSITY * sparse)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for layer in net:
                    if isinstance(layer, ClippedReLU):
                        layer.theta.clamp_(min=SMALLEST_THETA)
            step += 1


@torch.no_grad()
def report(net: nn.Sequential, eps: float) -> str:
    """Clean accuracy, what global norms certify at eps (estimated), and the share of constant units per layer."""
    x, y = mnist("t10k")
    norms = NormEstimates(net)(steps=500)
    logits = net(x)
    clean = (logits.argmax(dim=1) == y).float().mean()
    certified = (worst_logits(net, logits, y, eps, norms).argmax(dim=1) == y).float().mean()
    constant = [
        ((upper <= 0) | (lower >= theta)).float().mean().item() for lower, upper, theta in boxes(net, x, eps, norms)
    ]
    shares = " ".join(f"{share:.2f}" for share in constant)
    return f"clean {clean:.4f}; at eps {eps}: global norms certify {certified:.4f}, constant units {shares}"


def _apply_absolute(layer: nn.Module, d: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return linear(d, layer.weight.abs())
    return conv2d(d, layer.weight.abs(), None, layer.stride, layer.padding)


def _row_norms(layer: nn.Module) -> Tensor:
    """‖row of W‖ per output channel or unit; at the border of an image the row of a conv is shorter."""
    norms = layer.weight.flatten(1).square().sum(dim=1).sqrt()
    return norms if isinstance(layer, nn.Linear) else norms[:, None, None]


def main() -> None:
    """Train, save and report, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eps", type=float, default=0.5, help="radius to certify at; 0: plain cross-entropy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=None, help="default: nets/mnist-conv-EPS.safetensors beside this")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)  # sums in one order: the same weights on the same machine
    net = network()
    started = time.perf_counter()
    fit(net, arguments.eps, arguments.epochs)
    name = f"mnist-conv-{arguments.eps:g}" if arguments.eps > 0 else "mnist-conv-plain"
    out = arguments.out or Path(__file__).parent / "nets" / f"{name}.safetensors"
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.detach().contiguous() for key, value in net.state_dict().items()}, out)
    print(f"{out.name}: {time.perf_counter() - started:.0f} s of training; {report(net, arguments.eps or 0.1)}")


if __name__ == "__main__":
    main()
