"""How operations that move entries, or mix them linearly, are read: by what they do to the entries of a sample."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from lliptools.nets.composition import LARGEST_MATRIX
from lliptools.nets.joins import Half
from lliptools.nets.operators import Shape
from lliptools.nets.registry import MOVES, PRODUCTS
from lliptools.nets.steps import Entrywise
from lliptools.nets.values import Value, argument, operation, places, product, rearranged, reshaped, wide


class Open:
    """The size of the batch, which the program leaves open."""


def moved(node: fx.Node, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation that moves, repeats, leaves out or joins entries, found from what it makes of their places."""
    first = args[0] if isinstance(args[0], list | tuple) else args[:1]
    values = [part for part in first if isinstance(part, Value)]
    if not values or any(isinstance(part, Value) for part in args[1:]):
        return None
    size = argument(node).shape[0]
    count = size if isinstance(size, int) else 2

    def of(numbers: Iterator[Tensor]) -> Any:
        given = [next(numbers) if isinstance(part, Value) else part for part in first]
        return target(given if first is args[0] else given[0], *[_closed(part, count) for part in args[1:]], **kwargs)

    numbers = places(values, count)
    found, shift = of(iter(numbers)), of(map(torch.zeros_like, numbers))
    if isinstance(found, Tensor):
        return _as_value(values, found - shift, shift, count)
    parts = tuple(_as_value(values, one - other, other, count) for one, other in zip(found, shift, strict=True))
    return None if None in parts else parts


def _closed(argument: Any, count: int) -> Any:
    if isinstance(argument, list | tuple):
        return [_closed(each, count) for each in argument]
    return count if isinstance(argument, Open) else argument


def _as_value(values: list[Value], found: Tensor, shift: Tensor, count: int) -> Value | None:
    """The value whose entries are found at these places, or one that is reshaped, or the half of one."""
    moved = rearranged(values, found, shift) if len(found) == count else None
    if moved is None or len(values) > 1:
        return moved
    (value,), shape, flat = values, moved.shape, found[0].flatten()
    in_order = not shift.any() and (flat == torch.arange(flat.numel()) + flat[0]).all() and flat[0] > 0
    if in_order and flat.numel() == prod(value.shape):
        return reshaped(value, shape)
    halved = (value.shape[0] // 2, *value.shape[1:]) == shape and value.shape[0] % 2 == 0
    if in_order and halved and int(flat[0]) - 1 in (0, prod(value.shape) // 2):
        return Half(moved.layers, shape, value, bool(flat[0] > 1))
    return moved


def mixed(node: fx.Node, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value | None:
    """An operation that is linear in its one argument that depends on the input, as a matrix if it is not too large."""
    flat = [each for part in args for each in (part if isinstance(part, list | tuple) else [part])]
    values = [part for part in flat if isinstance(part, Value)]
    out: Shape = tuple(node.meta["val"].shape[1:])
    if len(values) != 1 or not out or prod(out) * prod(values[0].shape) > LARGEST_MATRIX:
        return None
    if sum(isinstance(part, Tensor) for part in flat) > 1:  # products of constants, which are rounded
        return None
    (value,), columns, scale = values, prod(values[0].shape), 1.0
    if target is torch.ops.aten.mean.dim:
        target, scale = torch.ops.aten.sum.dim_IntList, prod(out) / columns

    def of(x: Tensor, number: Callable[[Tensor], Tensor] = Tensor.double) -> Tensor:
        def given(part: Any) -> Any:
            if isinstance(part, list | tuple):
                return [*map(given, part)]
            if part is value:
                return x.double()
            return number(part) if isinstance(part, Tensor) and part.is_floating_point() else part

        return target(*map(given, args), **kwargs)

    try:
        unit = torch.eye(columns).reshape(columns, *value.shape)
        nothing, found = of(torch.zeros_like(unit)), of(unit)
        summed = of(unit, lambda weights: (weights != 0).double()) > 1
    except RuntimeError:  # as of constants that are for so many samples
        return None
    if nothing.any() or summed.any() or found.shape != (columns, *out):  # sums of weights would be rounded
        return None
    mixed = product(reshaped(value, (columns,)), found.reshape(columns, -1).T.to(node.meta["val"].dtype))
    return reshaped(mixed if scale == 1 else mixed.then(Entrywise(wide(scale))), out)


GENERAL: dict[Any, Callable[..., Any]] = {
    **{operation(name): moved for name in MOVES.split()},
    **{operation(name): mixed for name in PRODUCTS.split()},
}
"""By operation: what takes the node, the operation, its arguments and its named ones, and returns as in JOINING."""
