"""Check a certificate file in exact arithmetic, with Python's own library only: python checker.py FILE.

THE FILE is one JSON object. Numbers are decimal and mean exactly what they say; objects have these keys and no others.

    file   {"format": FORMAT, "claim": CLAIM, "name": text, "network": [layer, …], "points": [point, …]}
    layer  {"weight": [row, …], "bias": [number, …], "theta": [number or null, …]}: z = W h + b, and a hidden layer goes
           on to min(max(z, 0), max(theta, 0)), unit by unit, or max(z, 0) for null. In the last layer "theta" is [].
    point  {"x": [number, …], "label": integer from 0, "eps": number, "hidden": [step, …], one per hidden layer,
            "margins": [number, …], "multipliers": [number, …], both one per class other than the label, in order}
    step   {"lower": [number, …], "upper": [number, …], "varies": [true or false, …], one each per unit,
            "norm": number, "factor": [[number], [number, number], …], a lower triangle, "radius": number}

THE PROOF goes through the layers. Of the inputs h of a layer it knows their values h(x) at x, a box that holds them on
the whole ball, which of them vary, and a radius r with ‖h − h(x)‖ <= r; at first x, x ± eps, all, eps. Then it checks:

1. lower <= z <= upper, either end by interval arithmetic or by r: z moves at most r · ‖row of W, columns that vary‖.
2. "varies" is false only for units that are constant: upper <= 0, or lower >= theta, or theta <= 0.
3. norm >= ‖M‖, where M has the rows and columns of W that vary, or is its transpose where that has fewer rows:
   norm² I − M Mᵀ = L Lᵀ + R with L = factor and R_ii >= Σ |R_ij| over j ≠ i. Both terms are positive semidefinite.
4. radius >= r · norm: the next r.

For a class j of the last layer let w = W_j − W_label and t = multiplier > 0. A move d of h inside ball and box adds
w·d <= w·d + (r² − ‖d‖²) / 2t to f_j − f_label, and the right-hand side is largest at d = t w, clipped to the box. So
2t (f_label(x) − f_j(x) − margin) >= r² + Σ d_i (2t w_i − d_i) proves f_label − f_j >= margin > 0 on the ball.
"""

import json
import sys
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, localcontext
from operator import add, mul, sub
from pathlib import Path
from typing import Any

__all__ = ["CLAIM", "FORMAT", "Refused", "check"]

FORMAT = "lliptools certificate 1"
CLAIM = "at Euclidean distance eps or less from x, the output at label exceeds every other by at least its margin"
EXACT = Context(prec=10_000, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation])  # never rounds: it raises
ZERO = Decimal(0)


class Refused(Exception):
    """What a certificate file does not prove."""


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


def _fits(value: Any, form: Any) -> bool:
    """Whether the value has the form: a type, or a list or an object of forms."""
    if isinstance(form, list):
        return isinstance(value, list) and len(value) == len(form) and all(map(_fits, value, form))
    if isinstance(form, dict):
        return isinstance(value, dict) and value.keys() == form.keys() and all(_fits(value[k], form[k]) for k in form)
    return isinstance(value, form)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _need(len(dict(pairs)) == len(pairs), "a key is repeated")
    return dict(pairs)


def _dot(one: Any, other: Any) -> Decimal:
    return sum(map(mul, one, other), ZERO)


def _norm_follows(M: list[Any], norm: Decimal, L: Any) -> bool:
    left = [norm * norm] * len(M)
    for i in range(len(M)):
        left[i] -= _dot(M[i], M[i]) + _dot(L[i], L[i])
        for j in range(i):
            residual = abs(_dot(M[i], M[j]) + _dot(L[i], L[j]))  # L[j], the shorter row, ends the sum
            left[i], left[j] = left[i] - residual, left[j] - residual
    return norm >= 0 and min(left, default=ZERO) >= 0


def _hidden(layer: dict[str, Any], known: tuple[Any, ...], step: Any) -> tuple[Any, ...]:
    """What is known of the outputs: values at x, lower and upper ends of the box, which vary, radius."""
    at_x, low, high, moving, r = known
    units = [Decimal] * len(layer["bias"])
    form = {"lower": units, "upper": units, "varies": [bool] * len(units), "norm": Decimal, "radius": Decimal}
    _need(_fits(step, form | {"factor": list}), "form of a step")
    outputs, M, sums, widths = [], [], [*map(add, low, high)], [*map(sub, high, low)]
    each = [layer["weight"], layer["bias"], layer["theta"], step["lower"], step["upper"], step["varies"]]
    for j, (row, b, theta, lower, upper, varies) in enumerate(zip(*each, strict=True)):
        z, twice_middle, twice_half = _dot(row, at_x) + b, _dot(row, sums) + 2 * b, _dot(map(abs, row), widths)
        masked = [w for w, moves in zip(row, moving, strict=True) if moves]
        moved = r * r * _dot(masked, masked)
        _need(2 * lower <= twice_middle - twice_half or (z - lower) * abs(z - lower) >= moved, f"unit {j}: lower")
        _need(2 * upper >= twice_middle + twice_half or (upper - z) * abs(upper - z) >= moved, f"unit {j}: upper")
        _need(varies or upper <= 0 or lower >= theta or theta <= 0, f"unit {j}: varies")
        outputs.append([min(max(v, ZERO), max(theta, ZERO)) for v in (z, lower, upper)])
        M += [masked] if varies else []
    M = min(M, [[*column] for column in zip(*M, strict=True)], key=len)
    _need(_fits(step["factor"], [[Decimal] * (k + 1) for k in range(len(M))]), "form of factor")
    _need(_norm_follows(M, step["norm"], step["factor"]), "norm")
    _need(step["radius"] >= r * step["norm"], "radius")
    return *zip(*outputs, strict=True), step["varies"], step["radius"]


def _point(network: list[dict[str, Any]], point: Any) -> str:
    *hidden, last = network
    inputs, others = [Decimal] * len(network[0]["weight"][0]), [Decimal] * (len(last["bias"]) - 1)
    form = {"x": inputs, "label": Decimal, "eps": Decimal, "hidden": [dict] * len(hidden), "margins": others}
    _need(_fits(point, form | {"multipliers": others}), "form of a point")
    x, eps, label = point["x"], point["eps"], point["label"]
    _need(eps >= 0 and label in range(len(last["bias"])), "eps or label")
    known: tuple[Any, ...] = x, [v - eps for v in x], [v + eps for v in x], [True] * len(x), eps
    for layer, step in zip(hidden, point["hidden"], strict=True):
        known = _hidden(layer, known, step)
    at_x, low, high, _, r = known
    rows = [[*row, b] for row, b in zip(last["weight"], last["bias"], strict=True)]
    own = rows.pop(int(label))
    for j, (row, margin, t) in enumerate(zip(rows, point["margins"], point["multipliers"], strict=True)):
        *w, b = map(sub, row, own)
        moves = [min(max(t * v, a - h), c - h) for v, h, a, c in zip(w, at_x, low, high, strict=True)]
        most = r * r + sum(d * (2 * t * v - d) for v, d in zip(w, moves, strict=True))
        _need(margin > 0 and t > 0 and 2 * t * (-_dot(w, at_x) - b - margin) >= most, f"margin {j}")
    return f"label {label}, eps {eps}, margins from {min(point['margins'])}"


def check(text: str | bytes) -> str:
    """What the text of a certificate file proves, line by line. Raises Refused if any part of it is not proved."""
    lines, where = [f"certified: {CLAIM}"], "network"
    try:
        with localcontext(EXACT):
            file = json.loads(text, parse_float=Decimal, parse_int=Decimal, object_pairs_hook=_object)
            form: Any = {"format": str, "claim": str, "name": str, "network": list, "points": list}
            _need(_fits(file, form) and (file["format"], file["claim"]) == (FORMAT, CLAIM), "format or claim")
            network = file["network"]
            sizes = [len(network[0]["weight"][0]), *(len(layer["weight"]) for layer in network)]
            _need(min(sizes) > 0 and sizes[-1] > 1 and len(file["points"]) > 0, "units, classes or points are missing")
            for layer, columns, rows in zip(network, sizes[:-1], sizes[1:], strict=True):
                theta = [] if layer is network[-1] else [Decimal | None] * rows
                form = {"weight": [[Decimal] * columns] * rows, "bias": [Decimal] * rows, "theta": theta}
                _need(_fits(layer, form), "form of a layer")
                layer["theta"] = [Decimal("inf") if top is None else top for top in layer["theta"]]
            lines.append(f"network {file['name']!r:.80}, as in the file: {'-'.join(map(str, sizes))}")
            for k, point in enumerate(file["points"]):
                where = f"point {k}"
                lines.append(f"{where}: {_point(network, point)}")
    except (Refused, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise Refused(f"{where}: {error}") from error
    return "\n".join(lines)


if __name__ == "__main__":
    print(check(Path(sys.argv[1]).read_bytes()))
