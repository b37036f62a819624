"""Pictures of counter-examples: drawn only when a notebook shows them."""

from collections.abc import Callable
from typing import Any

from lliptools.teach.shared.pair import Pair

__all__ = ["picture_of"]


def picture_of(pair: Pair) -> Callable[[], Any]:
    """What draws the pair."""

    def draw() -> Any:
        from lliptools.teach.shared.pair_figure import counter_example

        return counter_example(pair)

    return draw
