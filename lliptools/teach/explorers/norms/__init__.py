"""The spectral norm of a matrix, from below and above."""

from lliptools.teach.explorers.norms.widget import NormExplorer
from lliptools.teach.shared.example import Example

TITLE = "The spectral norm, from below and above"
QUESTION = "Which of these numbers may a certificate rest on?"
EXAMPLES = {"norms": Example(2, TITLE, QUESTION, NormExplorer, "iteration", (1, 5, 20))}
