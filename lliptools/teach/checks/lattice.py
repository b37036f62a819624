"""The exercise of notebook 08: place a new bound among the others."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds import BOUNDS, Bound
from lliptools.nets import fold, mlp
from lliptools.teach.checks.answers import ask, numbers, told
from lliptools.teach.checks.unseen import linear_layers
from lliptools.teach.exercise import Exercise, Fault, NotAttempted, Outcome, show

__all__ = ["new_bound"]

WANTED = ("exact", "local", "global")
RUNGS = (*WANTED, "merged")
ORDERS = ("above", "below", "incomparable")
SAME = 1e-7  # relative: closer than this, two bounds count as equal


@dataclass(frozen=True, eq=False)
class Place:
    """A network, points and a radius of the grid, and what the rungs are there: name -> (batch,)."""

    described: str
    net: nn.Sequential
    x: Tensor
    eps: float
    values: Mapping[str, Tensor]


class NewBound:
    """The check of a function (net, x, eps) -> (batch,) and of claims how it stands to the rungs, by name.

    claims: {"exact": ..., "local": ..., "global": ...}, each "above" (never smaller), "below" (never larger) or
    "incomparable"; "merged" may be placed as well. Claims are tested on a grid of small networks: a search, no proof.
    """

    seeded = True

    def __init__(self) -> None:
        self._exercise = Exercise(
            "new_bound",
            told(lambda answer, seed: _cases(answer[0], answer[1], seed)),
            (
                "It is a bound if it is above exact. Compare it with local factor by factor: ‖A‖ ≤ ‖A‖_F ≤ √rank ‖A‖.",
                "An order that always holds has a proof; if you find none, print both for ll.nets.mlp(2, 4, 4, 2) at a "
                "small and at a large ε.",
                "The Frobenius product strikes what is constant, the global one does not: at small ε the first is "
                "smaller. At large ε nothing is struck, and then ‖A‖_F ≥ ‖A‖.",
            ),
        )

    def __call__(
        self, function: Callable[..., Any], claims: Mapping[str, str] | None, seed: int | None = None
    ) -> Outcome:
        """Check a function and its place, on the networks of the notebook or on those of another seed."""
        return self._exercise((function, claims), seed)

    def hint(self) -> None:
        """Print the next hint."""
        self._exercise.hint()


def _cases(function: Callable[..., Any], claims: Mapping[str, str] | None, seed: int) -> Iterator[None]:
    if claims is None or claims is Ellipsis:
        raise NotAttempted(f"say how it stands to {', '.join(WANTED)}")
    if not isinstance(claims, Mapping) or not set(claims) <= set(RUNGS):
        raise Fault(f"claims are expected as a dictionary with keys of {', '.join(RUNGS)}; got {str(claims)[:80]}")
    if left := [name for name in WANTED if claims.get(name) in (None, Ellipsis)]:
        raise NotAttempted(f"say how it stands to {', '.join(left)}")
    if other := [order for order in claims.values() if order not in ORDERS]:
        raise Fault(f"a claim is one of {', '.join(ORDERS)}; got {other[0]!r}")
    found: dict[str, set[str]] = {name: set() for name in claims}
    for place in _grid(seed):
        value = ask(_value_of(function), place.described, place.net, place.x, place.eps)
        yours = numbers(value, (len(place.x),), place.described).detach()
        for name, order in claims.items():
            rung = place.values[name]
            close = SAME * torch.maximum(rung.abs(), yours.abs())
            for side, where in (("below", yours < rung - close), ("above", yours > rung + close)):
                if not where.any():
                    continue
                found[name].add(side)
                if order not in (side, "incomparable"):
                    n = int(where.nonzero()[0, 0])
                    raise Fault(
                        f"'{order} {name}' is refuted. On {place.described}, x = {show(place.x[n])} and ε = "
                        f"{place.eps:g}, {name} is {rung[n]:.6g} and yours {yours[n]:.6g}"
                    )
        yield
    for name, order in claims.items():
        if order == "incomparable" and (missing := {"above", "below"} - found[name]):
            side = "larger" if "above" in missing else "smaller"
            held = "below" if "above" in missing else "above"
            raise Fault(
                f"'incomparable to {name}' is not shown: yours is never {side} than it on {len(_grid(seed))} networks "
                f"and radii. '{held}' is not refuted there"
            )


def _value_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a Bound, where it returns one, as its value."""

    def value(*arguments: Any) -> Any:
        found = function(*arguments)
        return found.value if isinstance(found, Bound) else found

    return value


@lru_cache(maxsize=2)
def _grid(seed: int = 0) -> tuple[Place, ...]:
    """Small networks, smallest first, each with three points and three radii; what the rungs are there."""
    builds = [lambda: fold(1, 1), lambda: _random(2, 2), lambda: _random(2, 2, 1), lambda: fold(2, 2)]
    builds += [lambda: _orthogonal(2), lambda: _random(2, 3, 2), lambda: _random(2, 4, 4, 2)]
    builds += [lambda: _random(2, 4, 4, 4, 2), lambda: _random(2, 8, 8, 2)]
    rungs: dict[str, Any] = dict(BOUNDS)
    places = []
    # Another seed adds networks and takes none away: what refutes a claim, or shows that two cross, stays.
    for build, drawn in [*((build, 5) for build in builds), *((build, seed + 5) for build in builds[:7] if seed)]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(drawn)
            net = build()
            x = torch.randn(3, linear_layers(net)[0].in_features, dtype=torch.float64)
        for eps in (0.1, 0.5, 2.0):
            values = {name: rungs[name](net, x, eps).value for name in RUNGS}
            places.append(Place(_described(net), net, x, eps, values))
    return tuple(places)


def _random(*sizes: int) -> nn.Sequential:
    net = mlp(*sizes).double().requires_grad_(False)
    for layer in linear_layers(net):
        layer.weight.mul_(2.0)
    return net


def _orthogonal(width: int) -> nn.Sequential:
    """Layers that turn: products of norms lose nothing on them, and merging may."""
    net = mlp(2, width, width, 2).double().requires_grad_(False)
    for layer in linear_layers(net):
        nn.init.orthogonal_(layer.weight)
    return net


def _described(net: nn.Sequential) -> str:
    layers = linear_layers(net)
    sizes = "-".join(map(str, [layers[0].in_features, *(layer.out_features for layer in layers)]))
    if sum(layer.weight.numel() for layer in layers) > 12:
        return f"a network {sizes}"
    weights, biases = ([show(getattr(layer, part)) for layer in layers] for part in ("weight", "bias"))
    return f"the network {sizes} with weights {', '.join(weights)} and biases {', '.join(biases)}"


new_bound = NewBound()
