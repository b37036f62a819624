"""Many pictures of one figure as one small parcel: what differs between them, each value once. Read by frames.js."""

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lliptools.errors import InvalidInput

__all__ = ["SCRIPT", "Parts", "Place", "pack", "parts", "same", "varying"]

SCRIPT = Path(__file__).with_suffix(".js")
# What a figure is made of: (number of the trace, or None for the layout; path) -> value.
Place = tuple[int | None, str]
Parts = dict[Place, Any]
TYPED = {"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64"}


def parts(figure: go.Figure) -> Parts:
    """The figure in single values, by the paths that plotly takes them under."""
    found: Parts = {}
    for number, trace in enumerate(figure.data):
        _collect(found, number, "", trace.to_plotly_json())
    _collect(found, None, "", figure.layout.to_plotly_json())
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values of a figure are equal; what is no number equals itself."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        equal_nan = one.dtype.kind == "f" and other.dtype.kind == "f"
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=equal_nan)
    return type(one) is type(other) and (bool(one == other) or _key(one) == _key(other))


def varying(pictures: Sequence[Parts]) -> list[Place]:
    """What is not the same in all pictures."""
    kinds = {(tuple(each.get((number, "type")) for number in range(_traces(each))), _texts(each)) for each in pictures}
    if len(kinds) > 1:
        raise InvalidInput(
            expected="the same traces and the same number of texts in every picture of a figure",
            got=f"{len(kinds)} kinds of pictures",
            cause="a trace or a text that is left out where there is nothing to draw",
            next_step="draw it always, with no points or an empty text",
        )
    places = {place: None for each in pictures for place in each}
    return [place for place in places if len({_key(each.get(place)) for each in pictures}) > 1]


def pack(pictures: Sequence[Parts], texts: Sequence[str], positions: Sequence[float], **more: Any) -> bytes:
    """The pictures of a figure and a text for each, for the positions of a slider; more goes along as it is.

    A compressed parcel: the length of its head, the head as JSON, numbers of arrays. In the head every value stands
    once, with the pictures that take it.
    """
    numbers = bytearray()
    properties = []
    for trace, path in varying(pictures):
        values, picks = _once([each.get((trace, path)) for each in pictures])
        spelled = [_spelled(value, numbers) for value in values]
        properties.append({"trace": trace, "path": path, "values": spelled, "picks": picks})
    head = json.dumps(
        {"positions": list(positions), "texts": list(texts), "properties": properties, **more},
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    ).encode()
    head += b" " * (-(len(head) + 4) % 8)  # arrays of floats start at multiples of their size
    return zlib.compress(len(head).to_bytes(4, "little") + head + bytes(numbers), 6)


def _collect(found: Parts, trace: int | None, path: str, value: Any) -> None:
    """Walk down to what plotly sets as one value; lists of things, as of texts and shapes, are walked too."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _collect(found, trace, f"{path}.{name}" if path else name, inner)
    elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            _collect(found, trace, f"{path}[{index}]", item)
    else:
        found[trace, path] = value


def _traces(picture: Parts) -> int:
    return len({trace for trace, _ in picture if trace is not None})


def _texts(picture: Parts) -> int:
    return sum(path.startswith("annotations[") and path.endswith(".text") for trace, path in picture if trace is None)


def _once(values: Iterable[Any]) -> tuple[list[Any], list[int]]:
    """Every value once, and which of them stands where."""
    seen: dict[Any, int] = {}
    different: list[Any] = []
    picks = []
    for value in values:
        key = _key(value)
        if key not in seen:
            seen[key] = len(different)
            different.append(value)
        picks.append(seen[key])
    return different, picks


def _key(value: Any) -> Any:
    """What tells a value from others."""
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value.dtype.str, value.shape, value.tobytes()
    return json.dumps(_plain(value))


def _spelled(value: Any, numbers: bytearray) -> Any:
    """A value for the head; the numbers of an array are laid down apart, and where they lie is said."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif":
        return _plain(value)
    if value.dtype.name not in TYPED:
        value = value.astype(np.uint8 if value.dtype.kind == "b" else np.float64)
    numbers.extend(bytes(-len(numbers) % 8))
    place = {"dtype": value.dtype.name, "shape": list(value.shape), "from": len(numbers)}
    numbers.extend(np.ascontiguousarray(value).tobytes())
    return place


def _plain(value: Any) -> Any:
    """A value as JSON has it: what is no number is null, which plotly leaves out."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
