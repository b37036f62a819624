"""Why the product of norms is loose."""

from lliptools import nets
from lliptools.teach.explorers.products.widget import ProductExplorer
from lliptools.teach.shared.example import Example

__all__ = ["EXAMPLES", "ProductExplorer"]

EXAMPLES = {
    "products": Example(
        *(3, "The product bound", "Why does the product of the layers' norms run away from the truth?"),
        make=lambda: ProductExplorer(nets.fold(2, 8)),
        control="depth",
        still=(1, 4, 8),
    )
}
