"""The spectral norm of a matrix, from below and above."""

from lliptools.teach.explorers.norms.widget import NormExplorer
from lliptools.teach.shared.example import Example

__all__ = ["EXAMPLES", "NormExplorer"]

EXAMPLES = {
    "norms": Example(
        *(2, "The spectral norm, from below and above", "Which of these numbers may a certificate rest on?"),
        make=NormExplorer,
        control="iteration",
        still=(1, 5, 20),
    )
}
