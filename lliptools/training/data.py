"""Small real and synthetic data sets that need no download, split once and for all."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Split", "digits", "moons"]


@dataclass(frozen=True, eq=False)
class Split:
    """Training and held-out points: x (samples, features) float64, y (samples,) int64."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor

    def to(self, device: str | torch.device) -> "Split":
        """The same points on a device."""
        return Split(*(part.to(device) for part in (self.x_train, self.y_train, self.x_test, self.y_test)))


def digits() -> Split:
    """The 1,797 scanned 8×8 digits of scikit-learn, flattened, pixels in [0, 1]: 1,437 to train, 360 held out."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _split(x / 16.0, y)


def moons() -> Split:
    """Two interleaved half-moons in the plane with Gaussian noise .1: 800 points to train, 200 held out."""
    from sklearn.datasets import make_moons

    return _split(*make_moons(1000, noise=0.1, random_state=0))


def _split(x: object, y: object) -> Split:
    from sklearn.model_selection import train_test_split

    parts = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    x_train, x_test = (torch.as_tensor(part, dtype=torch.float64) for part in parts[:2])
    y_train, y_test = (torch.as_tensor(part, dtype=torch.int64) for part in parts[2:])
    return Split(x_train, y_train, x_test, y_test)
