"""Figures on their way to the browser: the first one, what changes afterwards, and pictures made beforehand.

All three are packed alike, as values by the paths under which plotly takes them. Read by transport.js.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import plotly.graph_objects as go
import traitlets
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from lliptools.errors import InvalidInput
from lliptools.teach.shared.controls import key, positions
from lliptools.teach.shared.style import CONFIG

HERE = Path(__file__).parent
# What a figure is made of: (number of the trace, or None for the layout; path) -> value.
Place = tuple[int | None, str]
Parts = dict[Place, Any]
TYPED = {"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64"}
SCRIPTS, STYLE = (
    "".join((HERE / name).read_text(encoding="utf-8") for name in names)
    for names in (("striking.js", "keep.js", "transport.js", "board.js"), ("board.css",))
)


def parts(figure: go.Figure) -> Parts:
    """The figure in single values, by the paths that plotly takes them under."""
    found: Parts = {}
    for number, trace in enumerate(figure.data):
        _collect(found, number, "", trace.to_plotly_json())
    _collect(found, None, "", figure.layout.to_plotly_json())
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values of a figure are equal; NaN equals itself."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        equal_nan = one.dtype.kind == "f" and other.dtype.kind == "f"
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=equal_nan)
    return type(one) is type(other) and (bool(one == other) or _key(one) == _key(other))


def varying(pictures: Sequence[Parts]) -> list[Place]:
    """What is not the same in all pictures."""
    if len(kinds := {_traces_and_texts(each) for each in pictures}) > 1:
        wanted, got = "the same traces and the same number of texts in every picture", f"{len(kinds)} kinds of pictures"
        cause, mend = "one that is left out where there is nothing to draw", "draw it with no points, or an empty text"
        raise InvalidInput(expected=wanted, got=got, cause=cause, next_step=mend)
    places = {place: None for each in pictures for place in each}
    return [place for place in places if len({_key(each.get(place)) for each in pictures}) > 1]


def pack(pictures: Sequence[Parts], texts: Sequence[Any], positions: Sequence[Any], **more: Any) -> bytes:
    """What differs between pictures and the words of each, by the positions of a slider; more: as it is."""
    found = _pack(pictures, varying(pictures), texts=list(texts), positions=list(positions), **more)
    return zlib.compress(found, 6)


class Screen(anywidget.AnyWidget):
    """A figure in the browser, and the words above it.

    * controls: what it depends on; framed: the one of them at whose positions pictures are made beforehand, or None
    * figure, lines: what is shown
    * ready: whether the browser has the pictures of the present view, and shows them without the kernel
    """

    _esm = SCRIPTS + "export default screen;\n"
    _css = STYLE
    carrier: Any = traitlets.Any().tag(sync=True, **ipywidgets.widget_serialization)
    controls: Any = traitlets.List().tag(sync=True, **ipywidgets.widget_serialization)
    framed: Any = traitlets.Int(-1).tag(sync=True)
    movable: Any = traitlets.List().tag(sync=True)  # traces on whose panels a hand moves something
    home: Any = traitlets.Unicode().tag(sync=True)  # the model of the explorer
    # Read when a page asks for the whole state, and never set: changes go as messages.
    whole: Any = traitlets.Any().tag(sync=True, to_json=lambda _, screen: screen._whole())
    count: Any = traitlets.Int(0).tag(sync=True)  # of the messages, which a page misses that is still being opened
    bundle: Any = traitlets.Bytes().tag(sync=True)

    def __init__(
        self,
        figure: go.Figure,
        lines: Sequence[str],
        controls: Sequence[ipywidgets.ValueWidget] = (),
        framed: ipywidgets.ValueWidget | None = None,
    ) -> None:
        self.figure, self.lines, self.ready = figure, tuple(lines), False
        self.others, self.positions = list[Any](), list[Any]()
        self._keys = [key(control) for control in controls]
        self._at = _stand(controls)
        self._shown = parts(figure)
        self._pending: list[Place] = []  # what the browser was free to change since the kernel last sent it
        self._coming: Iterator[tuple[go.Figure, Sequence[str]]] | None = None
        self._pictures: list[Parts] = []
        self._texts: list[Sequence[str]] = []
        self._moves: dict[int, Callable[[Any, Any], None]] = {}
        super().__init__(carrier=plotly_js(), controls=list(controls))
        if framed:
            self.follow(framed)
        self.on_msg(self._answer)

    def follow(self, framed: ipywidgets.ValueWidget) -> None:
        """Have a control pick from pictures that are made beforehand."""
        self.others = [control for control in self.controls if control is not framed]
        self.positions, self.framed = positions(framed), self.controls.index(framed)

    def show(self, figure: go.Figure, lines: Sequence[str], *, silently: bool = False) -> None:
        """Bring the browser to the figure, which has the same traces, and its words by one message of what has changed.

        silently: send nothing.
        """
        before, after = self._shown, parts(figure)
        self.figure, self.lines, self._shown, self._at = figure, tuple(lines), after, _stand(self.controls)
        if silently:
            return
        changed = [place for place in {**before, **after} if not same(before.get(place), after.get(place))]
        moved = list(dict.fromkeys([*self._pending, *changed]))
        self._pending = []
        self._tell(moved)

    def on_move(self, trace: int, call: Callable[[Any, Any], None]) -> None:
        """Call with the coordinates where a hand is pressed, or moves, on the panel of the trace."""
        self._moves[trace] = call
        self.movable = list(self._moves)

    def make(self, coming: Iterator[tuple[go.Figure, Sequence[str]]]) -> None:
        """Make one more picture of the present view, or send them when all are made.

        coming: pictures and words in the order of positions. What has been begun for the present view is gone on with.
        """
        if self._coming is None:
            self._coming, self._pictures, self._texts = coming, [], []
            self._given = _stand(self.controls)
        for figure, lines in self._coming:
            self._pictures.append(parts(figure))
            self._texts.append(lines)
            return
        self._pending, self.ready = varying(self._pictures), True
        places = self.positions if key(self.controls[self.framed]) == "value" else range(len(self.positions))
        self.bundle = pack(self._pictures, self._texts, places, given=self._given)
        self._coming, self._pictures = None, []

    def drop(self) -> None:
        """Another control has moved: what was made is of no use, here and in the browser.

        The same pictures may come again when it moves back: an empty bundle in between lets them be sent again.
        """
        self.ready, self._coming, self.bundle = False, None, b""

    def _whole(self) -> bytes:
        return self._packed(list(self._shown), config=CONFIG, count=self.count, keys=self._keys)

    def _packed(self, places: Sequence[Place], **more: Any) -> bytes:
        return _pack([self._shown], places, lines=self.lines, at=self._at, **more)

    def _tell(self, places: Sequence[Place]) -> None:
        self.count += 1
        self.send({}, [self._packed(places)])

    def _answer(self, _: object, said: dict[str, Any], __: object) -> None:
        """A page has missed a message, or a hand moves in a panel."""
        if "missed" in said:
            self._tell(list(self._shown))
        elif call := self._moves.get(said["moved"][0]):
            call(*said["moved"][1:])


def _stand(controls: Sequence[Any]) -> list[Any]:
    """Where controls stand, as the browser says it."""
    return [getattr(control, key(control)) for control in controls]


class _Carrier(anywidget.AnyWidget):
    """Brings plotly.js to the browser, once for all figures: it is 5 MB."""

    _esm = SCRIPTS + "export default carrier;\n"
    version = traitlets.Unicode(get_plotlyjs_version()).tag(sync=True)
    code = traitlets.Bytes().tag(sync=True)


_carriers: list[_Carrier] = []  # at most one


def plotly_js() -> _Carrier:
    """What carries plotly.js to the browser, which reads it at once; a new one after all widgets have been closed."""
    if not _carriers or _carriers[0].comm is None:
        _carriers[:] = [_Carrier(code=get_plotlyjs().encode())]
    return _carriers[0]


def _pack(pictures: Sequence[Parts], places: Sequence[Place], **more: Any) -> bytes:
    """The values of pictures at places: the length of a head, the head as JSON, numbers of arrays.

    In the head every value stands once, with the pictures that take it.
    """
    numbers = bytearray()
    properties = []
    for trace, path in places:
        different: dict[Any, Any] = {}
        keys = [_key(each.get((trace, path))) for each in pictures]
        for k, each in zip(keys, pictures, strict=True):
            different.setdefault(k, each.get((trace, path)))
        order = {k: number for number, k in enumerate(different)}
        spelled = [_spelled(value, numbers) for value in different.values()]
        properties.append({"trace": trace, "path": path, "values": spelled, "picks": [order[k] for k in keys]})
    text = json.dumps({"properties": properties, **more}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    head = text.encode()
    head += b" " * (-(len(head) + 4) % 8)  # arrays of floats start at multiples of their size
    return len(head).to_bytes(4, "little") + head + bytes(numbers)


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


def _traces_and_texts(picture: Parts) -> tuple[Any, ...]:
    texts = [path for trace, path in picture if trace is None and path.startswith("annotations[")]
    types = [(trace, value) for (trace, path), value in picture.items() if path == "type"]
    return *types, *(path for path in texts if path.endswith(".text"))


def _key(value: Any) -> Any:
    """What tells a value from others."""
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value.dtype.str, value.shape, value.tobytes()
    return json.dumps(_plain(value))


def _spelled(value: Any, numbers: bytearray) -> Any:
    """A value for the head; the numbers of a vector or a matrix stand apart, and the head says where."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif" or value.ndim not in (1, 2):
        return _plain(value)
    if value.dtype.name not in TYPED:
        value = value.astype(np.uint8 if value.dtype.kind == "b" else np.float64)
    numbers.extend(bytes(-len(numbers) % 8))
    place = {"dtype": value.dtype.name, "shape": list(value.shape), "from": len(numbers)}
    numbers.extend(np.ascontiguousarray(value).tobytes())
    return place


def _plain(value: Any) -> Any:
    """A value as JSON has it: what is not finite is null, which plotly leaves out."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
