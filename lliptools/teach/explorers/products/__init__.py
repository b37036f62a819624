"""Why the product of norms is loose."""

from lliptools import nets
from lliptools.teach.explorers.products.widget import ProductExplorer
from lliptools.teach.shared.example import Example

QUESTION = "Why does the product of the layers' norms run away from the truth?"


def _fold() -> ProductExplorer:
    return ProductExplorer(nets.fold(2, 8))


EXAMPLES = {"products": Example(3, "The product bound", QUESTION, _fold, "depth", (1, 4, 8))}
