"""A training run that is watched."""

from lliptools.teach.explorers.training.widget import TrainingExplorer
from lliptools.teach.shared.example import Example

__all__ = ["EXAMPLES", "TrainingExplorer"]

EXAMPLES = {
    "training": Example(
        *(6, "A training run", "What does training by a bound buy, epoch by epoch?"),
        make=TrainingExplorer,
        control="epochs",
        still=(1, 10, 40),
    )
}
