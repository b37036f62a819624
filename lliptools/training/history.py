"""What happened in a training run, epoch by epoch."""

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, eq=False)
class History:
    """The epochs of a run, and the network it trained.

    epochs: one dictionary each, with "epoch" (from 0), "learning_rate", "loss" (mean over the points), "clean" (the
    accuracy on batches of the epoch, each before the step on it), "seconds" and, where the data have a validation part,
    "validation_clean" and "validation_certified" after the epoch. history["loss"] is one of them over all epochs.
    """

    recipe: str
    net: nn.Sequential
    epochs: tuple[dict[str, float], ...] = ()

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        """One number of every epoch, as history["loss"]. Raises KeyError for a name that the epochs do not have."""
        return [epoch[name] for epoch in self.epochs]

    @property
    def best(self) -> int | None:
        """The epoch with the highest certified accuracy on the validation part, the clean one deciding ties."""
        if not self.epochs or "validation_certified" not in self.epochs[0]:
            return None
        return max(range(len(self)), key=lambda k: [self.epochs[k][f"validation_{n}"] for n in ("certified", "clean")])

    def then(self, epoch: dict[str, float]) -> "History":
        """The same history with one epoch more."""
        return History(self.recipe, self.net, (*self.epochs, epoch))

    def record(self) -> dict[str, Any]:
        """What provenance.json keeps: how long it took, and the last and the best epoch on the validation part."""
        found: dict[str, Any] = {"training_seconds": round(sum(self["seconds"]))}
        if self.best is not None:
            found["validation"] = {"last": self.epochs[-1], "best": self.epochs[self.best]}
        return found

    def __str__(self) -> str:
        """The last epoch in a line, and the best on the validation part in another."""
        lines = [f"{self.recipe}: {len(self)} epochs"]
        shown = {"last": len(self) - 1, "best": self.best} if self.epochs else {}
        for name, k in shown.items():
            if k is not None:
                numbers = (f"{key.replace('_', ' ')} {value:.4g}" for key, value in self.epochs[k].items())
                lines.append(f"{name}: {', '.join(numbers)}")
        return "\n".join(lines)
