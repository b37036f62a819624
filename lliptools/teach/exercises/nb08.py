"""The exercise of notebook 08: place a new bound among the others."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lliptools.bounds import BOUNDS, Bound, local_bound, merged_bound
from lliptools.nets import fold, mlp
from lliptools.teach.exercises.answers import ask, first, from_below, numbers
from lliptools.teach.exercises.exercise import Answer, Exercise, NotAttempted, Outcome, Wrong, show
from lliptools.teach.exercises.unseen import linear_layers, sizes

__all__ = ["NewBound"]

WANTED = ("exact", "local", "global")
PLACED = (*WANTED, "merged")
ORDERS = ("above", "below", "incomparable")
SAME = 1e-7  # relative: closer than this, two bounds count as equal


class Place:
    """A network, points and a radius of the grid, and what the bounds are there: values, name -> (batch,)."""

    def __init__(self, net: nn.Sequential, x: Tensor, eps: float) -> None:
        bounds: dict[str, Any] = dict(BOUNDS)
        self.net, self.x, self.eps, self.described = net, x, eps, _described(net)
        self.values = {name: bounds[name](net, x, eps).value for name in PLACED}


def _product(net: nn.Module, x: Tensor, eps: float, norm: Callable[[Tensor], Tensor]) -> Tensor:
    """The product over the layers of norm(masked matrices (batch, rows, columns)): (batch,)."""
    value, columns = torch.ones(len(x), dtype=torch.float64), torch.ones_like(x)
    for block in local_bound(net, x, eps).blocks:
        weight: Any = block.linear.weight
        value = value * norm(block.row_slope[:, :, None] * weight.detach() * columns[:, None, :])
        columns = block.slope
    return value


def _frobenius(net: nn.Module, x: Tensor, eps: float) -> Tensor:
    return _product(net, x, eps, lambda matrices: matrices.flatten(1).norm(dim=1))


_CLAIMS = {"exact": "above", "local": "above", "global": "incomparable"}
_SMALLEST = {"exact": "above", "local": "below", "global": "below"}


class NewBound(Exercise):
    """A function (net, x, eps) -> (batch,), and claims how it stands to the bounds, by name.

    claims: {"exact": ..., "local": ..., "global": ...}, each "above" (never smaller), "below" (never larger) or
    "incomparable"; "merged" may be placed as well. Claims are tested on a grid of small networks: a search, no proof.
    """

    hints = (
        "It is a bound if it is above exact. Compare it with local factor by factor: ‖A‖ ≤ ‖A‖_F ≤ √rank ‖A‖.",
        "An order that always holds has a proof; if you find none, print both for ll.nets.mlp(2, 4, 4, 2) at a small "
        "and at a large ε.",
        "The Frobenius product masks what is constant, the global one does not: at small ε the first is smaller. At "
        "large ε nothing is masked, and then ‖A‖_F ≥ ‖A‖.",
    )
    reference = (_frobenius, _CLAIMS)
    wrong = (
        ((_frobenius, {**_CLAIMS, "local": "below"}), "'below local' is refuted. On"),
        ((_frobenius, {**_CLAIMS, "global": "above"}), "'above global' is refuted. On the network 1-2-1"),
        ((_frobenius, {**_CLAIMS, "global": "below"}), "'below global' is refuted"),
        ((_frobenius, {**_CLAIMS, "exact": "incomparable"}), "'above' is not refuted there"),
        ((lambda net, x, eps: _product(net, x, eps, from_below), _SMALLEST), "'above exact' is refuted"),
        ((lambda net, x, eps: local_bound(net, x, 0.0), _SMALLEST), "'above exact' is refuted"),
        ((merged_bound, _SMALLEST), "'below local' is refuted"),
    )

    def __call__(  # type: ignore[override]
        self, function: Answer, claims: Mapping[str, str] | None, seed: int | None = None
    ) -> Outcome:
        """Check a function and its place, on the networks of the notebook or on those of another seed."""
        return self.outcome((function, claims), seed)

    def cases(self, seed: int) -> Iterator[tuple[tuple[Place, ...]]]:
        # The whole grid: what is incomparable shows in two places of it.
        yield (_grid(seed),)

    def check(self, answer: tuple[Answer, Any], grid: tuple[Place, ...]) -> Outcome:
        function, claims = answer[0], _claims(answer[1])
        found: dict[str, set[str]] = {name: set() for name in claims}
        for place in grid:
            value = ask(function, place.described, place.net, place.x, place.eps, read=_value, wanted="numbers")
            yours = numbers(value, (len(place.x),), place.described).detach()
            for name, order in claims.items():
                found[name] |= _sides(place, name, order, yours)
        for name, order in claims.items():
            if order == "incomparable" and (missing := {"above", "below"} - found[name]):
                side, held = ("larger", "below") if "above" in missing else ("smaller", "above")
                raise Wrong(
                    f"'incomparable to {name}' is not shown: yours is never {side} than it on {len(grid)} networks "
                    f"and radii. '{held}' is not refuted there"
                )
        return Outcome("right", f"on {len(grid)} cases")


def _claims(claims: Any) -> dict[str, str]:
    if claims is None or claims is Ellipsis:
        raise NotAttempted(f"say how it stands to {', '.join(WANTED)}")
    if not isinstance(claims, Mapping) or not set(claims) <= set(PLACED):
        raise Wrong(f"claims are expected as a dictionary with keys of {', '.join(PLACED)}; got {str(claims)[:80]}")
    if left := [name for name in WANTED if claims.get(name) in (None, Ellipsis)]:
        raise NotAttempted(f"say how it stands to {', '.join(left)}")
    if other := [order for order in claims.values() if order not in ORDERS]:
        raise Wrong(f"a claim is one of {', '.join(ORDERS)}; got {other[0]!r}")
    return dict(claims)


def _value(found: Any) -> Any:
    return found.value if isinstance(found, Bound) else found


def _sides(place: Place, name: str, order: str, yours: Tensor) -> set[str]:
    """On which sides of a bound the values are. Raises Wrong where one refutes the claim."""
    bound = place.values[name]
    close = SAME * torch.maximum(bound.abs(), yours.abs())
    sides = {"below": yours < bound - close, "above": yours > bound + close}
    for side, where in sides.items():
        if where.any() and order not in (side, "incomparable"):
            n = first(where)
            raise Wrong(
                f"'{order} {name}' is refuted. On {place.described}, x = {show(place.x[n])} and ε = {place.eps:g}, "
                f"{name} is {bound[n]:.6g} and yours {yours[n]:.6g}"
            )
    return {side for side, where in sides.items() if where.any()}


@lru_cache(maxsize=2)
def _grid(seed: int = 0) -> tuple[Place, ...]:
    """Small networks, smallest first, each with three points and three radii; what the bounds are there."""
    builds: list[Callable[[], nn.Sequential]] = [lambda: fold(1, 1), lambda: _random(2, 2), lambda: _random(2, 2, 1)]
    builds += [lambda: fold(2, 2), lambda: _orthogonal(2), lambda: _random(2, 3, 2), lambda: _random(2, 4, 4, 2)]
    builds += [lambda: _random(2, 4, 4, 4, 2), lambda: _random(2, 8, 8, 2)]
    places = []
    # Another seed adds networks and takes none away: what refutes a claim, or shows that two cross, stays.
    for build, drawn in [*((build, 5) for build in builds), *((build, seed + 5) for build in builds[:7] if seed)]:
        torch.default_generator.manual_seed(drawn)
        net = build()
        x = torch.randn(3, linear_layers(net)[0].in_features, dtype=torch.float64)
        places += [Place(net, x, eps) for eps in (0.1, 0.5, 2.0)]
    return tuple(places)


def _random(*widths: int) -> nn.Sequential:
    net = mlp(*widths).double().requires_grad_(False)
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
    if sum(layer.weight.numel() for layer in layers) > 12:
        return f"a network {sizes(net)}"
    weights, biases = (show([getattr(layer, part) for layer in layers]) for part in ("weight", "bias"))
    return f"the network {sizes(net)} with weights {weights} and biases {biases}"
