"""The bounds of one network near one point: values over a grid of radii, what they cost, and how they are ordered."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch
from torch import Tensor, nn

from lliptools.bounds import BOUNDS, Bound, exact_bound, local_bound, merged_bound, path_bound, round_up, sampled_bound
from lliptools.bounds.merged import ENTRIES, affordable, widest
from lliptools.bounds.record import CENTRED
from lliptools.certificates.certificate import certify
from lliptools.digits import radius_text
from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets import read_blocks

# (smaller, larger): what holds on every network, at every point and radius. tightest <= merged holds where the
# multipliers were affordable (LatticeRow.merged says where). Nothing orders local or global and what is merged.
THEOREMS = (
    ("sampled", "exact"),
    ("exact", "tightest"),
    ("exact", "merged"),
    ("tightest", "local"),
    ("tightest", "merged"),
    ("merged", "path"),
    ("local", "global"),
    ("centred", "local"),
)
SLACK = 1 + 1e-6  # what norms that are upper bounds with probability can be off by
DIGITS = 1e-12  # relative: what float64 has not lost of a value by ordinary rounding, which is not enclosed here
PATTERNS = 1000  # branches of the exact search: a view waits for it
SAMPLES, CLIMB = 32, 12


def _of_small_layers(bound: Callable[..., Bound]) -> Callable[..., Bound]:
    """The bound, refused where a layer as a matrix is so large that a view would wait for minutes."""

    def patient(net: nn.Module, x: Tensor, eps: float | Tensor) -> Bound:
        if widest(read_blocks(net, x.shape[1:])) > ENTRIES:
            wanted, mend = f"layers of at most {ENTRIES} entries as matrices", "call the bound itself, which takes long"
            raise InvalidInput(expected=wanted, got="a larger one", cause="convolutions", next_step=mend)
        return bound(net, x, eps)

    return patient


def rungs() -> dict[str, Callable[..., Bound]]:
    """The bounds of lliptools.BOUNDS, the slow ones with less patience, and the centred one."""
    return {**BOUNDS, **IN_A_VIEW}


IN_A_VIEW: dict[str, Callable[..., Bound]] = {
    "path": _of_small_layers(path_bound),
    "merged": _of_small_layers(merged_bound),
    "exact": _of_small_layers(partial(exact_bound, max_cells=PATTERNS, max_patterns=PATTERNS)),
    "sampled": partial(sampled_bound, samples=SAMPLES, steps=CLIMB),
    "centred": partial(local_bound, centred=True),  # of the centre and any point: the others are of any two
}


class LatticeRow:
    """One bound near one point x, (*sample), with its label, over radii as far as they have been computed.

    * values: (radii,), NaN where it was not affordable
    * holds: (radii,) bool, whether it certifies the label, with rounding enclosed
    * merged: (radii,) bool, of the tightest bound: whether it tried multipliers
    * kind: as of Bound, "" where nothing was computed; centred: whether it compares with the centre only
    * note: why there is none
    * one_by_one: radii by themselves, in rising order up to the first that the bound refuses, as the exact search does
    """

    def __init__(
        self, net: nn.Sequential, x: Tensor, y: int, bound: Callable[..., Bound], *, one_by_one: bool = False
    ) -> None:
        self._net, self._x, self._y, self._bound, self._one_by_one = net, x, y, bound, one_by_one
        self.values = torch.zeros(0, dtype=torch.float64)
        self.holds, self.merged = torch.zeros(2, 0, dtype=torch.bool)
        self.kind = self.note = ""
        self.centred = False
        self._seconds, self._done = 0.0, 0

    @property
    def cost(self) -> float:
        """Seconds per point and radius; NaN where nothing was computed."""
        return self._seconds / self._done if self._done else torch.nan

    def extend(self, radii: Tensor) -> None:
        """Compute the values at more radii, in one batched call where they are not taken one by one."""
        count, x = len(radii), self._x
        values = torch.full((count,), torch.nan, dtype=torch.float64)
        holds, merged = torch.zeros(2, count, dtype=torch.bool)
        for part in torch.arange(count).split(1 if self._one_by_one else count):
            points, labels = x[None].expand(len(part), *x.shape), torch.full((len(part),), self._y, device=x.device)
            start = perf_counter()
            try:
                found = self._bound(self._net, points, radii[part])
            except UnsupportedLayer:
                self.note = self.note or "not for these layers"
                break
            except InvalidInput:
                self.note = self.note or "not affordable"
                break
            self._seconds, self._done = self._seconds + perf_counter() - start, self._done + len(part)
            self.kind = self.kind or found.kind
            values[part] = found.value.detach().double().cpu()
            if (tried := affordable(found)).any():
                merged[part[tried.cpu()]] = True
            if found.kind == "upper":
                self.centred = found.between == CENTRED
                proof = certify(self._net, points, labels, radii[part], bound=self._bound, centred=self.centred)
                holds[part] = proof.holds.cpu()
        self.values, self.holds = torch.cat([self.values, values]), torch.cat([self.holds, holds])
        self.merged = torch.cat([self.merged, merged])


@dataclass(frozen=True, eq=False)
class LatticeView:
    """The bounds of one network near one labelled point: radii (radii,), names in order, and the rows there are yet."""

    label: int
    radii: Tensor
    names: tuple[str, ...]
    rows: dict[str, LatticeRow]

    @property
    def most(self) -> float:
        """The largest value."""
        values = [value for row in self.rows.values() for value in row.values.tolist() if math.isfinite(value)]
        return max(values, default=0.0)

    def value(self, name: str, index: int) -> float:
        """The value at radii[index], NaN where there is none."""
        return self.rows[name].values[index].item() if name in self.rows else torch.nan

    def kind(self, name: str) -> str:
        """Upper, lower or estimate, and "exact" of the truth."""
        found = self.rows[name].kind if name in self.rows else ""
        return "exact" if name == "exact" and found else found

    def note(self, name: str, index: int) -> str:
        """Why there is no value."""
        if name not in self.rows:
            return "not computed yet"
        return "" if self.value(name, index) == self.value(name, index) else self.rows[name].note

    def refuted(self, name: str, index: int) -> bool:
        """Whether what calls itself an upper bound, between any two points, lies below a slope that was found."""
        if self.kind(name) != "upper" or self.rows[name].centred:
            return False
        return self.value(name, index) * SLACK < self.value("sampled", index)

    def certifies(self, name: str, index: int) -> bool:
        """Whether the label is certified by this bound at radii[index]; by one that is refuted anywhere, nothing is."""
        trusted = not any(self.refuted(name, k) for k in range(len(self.radii)))
        return name in self.rows and trusted and bool(self.rows[name].holds[index])

    def theorems(self, index: int) -> set[tuple[str, str]]:
        """All pairs (smaller, larger) that are ordered by a theorem at radii[index], transitively closed."""
        found = {pair for pair in THEOREMS if set(pair) <= {*self.names}}
        if "tightest" not in self.rows or not self.rows["tightest"].merged[index]:
            found -= {("tightest", "merged")}
        return _closed(found)

    def edges(self, index: int) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """The lines of the Hasse diagram: those that are theorems, and those that only hold at every radius here."""
        theorems = self.theorems(index)
        seen = {(a, b) for a in self.names for b in self.names if a != b and self._below(a, b)} - theorems
        seen = {pair for pair in seen if pair[::-1] not in theorems}
        return _covers(theorems), _covers(theorems | seen) - theorems

    def _below(self, one: str, other: str) -> bool:
        """Whether one is below the other at every radius of the grid, and somewhere strictly."""
        if one not in self.rows or other not in self.rows:
            return False
        a, b = self.rows[one].values, self.rows[other].values
        return bool((a <= b * SLACK).all() and (a * SLACK < b).any())

    def summary(self, index: int) -> tuple[str, ...]:
        """How far the bounds are from the truth in a sentence; then values and certificates."""
        values = [f"ε = {radius_text(self.radii[index].item())} · label {self.label}"]
        for name in self.names:
            values.append(f"{name} {self.written(name, index)}")
        proved = [name for name in self.names if self.certifies(name, index)]
        more = [f"certified by {', '.join(proved)}" if proved else "not certified by any"]
        if refuted := [name for name in self.names if self.refuted(name, index)]:
            more.append(f"refuted by a slope that was found: {', '.join(refuted)}")
        if missing := [f"{name} ({self.note(name, index)})" for name in self.names if self.note(name, index)]:
            more.append(f"without a value: {', '.join(missing)}")
        truth, least = self.value("exact", index), self.value("sampled", index)
        base, what = (truth, "the truth") if truth == truth else (least, "the steepest slope that was found")
        eps, loose = radius_text(self.radii[index].item()), self.value("local", index) / base if base > 0 else math.nan
        upper = sum(row.kind == "upper" for row in self.rows.values())
        verdict = f"ε = {eps}: the local bound is {loose:.3g} times {what}" if loose == loose else f"ε = {eps}"
        verdict += (
            f"; {len(proved)} of {upper} upper bounds certify the label." if proved else "; none certifies the label."
        )
        return verdict, " · ".join(values), " · ".join(more)

    def written(self, name: str, index: int) -> str:
        """The value, an upper bound rounded up and a lower bound down, as far as it is known."""
        value, sign = self.value(name, index), {"upper": "≤ ", "lower": "≥ ", "exact": "", "": ""}
        if value != value:
            return "–"
        value *= 1 + DIGITS if self.kind(name) == "lower" else 1 - DIGITS
        shown = round_up(-value).lstrip("-") if self.kind(name) == "lower" else round_up(value)
        return sign.get(self.kind(name), "about ") + shown


def _closed(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    more = {(a, d) for a, b in pairs for c, d in pairs if b == c and a != d} - pairs
    return _closed(pairs | more) if more else pairs


def _covers(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs between which nothing lies."""
    return {(a, b) for a, b in pairs if not any((a, c) in pairs and (c, b) in pairs for c in {c for _, c in pairs})}
