"""What nbval compares of the notebooks: words and numbers, not the last digits of a picture or plotly's own theme."""

import pytest

PLOTLY = "application/vnd.plotly.v1+json"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave pictures out of the comparison; the words beside them stay in it."""
    for notebook in {item.parent for item in items}:
        if PLOTLY not in getattr(notebook, "skip_compare", (PLOTLY,)):
            notebook.skip_compare = (*notebook.skip_compare, PLOTLY)
