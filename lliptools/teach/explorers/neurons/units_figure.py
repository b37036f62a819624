"""Hidden units by their state, and the weights between them without what is masked."""

import math

import numpy as np

from lliptools.teach.explorers.neurons.view import NeuronView
from lliptools.teach.shared.panels import BARE, HIDDEN, Panels, Span, Spec, array, columns, named
from lliptools.teach.shared.style import STATES, WEIGHT_KEPT, WEIGHTS, State, state_names
from lliptools.teach.shared.units import AT_ONCE, AT_THETA, ON

WIDTH = 782  # pixels between the margins of the figure
SYMBOLS = 600  # units up to which each is a symbol; more are cells of a picture
MAPS = 40_000  # units of feature maps that are shown at most
GAP = len(STATES)  # code of what is no unit
COLORS = [state.fill for state in STATES] + ["#FFFFFF"]
FILLS = [[edge / (GAP + 1), fill] for k, fill in enumerate(COLORS) for edge in (k, k + 1)]


def units(panels: Panels, across: Span, up: Span, height: int, view: NeuronView, index: int, first: int) -> None:
    """A panel for every hidden layer of those that are shown: its units as symbols, or its feature maps as pictures."""
    shown = view.layers[first : first + AT_ONCE]
    if len(view.layers) <= AT_ONCE:
        shown = shown[:-1]  # the outputs are no hidden units
    if not shown:
        panels.write("no hidden units: one linear map, nothing to mask", sum(across) / 2, sum(up) / 2)
    # One way of showing for the whole network, so that one legend says it.
    many = any(layer.block.slope.dim() > 2 or layer.block.slope[0].numel() > SYMBOLS for layer in view.hidden)
    wide, tall = WIDTH * (across[1] - across[0]) / max(len(shown), 1), (height - 66) * (up[1] - up[0])
    for slot, (layer, span) in enumerate(zip(shown, columns(len(shown), *across, gap=0.04), strict=True)):
        found, none = array(layer.states(index)), layer.block.activation is None
        varying, count = int((found >= ON).sum()), found.size
        kept = f"{varying} of {count} units varying" if len(shown) <= 2 else f"{varying}/{count} varying"
        cells = _maps(found, wide, tall) if many and not none else np.full((1, 1), GAP, dtype=np.uint8)
        row = math.ceil(math.sqrt(count * wide / tall))  # symbols in one
        ends = (-0.7, row - 0.3), (math.ceil(count / row) - 0.4, -0.6)
        if many:
            ends = (-0.5, cells.shape[1] - 0.5), (cells.shape[0] - 0.5, -0.5)
        word = "layer " if len(shown) < AT_ONCE else ""  # room is scarce
        title = f"{layer.name}: no activation" if none else f"{word}{layer.name}: {kept}"
        panels.open(span, up, title, *({**HIDDEN, "range": end} for end in ends))
        names = state_names(layer.constants)
        counts = "<br>".join(f"{int((found == code).sum())} {name}" for code, name in enumerate(names))
        gap = 1 if found.ndim == 1 and count <= SYMBOLS else 0
        panels.heat(cells, FILLS, GAP + 1, f"{_shape(found)}<br>{counts}", xgap=gap, ygap=gap)
        size = 0.0 if many else min(11.0, wide / 1.45 / row)
        lower, upper = (array(side.flatten()) for side in layer.unit_box(index))
        for code in (code for code in range(len(STATES)) if code != AT_THETA or view.clipped):
            where = np.flatnonzero(found == code) if not (many or none) else np.empty(0, dtype=int)
            text = [f"unit {u}: {names[code]}<br>pre-activation in [{lower[u]:.3g}, {upper[u]:.3g}]" for u in where]
            empty = [] if len(where) else [None]  # an empty marker keeps an empty state in the legend
            places = [*(where % row).tolist(), *empty], [*(where // row).tolist(), *empty]
            more = {**named(names[code], shown=slot == 0), "text": text}
            panels.marks(*places, "%{text}", more=more, **_symbol(STATES[code], size))


def _symbol(state: State, size: float) -> Spec:
    """A state as a symbol of a size; without one as it stands in the legend of a picture."""
    symbol, color, ink = (state.symbol, state.color, state.color) if size else ("square", state.fill, "#666666")
    return {"symbol": symbol, "color": color, "size": size or 11, "line": {"width": 1.2, "color": ink}}


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


def weights(panels: Panels, up: Span, view: NeuronView, index: int, first: int) -> None:
    """A panel for every linear map of those that are shown: what is left of it, in the corner of what was there."""
    shown = list(range(len(view.layers)))[first : first + AT_ONCE]
    for slot, (number, span) in enumerate(zip(shown, columns(len(shown), 0.0, 1.0, gap=0.05), strict=True)):
        left, drawn, name = view.masked(number, index), view.weights[number], view.layers[number].name
        cells = array(left.cells)
        picture = np.where(np.isnan(cells), 255, np.nan_to_num(cells) * WEIGHT_KEPT).astype(np.uint8)
        (rows, columns_), (kept_rows, kept_columns) = left.full, left.kept
        matrix = f"{rows}×{columns_} → {kept_rows}×{kept_columns}"
        if left.channels is None:
            title, (tall, wide) = f"W<sub>{name}</sub>  {matrix}", left.full
            inputs = f"columns: inputs of layer {name}" if len(shown) <= 3 else f"inputs of {name}"
            across: Spec = {"title": inputs, **_whole_ticks(columns_)}
            down: Spec = {"title": "" if slot else "rows: units", **_whole_ticks(rows)}
        else:
            (every_out, every_in), (kept_out, kept_in) = left.channels
            tall, wide = cells.shape
            size = "×".join(map(str, drawn.kernel))
            title = f"K<sub>{name}</sub>  {every_out}×{every_in} of {size} → {kept_out}×{kept_in}"
            across, down = {"title": matrix, **BARE}, {"title": "" if slot else "kernels", **BARE}
        across |= {"range": [-0.5, wide - 0.5], "mirror": True}
        panels.open(span, up, title, across, {**down, "range": [tall - 0.5, -0.5], "mirror": True})
        hover = f"{kept_rows} of {rows} rows and {kept_columns} of {columns_} columns are left"
        dy, dx = left.step
        hover += "" if left.step == (1, 1) else f"<br>a cell is the mean of {dy}×{dx} entries"
        panels.heat(picture, WEIGHTS, 255, hover, x0=(dx - 1) / 2, dx=dx, y0=(dy - 1) / 2, dy=dy)
        panels.write(drawn.words or " ", sum(span) / 2, sum(up) / 2)


def _whole_ticks(count: int) -> Spec:
    """Ticks at whole numbers, for an axis of counted things."""
    return {"nticks": 5} if count > 5 else {"tick0": 0, "dtick": 1}
