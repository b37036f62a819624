"""What bounds prove about points that lie in a file: a row for every point and radius."""

import math
from collections.abc import Callable, Sequence
from itertools import chain, starmap
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lliptools.bounds import BOUNDS, round_down, round_up
from lliptools.bounds.reading import read
from lliptools.certificates.accuracy import Certifier, Over
from lliptools.certificates.certificate import Certificate, certify
from lliptools.errors import InvalidInput, in_words
from lliptools.nets import check_input, forward
from lliptools.nets.checks import check_labels

AT_ONCE = 64  # points
SHOWN = 20  # rows of the table


def read_array(path: Path, what: Literal["points", "labels"]) -> Tensor:
    """The numbers of an .npy file: floats as float64 points, integers as int64 labels. Raises InvalidInput."""
    points = what == "points"
    expected = f"{what} as an .npy file of {'floats of 64 bits at most' if points else 'integers'} at {path}"
    cause = "a path that does not exist, another kind of file, or numbers of another kind"
    pixels = "for whole numbers x = pixels / 255 where the network was trained on values from 0 to 1, then "
    step = f"{pixels if points else ''}numpy.save(path, {'x' if points else 'y.astype(numpy.int64)'})"
    with in_words(expected, cause, step):
        with path.open("rb") as file:
            found = np.lib.format.read_array(file, allow_pickle=False)
        fits = found.dtype.kind == "f" and found.itemsize <= 8 if points else found.dtype.kind in "iu"
        if not fits:
            raise ValueError(f"an array of {found.dtype}, shape {found.shape}")
        if found.dtype.kind == "u" and found.max(initial=0) > np.iinfo("int64").max:
            raise ValueError(f"labels up to {found.max()}")
    return torch.from_numpy(found.astype("float64" if points else "int64"))


def report(
    net: nn.Module,
    x: Tensor,
    y: Tensor | None,
    radii: Sequence[float],
    names: Sequence[str],
    *,
    certifier: Certifier = certify,
    over: Over = starmap,
) -> list[dict[str, Any]]:
    """A row for every radius and point, of what JSON can hold: the bound on the ball around it, and what it certifies.

    * x: (points, *sample). y: labels, (points,); without them what the network predicts is certified.
    * names: names of upper bounds in lliptools.BOUNDS.
    * certifier: certify, or the same with other options.
    * over: who does the parts, as batchwise.in_rounds; by default this process, one after the other.

    Raises what lliptools.certify raises.
    """
    center = check_input(net, x)
    x = x.to(torch.float64)
    if not (radii and names and all(map(math.isfinite, radii))):
        got = f"radii {[*radii]}, bounds {[*names]}"
        cause = "an empty list, or the whole space, in which nothing is certified"
        step = "pass a radius in the units of the points, and the name of an upper bound"
        raise InvalidInput("at least one finite radius and one bound", got, cause, step)
    with torch.no_grad():
        logits = forward(read(net, x), center)
    predicted = logits.argmax(dim=1)
    y = predicted if y is None else check_labels(y, len(x), logits.shape[1], x.device)

    def proved(points: Tensor, labels: Tensor, eps: float) -> list[dict[str, Any]]:
        found = {name: certifier(net, points, labels, eps, bound=BOUNDS[name]) for name in names}
        margin = found[names[0]].margin
        return [
            {"margin": _number(margin[k]), "bounds": {name: _proof(each, k) for name, each in found.items()}}
            for k in range(len(points))
        ]

    batches = list(zip(x.split(AT_ONCE), y.split(AT_ONCE), strict=True))
    done = chain.from_iterable(over(proved, ((points, labels, eps) for eps in radii for points, labels in batches)))
    return [
        {"eps": eps, "point": k, "label": label, "predicted": predicted[k].item(), **next(done)}
        for eps in radii
        for k, label in enumerate(y.tolist())
    ]


def _proof(certificate: Certificate, k: int) -> dict[str, Any]:
    bound = certificate.bound
    return {
        "lipschitz": _number(bound.value[k]),
        "kind": bound.kind,
        "between": bound.between,
        "failure_probability": bound.failure_probability,
        "arithmetic": bound.arithmetic,
        "worst_margin": _number(certificate.worst_margin[k]),
        "certified": certificate.holds[k].item(),
    }


def _number(value: Tensor) -> float | None:
    """The number; None where it is infinite, which JSON cannot say."""
    return value.item() if math.isfinite(value.item()) else None


def table(rows: list[dict[str, Any]]) -> str:
    """The first rows, and how many are certified at every radius, as text; bounds are rounded upward."""
    bounds = rows[0]["bounds"]
    head = ["eps", "point", "label", "predicted", "margin", *bounds]
    lines = ["".join(f"{name:>12}" for name in head)]
    for row in rows[:SHOWN]:
        cells = [repr(row["eps"]), row["point"], row["label"], row["predicted"], _shown(row["margin"], round_down)]
        for each in row["bounds"].values():
            cells.append(f"{'✔' if each['certified'] else ' '} ≤ {_shown(each['lipschitz'], round_up)}")
        lines.append("".join(f"{cell:>12}" for cell in cells))
    if len(rows) > SHOWN:
        lines.append(f"… and {len(rows) - SHOWN} more rows, all of them with --json FILE")
    for eps in dict.fromkeys(row["eps"] for row in rows):
        same = [row["bounds"] for row in rows if row["eps"] == eps]
        counts = (f"{sum(each[name]['certified'] for each in same)} by {name}" for name in bounds)
        lines.append(f"certified (✔) at eps = {eps!r}: of {len(same)} points {', '.join(counts)}")
    for name, each in bounds.items():
        lines.append(f"{name}: {each['kind']} bound of the slope between {each['between']}; {each['arithmetic']}")
    return "\n".join(lines)


def _shown(value: float | None, rounded: Callable[[float], str]) -> str:
    return "not finite" if value is None else rounded(value)
