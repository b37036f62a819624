"""Recipes by name: everything that a training run depends on but the seed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput
from lliptools.layers import lipschitz_cnn, lipschitz_mlp, sll_network
from lliptools.nets import cnn, mlp
from lliptools.training.batches import crop_and_flip
from lliptools.training.data import Split, digit_images, digits, moons
from lliptools.training.images import cifar10, mnist, tiny_imagenet
from lliptools.training.objectives import Certified, Clean, GloRo, Objective, Offset

Schedule = Callable[[float, int, int], float]  # peak, epoch from 0, epochs -> the learning rate of that epoch


def hold_then_fall(peak: float, epoch: int, epochs: int, *, end: float = 1e-5, hold: float = 0.5) -> float:
    """The learning rate: constant up to the fraction `hold` of the run, then falling exponentially to `end`."""
    return peak * float((end / peak) ** max(0.0, (epoch / epochs - hold) / (1 - hold)))


def triangle(peak: float, epoch: int, epochs: int, *, top: float = 0.4) -> float:
    """The learning rate in the middle of the epoch: rising linearly to the peak at `top` of the run, falling to 0."""
    at = (epoch + 0.5) / epochs
    return peak * min(at / top, (1 - at) / (1 - top))


@dataclass(frozen=True)
class Recipe:
    """One training run.

    data: what to train on. network: a partial call of a function of lliptools that builds the network. objective: what
    is minimised. radii: at which the result is measured on the test points, in input units. learning_rate: at its
    peak; schedule says how it changes. betas and weight_decay: of AdamW. augment: as of training.batches.
    dtype: in which it is trained. hold_out: how many training points are kept from training, as a validation part.
    norm_steps: of training.SharedNorm; None for exact norms. measured: how many test points are; None for all.
    """

    name: str
    data: Callable[[], Split]
    network: partial[nn.Sequential]
    objective: Objective
    epochs: int
    radii: tuple[float, ...] = (0.1,)
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: Schedule = hold_then_fall
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    augment: Callable[..., Tensor] | None = None
    dtype: torch.dtype = torch.float64
    hold_out: int = 0
    norm_steps: int | None = None
    measured: int | None = None

    def __str__(self) -> str:
        """One line: name, data, epochs and network."""
        build = self.network
        arguments = ", ".join([*map(str, build.args), *(f"{key}={value}" for key, value in build.keywords.items())])
        of = f"{build.func.__name__}({arguments})"
        return f"{self.name:<24} {self.data.__name__:<13}{self.epochs:>5} epochs  {of}"


MNIST, CIFAR, TINY = (1, 28, 28), (3, 32, 32), (3, 64, 64)
MLP, MNIST_MLP = partial(mlp, 64, 128, 128, 10), partial(mlp, 784, 128, 128, 10, flatten=True)
CLIPPED: dict[str, Any] = {"activation": "clipped_relu"}
PAIRS: dict[str, Any] = {"activation": "clipped_maxmin"}
CIFAR_PAIRS = ((0.1, -0.1), (0.1, -0.15), (0.15, -0.15), (0.15, -0.15), (0.2, -0.2), (0.3, -0.3), (1.2, -1.2))
TINY_PAIRS = tuple((theta, -theta) for theta in (0.8, 1.0, 1.4, 1.4, 1.4, 1.6, 2.0, 3.0, 1.6))
FLOAT32: dict[str, Any] = {"dtype": torch.float32, "measured": 1000}
BY_DESIGN: dict[str, Any] = {"learning_rate": 1e-2, "schedule": triangle, "betas": (0.5, 0.9)}
CIFAR_RUN: dict[str, Any] = {"epochs": 800, "learning_rate": 1e-3, "end": 1e-6, "norm_steps": 2}
TINY_RUN: dict[str, Any] = {"epochs": 250, "end": 5e-7, "batch_size": 128}
ON_CIFAR, ON_TINY = Certified(0.1551, warmup=20 / 800, ramp=400 / 800), Certified(0.16, sparsity=0.01, ramp=125 / 250)


def _by_design(kind: str) -> Recipe:
    """The same digits, layers, loss and epochs for every kind of 1-Lipschitz layer."""
    network, objective = partial(lipschitz_mlp, kind, 64, 10, depth=4), Offset(math.sqrt(2) * 0.5)
    return Recipe(f"{kind}-digits", digits, network, objective, 60, radii=(0.1, 0.3, 0.5, 1.0), **BY_DESIGN)


def _sll(size: str) -> Recipe:
    """The paper's run on CIFAR-10. Source: Araujo et al. (ICLR 2023)."""
    settings: dict[str, Any] = {"radii": (36 / 255, 72 / 255, 108 / 255, 1.0), "augment": crop_and_flip}
    objective = Offset(3 * math.sqrt(2) / 2)
    run = {"epochs": 1000, "batch_size": 256, **settings, **FLOAT32, **BY_DESIGN}
    return Recipe(f"sll-{size}", cifar10, partial(sll_network, size), objective, **run)


def _family(
    name: str,
    data: Callable[[], Split],
    build: partial[nn.Sequential],
    eps: float,
    theta: float,
    *,
    activation: str = "relu",
    sparsity: float = 1.0,
    **settings: Any,
) -> list[Recipe]:
    """Identical except for one thing: no bound, the global one, the local one, clipped activations, sparsity."""
    plain = partial(build, activation=activation)
    clipped = partial(build, activation=f"clipped_{activation}", theta=theta)
    kinds: dict[str, tuple[partial[nn.Sequential], Objective]] = {
        "standard": (plain, Clean()),
        "global": (plain, Certified(eps, bound="global")),
        "local": (plain, Certified(eps)),
        "clipped": (clipped, Certified(eps)),
        "sparse": (clipped, Certified(eps, sparsity=sparsity)),
    }
    common = FLOAT32 | {"norm_steps": 6, "radii": (0.1, 0.3, 0.5)} | ({"measured": None} if data is digits else {})
    return [Recipe(f"{name}-{kind}", data, *which, **(common | settings)) for kind, which in kinds.items()]


def _published(
    name: str, data: Callable[[], Split], network: partial[nn.Sequential], objective: Objective, **settings: Any
) -> Recipe:
    """A run of the paper, as its code has it. Source: Huang et al. (NeurIPS 2021), appendix, and the released code."""
    schedule = partial(hold_then_fall, end=settings.pop("end"), hold=0.5 + 25 / settings["epochs"])
    common: dict[str, Any] = {"batch_size": 256, "radii": (1.58,) if data is mnist else (36 / 255,), **FLOAT32}
    common |= {"schedule": schedule, "augment": None if data is mnist else crop_and_flip}
    return Recipe(name, data, network, objective, **(common | settings))


def _digits() -> Iterator[Recipe]:
    clipped = partial(MLP, activation="clipped_relu", theta=0.3)
    image_net = partial(cnn, "2C1F", (1, 8, 8), activation="clipped_relu", theta=0.3)
    steps: dict[str, Any] = {"norm_steps": 6, "dtype": torch.float32}
    yield Recipe("moons", moons, partial(mlp, 2, 16, 16, 2), Clean(), 200, learning_rate=5e-3, weight_decay=1e-3)
    yield Recipe("digits-relu", digits, MLP, Clean(), 60, weight_decay=1e-3)
    yield Recipe("digits-clipped", digits, clipped, Certified(eps=0.1, sparsity=3.0), 120)
    yield Recipe("digits-conv", digit_images, image_net, Certified(eps=0.1, sparsity=0.3), 60, **steps)
    yield from (_by_design(kind) for kind in ("spectral", "aol", "cpl", "sll", "cayley", "bro", "sandwich"))


def _by_design_on_images() -> Iterator[Recipe]:
    network = partial(lipschitz_cnn, "sll", MNIST, 10, channels=16, convolutions=3, dense=2, inner=256)
    run: dict[str, Any] = {"epochs": 6, "radii": (0.1, 0.3, 0.5, 1.58), "batch_size": 256, **FLOAT32, **BY_DESIGN}
    yield Recipe("sll-mnist", mnist, network, Offset(3 * math.sqrt(2) / 2), **run)
    yield from (_sll(size) for size in ("small", "medium", "large", "xlarge"))


def _families() -> Iterator[Recipe]:
    ten: dict[str, Any] = {"epochs": 10, "batch_size": 256}
    small: dict[str, Any] = {"sparsity": 0.1, "batch_size": 256, "norm_steps": 2, "measured": 250}
    cifar_radii = (36 / 255, 72 / 255, 108 / 255)
    yield from _family("digits-0.1", digits, MLP, 0.1, 0.3, sparsity=3.0, epochs=60)
    yield from _family("digits-0.3", digits, MLP, 0.3, 0.3, epochs=60)
    yield from _family("digits-0.5", digits, MLP, 0.5, 0.3, epochs=60)
    yield from _family("mnist-mlp-0.1", mnist, MNIST_MLP, 0.1, 0.1, **ten)
    yield from _family("mnist-mlp-0.3", mnist, MNIST_MLP, 0.3, 0.1, **ten)
    centred = Certified(0.36, bound="centred", temperature=0.25)
    run: dict[str, Any] = {"batch_size": 256, "norm_steps": 1, "radii": (0.1, 0.3, 0.5), **FLOAT32}
    yield Recipe("mnist-mlp-0.3-centred", mnist, MNIST_MLP, centred, 26, **run)
    yield from _family("mnist-mlp-1.58", mnist, MNIST_MLP, 1.75, 0.3, radii=(0.3, 1.0, 1.58), **ten)
    yield from _family("mnist-maxmin", mnist, MNIST_MLP, 0.3, 0.3, activation="maxmin", sparsity=0.1, **ten)
    yield from _family("mnist-small", mnist, partial(cnn, "2C1F", MNIST), 0.3, 1.0, epochs=5, **small)
    cifar_small = partial(cnn, "2C1F", CIFAR)
    yield from _family("cifar10-small", cifar10, cifar_small, 36 / 255, 1.0, epochs=6, radii=cifar_radii, **small)


def _papers() -> Iterator[Recipe]:
    on_mnist: dict[str, Any] = {"epochs": 300, "learning_rate": 1e-3, "end": 5e-6, "norm_steps": 5}
    network = partial(cnn, "4C3F", MNIST, theta=1.0, **CLIPPED)
    yield _published("mnist-4c3f", mnist, network, GloRo(1.75, ramp=150 / 300), **on_mnist)
    for name, theta, kind in (("4C3F", 1.0, CLIPPED), ("6C2F", 2.0, CLIPPED), ("6C2F", CIFAR_PAIRS, PAIRS)):
        network = partial(cnn, name, CIFAR, theta=theta, **kind)
        own = f"cifar10-{name.lower()}{'-maxmin' if kind is PAIRS else ''}"
        yield _published(own, cifar10, network, ON_CIFAR, **CIFAR_RUN)
    network = partial(cnn, "8C2F", TINY, 200, theta=1.0, **CLIPPED)
    yield _published(
        "tinyimagenet-8c2f", tiny_imagenet, network, ON_TINY, learning_rate=2.5e-4, norm_steps=1, **TINY_RUN
    )
    network = partial(cnn, "8C2F", TINY, 200, theta=TINY_PAIRS, **PAIRS)
    yield _published(
        "tinyimagenet-8c2f-maxmin", tiny_imagenet, network, ON_TINY, learning_rate=1e-4, norm_steps=3, **TINY_RUN
    )


RECIPES = {each.name: each for each in (*_digits(), *_by_design_on_images(), *_families(), *_papers())}
RECIPES["digits"] = replace(RECIPES["digits-0.3-sparse"], name="digits")


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InvalidInput, with the names there are, for any other."""
    if name not in RECIPES:
        why = "a recipe that does not exist", "`lliptools recipes` lists them"
        raise InvalidInput(f"one of {sorted(RECIPES)}", repr(name), *why)
    return RECIPES[name]
