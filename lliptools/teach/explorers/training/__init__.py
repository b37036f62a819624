"""A training run that is watched."""

from lliptools.teach.explorers.training.widget import TrainingExplorer
from lliptools.teach.shared.example import Example

QUESTION = "What does training by a bound buy, epoch by epoch?"
EXAMPLES = {"training": Example(6, "A training run", QUESTION, TrainingExplorer, "epochs", (1, 10, 40))}
