"""One condition for layers that are 1-Lipschitz by design."""

from lliptools.teach.explorers.condition.widget import ConditionExplorer
from lliptools.teach.shared.example import Example

QUESTION = "Which scales of the columns make a layer 1-Lipschitz, and which are needlessly large?"
EXAMPLES = {"condition": Example(7, "One condition on scales", QUESTION, ConditionExplorer, "log_q", (-3.0, 0.0, 3.0))}
