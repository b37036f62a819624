"""A training run that is watched."""

from functools import partial

from lliptools.teach.explorers.training.widget import TrainingExplorer
from lliptools.teach.shared.example import Example

QUESTION = "What does training by a bound buy, epoch by epoch?"
_sparse = partial(TrainingExplorer, "digits-0.5-sparse")
EXAMPLES = {"training": Example(6, "A training run", QUESTION, _sparse, "epochs", (1, 20, 60))}
