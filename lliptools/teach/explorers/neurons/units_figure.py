"""Hidden units by their state, and the weights between them with what is struck gone."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lliptools.teach.explorers.neurons.view import NeuronView
from lliptools.teach.shared.panels import HIDDEN, Panels, Span, Spec, array, columns
from lliptools.teach.shared.style import STATES, WEIGHT_KEPT, WEIGHTS
from lliptools.teach.shared.units import AT_THETA, ON, Station, constants, states, unit_box

__all__ = ["AT_ONCE", "units", "weights"]

AT_ONCE = 4  # linear maps that are shown side by side
SYMBOLS = 600  # units up to which each is a symbol; more are cells of a picture
MAPS = 40_000  # units of feature maps that are shown at most
GAP = len(STATES)  # code of what is no unit
FILLS = [[edge / (GAP + 1), fill] for k, fill in enumerate([state.fill for state in STATES] + ["#FFFFFF"])
         for edge in (k, k + 1)]  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """Where a row of panels lies, in fractions of the figure, and its size in pixels."""

    across: Span
    up: Span
    wide: float
    tall: float


def units(panels: Panels, frame: Frame, view: NeuronView, index: int, first: int) -> None:
    """A panel for every hidden layer of those that are shown: its units as symbols, or its feature maps as pictures."""
    shown = view.stations[first : first + AT_ONCE]
    if len(view.stations) <= AT_ONCE:
        shown = shown[:-1]  # the outputs are no hidden units
    if not shown:
        panels.write("no hidden units: one linear map, nothing to strike", sum(frame.across) / 2, sum(frame.up) / 2)
    # One way of showing for the whole network, so that one legend says it.
    many = any(station.block.slope.dim() > 2 or station.block.slope[0].numel() > SYMBOLS for station in view.hidden)
    for slot, (station, span) in enumerate(zip(shown, columns(len(shown), *frame.across, gap=0.04), strict=True)):
        block = station.block
        found = array(states(block, index))
        varying, count = int((found >= ON).sum()), found.size
        kept = f"{varying} of {count} units varying" if len(shown) <= 2 else f"{varying}/{count} varying"
        panel = Panel(station, found, frame.wide / len(shown), frame.tall, legend=slot == 0)
        none = block.activation is None
        picture = _maps(found, panel.wide, panel.tall) if many and not none else np.full((1, 1), GAP, dtype=np.uint8)
        across = math.ceil(math.sqrt(count * panel.wide / panel.tall))
        ends = (-0.7, across - 0.3), (math.ceil(count / across) - 0.4, -0.6)
        if many:
            ends = (-0.5, picture.shape[1] - 0.5), (picture.shape[0] - 0.5, -0.5)
        word = "layer " if len(shown) < AT_ONCE else ""  # room is scarce
        title = f"{station.name}: no activation" if none else f"{word}{station.name}: {kept}"
        panels.open(span, frame.up, title, *({**HIDDEN, "range": end} for end in ends))
        counts = "<br>".join(f"{int((found == code).sum())} {name}" for code, name in enumerate(panel.names()))
        gap = 1 if found.ndim == 1 and count <= SYMBOLS else 0
        look = {"colorscale": FILLS, "zmin": 0, "zmax": GAP + 1, "showscale": False, "xgap": gap, "ygap": gap}
        panels.add("heatmap", z=picture, hovertemplate=f"{_shape(found)}<br>{counts}<extra></extra>", **look)
        for code in (code for code in range(len(STATES)) if code != AT_THETA or view.clipped):
            where = np.flatnonzero(found == code) if not (many or none) else np.empty(0, dtype=int)
            _symbols(panels, panel, code, where, across, unit_box(block, index), many)


@dataclass(frozen=True)
class Panel:
    """One hidden layer: the states of its units, (*units,), and the size of its panel in pixels."""

    station: Station
    found: np.ndarray
    wide: float
    tall: float
    legend: bool

    def names(self) -> tuple[str, ...]:
        """What the states are called."""
        low, high = constants(self.station.block.activation)
        return f"constant at {low}", f"constant at {high}", *(state.name for state in STATES[ON:])


def _symbols(
    panels: Panels, panel: Panel, code: int, where: np.ndarray, across: int, box: tuple[Tensor, Tensor], many: bool
) -> None:
    """The units of one state; where units are cells of a picture, only the legend's entry."""
    state, name = STATES[code], panel.names()[code]
    lower, upper = (array(side.flatten()) for side in box)
    none = [] if len(where) else [None]  # an empty marker keeps an empty state in the legend
    size, color = min(11.0, panel.wide / 1.45 / across), state.fill if many else state.color
    line = {"width": 1.2, "color": "#666666" if many else state.color}
    panels.add(
        "scatter",
        mode="markers",
        name=name,
        showlegend=panel.legend,
        x=[*(where % across).tolist(), *none],
        y=[*(where // across).tolist(), *none],
        marker={
            "symbol": "square" if many else state.symbol,
            "color": color,
            "size": 11 if many else size,
            "line": line,
        },
        text=[f"unit {u}: {name}<br>pre-activation in [{lower[u]:.3g}, {upper[u]:.3g}]" for u in where],
        hovertemplate="%{text}<extra></extra>",
    )


def _shape(found: np.ndarray) -> str:
    if found.ndim < 2:
        return f"{found.size} units"
    return f"{len(found)} maps of {'×'.join(map(str, found.shape[1:]))}"


def _maps(found: np.ndarray, wide: float, tall: float) -> np.ndarray:
    """Codes of feature maps side by side, in the grid whose cells come out most nearly square: (rows, columns)."""
    if found.ndim == 1:
        across = math.ceil(math.sqrt(found.size * wide / tall))
        padded = np.full(-(-found.size // across) * across, GAP, dtype=np.uint8)
        padded[: found.size] = found
        return padded.reshape(-1, across)
    maps = found.reshape(len(found), -1, found.shape[-1])
    maps = maps[: max(1, MAPS // maps[0].size)]
    count, height, width = maps.shape
    across = min(range(1, count + 1), key=lambda n: _misfit(n, count, height, width, wide / tall))
    gap = 1 if width < 12 else 2
    framed = np.full((-(-count // across) * across, height + gap, width + gap), GAP, dtype=np.uint8)
    framed[:count, :height, :width] = maps
    rows = framed.reshape(-1, across, height + gap, width + gap).transpose(0, 2, 1, 3)
    return rows.reshape(len(rows) * (height + gap), -1)[:-gap, :-gap]


def _misfit(across: int, count: int, height: int, width: int, wanted: float) -> float:
    rows = math.ceil(count / across)
    return abs(math.log(across * width / (rows * height) / wanted)) + (rows * across - count) / count


def weights(panels: Panels, frame: Frame, view: NeuronView, index: int, first: int) -> None:
    """A panel for every linear map of those that are shown: what is left of it, in the corner of what was there."""
    shown = list(range(len(view.stations)))[first : first + AT_ONCE]
    for slot, (number, span) in enumerate(zip(shown, columns(len(shown), *frame.across, gap=0.05), strict=True)):
        left, drawn, name = view.struck(number, index), view.weights[number], view.stations[number].name
        cells = array(left.cells)
        picture = np.where(np.isnan(cells), 255, np.nan_to_num(cells) * WEIGHT_KEPT).astype(np.uint8)
        (rows, columns_), (kept_rows, kept_columns) = left.full, left.kept
        matrix = f"{rows}×{columns_} → {kept_rows}×{kept_columns}"
        if left.channels is None:
            title = f"W<sub>{name}</sub>  {matrix}"
            tall, wide = rows, columns_
            across: Spec = {"title": f"columns: inputs of layer {name}" if len(shown) <= 3 else f"inputs of {name}"}
            across |= _whole_ticks(columns_)
            down: Spec = {"title": "" if slot else "rows: units", **_whole_ticks(rows)}
        else:
            (every_out, every_in), (kept_out, kept_in) = left.channels
            tall, wide = cells.shape
            size = "×".join(map(str, drawn.kernel))
            title = f"K<sub>{name}</sub>  {every_out}×{every_in} of {size} → {kept_out}×{kept_in}"
            across = {"title": matrix, "ticks": "", "showticklabels": False}
            down = {"title": "" if slot else "kernels", "ticks": "", "showticklabels": False}
        across |= {"range": [-0.5, wide - 0.5], "mirror": True}
        down |= {"range": [tall - 0.5, -0.5], "mirror": True}
        panels.open(span, frame.up, title, across, down)
        struck = f"{kept_rows} of {rows} rows and {kept_columns} of {columns_} columns are left"
        mean = "" if left.step == (1, 1) else f"<br>a cell is the mean of {left.step[0]}×{left.step[1]} entries"
        panels.add(
            "heatmap",
            z=picture,
            x0=(left.step[1] - 1) / 2,
            dx=left.step[1],
            y0=(left.step[0] - 1) / 2,
            dy=left.step[0],
            zmin=0,
            zmax=255,
            colorscale=WEIGHTS,
            showscale=False,
            hovertemplate=f"{struck}{mean}<extra></extra>",
        )
        panels.write(drawn.words or " ", sum(span) / 2, sum(frame.up) / 2)


def _whole_ticks(count: int) -> dict[str, object]:
    """Ticks at whole numbers, for an axis of counted things."""
    return {"nticks": 5} if count > 5 else {"tick0": 0, "dtick": 1}
