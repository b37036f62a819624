"""Figures compared value by value, and read as the browser reads them."""

import json
import zlib

import numpy as np
import plotly.graph_objects as go

from lliptools.teach.shared.transport import Place, parts, same

__all__ = ["came_back", "differences", "unpack"]


def differences(one: go.Figure, other: go.Figure) -> list[Place]:
    """Where two figures differ; in which order they say what they say does not matter."""
    before, after = (
        {place: value for place, value in parts(each).items() if place[1] != "uid"} for each in (one, other)
    )
    return [place for place in {**before, **after} if not same(before.get(place), after.get(place))]


def unpack(bundle):
    """The head of a bundle, its values as they were: a second reading of the format, beside that of frames.js."""
    whole = zlib.decompress(bundle)
    start = 4 + int.from_bytes(whole[:4], "little")
    assert start % 8 == 0
    head = json.loads(whole[4:start])

    def value(spelled):
        if not (isinstance(spelled, dict) and "dtype" in spelled):
            return spelled
        count = int(np.prod(spelled["shape"]))
        at = start + spelled["from"]
        assert spelled["from"] % np.dtype(spelled["dtype"]).itemsize == 0
        return np.frombuffer(whole, spelled["dtype"], count, at).reshape(spelled["shape"])

    for each in head["properties"]:
        each["values"] = [value(spelled) for spelled in each["values"]]
    return head


def came_back(one, other):
    """Whether a value came back: lists, tuples and arrays alike, and no number as null."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and np.array_equal(one.astype(float), other.astype(float), equal_nan=True)
    one = one.tolist() if isinstance(one, np.ndarray) else one
    other = other.tolist() if isinstance(other, np.ndarray) else other
    return json.dumps(one).replace("NaN", "null") == json.dumps(other).replace("NaN", "null")
