"""A figure that nothing moves, as the output of a cell."""

import json
from typing import TYPE_CHECKING

from lliptools.teach.shared.style import CONFIG

if TYPE_CHECKING:
    from plotly.graph_objects import Figure  # loaded where something is drawn

PLOTLY = "application/vnd.plotly.v1+json"


def display_figure(figure: "Figure", said: str) -> None:
    """Show a figure, and a text where there are no pictures."""
    from IPython.display import display

    display({PLOTLY: {**json.loads(figure.to_json()), "config": CONFIG}, "text/plain": said}, raw=True)
