"""Two figures compared value by value."""

import plotly.graph_objects as go

from lliptools.teach.shared.transport import Place, parts, same

__all__ = ["differences"]


def differences(one: go.Figure, other: go.Figure) -> list[Place]:
    """Where two figures differ; in which order they say what they say does not matter."""
    before, after = (
        {place: value for place, value in parts(each).items() if place[1] != "uid"} for each in (one, other)
    )
    return [place for place in {**before, **after} if not same(before.get(place), after.get(place))]
