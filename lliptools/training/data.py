"""What networks are trained on: points to train, to choose by, and to test; and two sets that need no download."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lliptools.errors import InvalidInput, extra
from lliptools.training.batches import as_float


@dataclass(frozen=True, eq=False)
class Split:
    """Points to train, to test, and (after hold_out) to choose between networks by.

    x: (samples, *shape), floats. uint8 images (samples, channels, height, width) are stored as they are, an eighth of
    the memory, and read as float64 in [0, 1], that is divided by 255. y: (samples,) int64.
    Raises InvalidInput for other whole numbers, whose range is not known.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    x_validation: Tensor | None = None
    y_validation: Tensor | None = None

    def stored(self, part: str) -> tuple[Any, Any]:
        """x and y of "train", "test" or "validation" as they are stored; None and None where there is no such part."""
        return getattr(self, f"_x_{part}"), getattr(self, f"y_{part}")

    def to(self, device: str | torch.device) -> "Split":
        """The same points on a device."""
        parts = [*self.stored("train"), *self.stored("test"), *self.stored("validation")]
        there: list[Any] = [None if part is None else part.to(device) for part in parts]
        return Split(*there)

    def hold_out(self, count: int, *, seed: int = 0) -> "Split":
        """The same points with count of the training points as validation part, every class by its share.

        A class's share is rounded to a neighbouring whole number (Webster's rule). The same points for the same
        seed, on every device; the order of the points is kept, the test part untouched.
        Raises InvalidInput where count leaves nothing to train on, or where points are held out already.
        """
        if self.y_validation is not None:
            why = "a second call of hold_out", "call it once, on what the loader returned"
            got = f"one with {len(self.y_validation)} points held out"
            raise InvalidInput("a split without validation part", got, *why)
        samples = len(self.y_train)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 < count < samples:
            why = "a fraction, or more points than there are", f"for a tenth pass count={max(1, samples // 10)}"
            raise InvalidInput(f"count as a whole number from 1 to {samples - 1}", repr(count)[:80], *why)
        held = _every_class_by_its_share(self.y_train.cpu(), count, seed).to(self.y_train.device)
        x, y = self.stored("train")
        return Split(x[~held], y[~held], *self.stored("test"), x[held], y[held])


class _Points:
    """A field of points, stored as they were given and read as floats."""

    def __init__(self, name: str) -> None:
        self.name = f"_{name}"

    def __get__(self, split: object, owner: type) -> Any:
        x = getattr(split, self.name)
        return as_float(x, torch.float64) if x is not None and x.dtype == torch.uint8 else x

    def __set__(self, split: object, x: Tensor | None) -> None:
        object.__setattr__(split, self.name, x if x is None or x.dtype == torch.uint8 else as_float(x))


for _name in ("x_train", "x_test", "x_validation"):
    setattr(Split, _name, _Points(_name))


def digits() -> Split:
    """The 1,797 scanned 8×8 digits of scikit-learn, flattened, pixels in [0, 1]: 1,437 to train, 360 to test."""
    with extra("data"):
        from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _split(x / 16.0, y)


def digit_images() -> Split:
    """The digits as pictures of one channel, (1, 8, 8), for convolutional networks."""
    flat = digits()
    return replace(flat, x_train=flat.x_train.unflatten(1, (1, 8, 8)), x_test=flat.x_test.unflatten(1, (1, 8, 8)))


def moons() -> Split:
    """Two interleaved half-moons in the plane with Gaussian noise .1: 800 points to train, 200 to test."""
    with extra("data"):
        from sklearn.datasets import make_moons

    return _split(*make_moons(1000, noise=0.1, random_state=0))


def _split(x: object, y: object) -> Split:
    with extra("data"):
        from sklearn.model_selection import train_test_split

    parts = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    x_train, x_test = (torch.as_tensor(part, dtype=torch.float64) for part in parts[:2])
    y_train, y_test = (torch.as_tensor(part, dtype=torch.int64) for part in parts[2:])
    return Split(x_train, y_train, x_test, y_test)


def _every_class_by_its_share(y: Tensor, count: int, seed: int) -> Tensor:
    """A mask (samples,) of count random points, each class's number being its share of y, rounded."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    order = order[y[order].argsort(stable=True)]  # by class, in each class at random
    sizes = y.bincount()
    rank = torch.arange(len(y)) - (sizes.cumsum(0) - sizes)[y[order]]
    quantile = (rank + 0.5).double() / sizes[y[order]]
    chosen = order[quantile.argsort(stable=True)[:count]]
    return torch.zeros(len(y), dtype=torch.bool).index_fill(0, chosen, True)
