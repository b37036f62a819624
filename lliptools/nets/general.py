"""How operations that move entries, or mix them linearly, are read: by what they do to the entries of a sample."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from lliptools.nets.composition import LARGEST_MATRIX
from lliptools.nets.entrywise import Entrywise
from lliptools.nets.joins import Half
from lliptools.nets.operators import Shape
from lliptools.nets.registry import MOVES, PRODUCTS
from lliptools.nets.values import Value, argument, operation, product, reshaped, wide

__all__ = ["GENERAL", "Open"]


class Open:
    """The size of the batch, which the program leaves open."""


def moved(node: fx.Node, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation that moves, repeats or leaves out entries, found from what it makes of their places."""
    value, size = args[0], argument(node).shape[0]
    if not isinstance(value, Value):
        return None
    count, entries = size if isinstance(size, int) else 2, prod(value.shape)
    places = torch.arange(1.0, count * entries + 1, dtype=torch.float64).reshape(count, *value.shape)
    rest = [_closed(argument, count) for argument in args[1:]]
    found, shift = (target(x, *rest, **kwargs) for x in (places, torch.zeros_like(places)))
    if isinstance(found, Tensor):
        return _rearranged(value, found, shift, count)
    parts = tuple(_rearranged(value, *pair, count) for pair in zip(found, shift, strict=True))
    return None if None in parts else parts


def _closed(argument: Any, count: int) -> Any:
    if isinstance(argument, list | tuple):
        return [_closed(each, count) for each in argument]
    return count if isinstance(argument, Open) else argument


def _rearranged(value: Value, found: Tensor, shift: Tensor, count: int) -> Value | None:
    """The value whose entries are found at these places of the batch; 0 for those that are the shift alone."""
    found, entries = found - shift, prod(value.shape)
    if found.dim() < 2 or len(found) != count or not (shift == shift[:1]).all():
        return None
    first, shift = found[0], shift[0]
    later = entries * torch.arange(count, dtype=torch.float64).view(-1, *[1] * first.dim())
    if not (found == (first + later) * (first > 0)).all() or not ((first >= 0) & (first <= entries)).all():
        return None
    index, weight, shape = (first.long() - 1).clamp_min(0), (first > 0).double(), tuple(first.shape)
    start = int(index.flatten()[0])
    in_order = weight.all() and not shift.any() and (index.flatten() == torch.arange(index.numel()) + start).all()
    if in_order and index.numel() == entries:
        return reshaped(value, shape)
    layers = (*value.layers, Entrywise(weight, shift, index))
    halved = (value.shape[0] // 2, *value.shape[1:]) == shape and value.shape[0] % 2 == 0
    if in_order and halved and start in (0, entries // 2):
        return Half(layers, shape, value, start > 0)
    return Value(layers, shape)


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

    def of(x: Tensor) -> Tensor:
        def given(part: Any) -> Any:
            return [*map(given, part)] if isinstance(part, list | tuple) else _as_wide(x if part is value else part)

        found: Tensor = target(*map(given, args), **kwargs)
        return found

    try:
        unit = torch.eye(columns).reshape(columns, *value.shape)
        nothing, found = of(torch.zeros_like(unit)), of(unit)
    except RuntimeError:  # as of constants that are for so many samples
        return None
    if nothing.any() or found.shape != (columns, *out):
        return None
    mixed = product(reshaped(value, (columns,)), found.reshape(columns, -1).T.to(node.meta["val"].dtype))
    return reshaped(mixed if scale == 1 else mixed.then(Entrywise(wide(scale))), out)


def _as_wide(part: Any) -> Any:
    return part.double() if isinstance(part, Tensor) and part.is_floating_point() else part


GENERAL: dict[Any, Callable[..., Any]] = {
    **{operation(name): moved for name in MOVES.split()},
    **{operation(name): mixed for name in PRODUCTS.split()},
}
"""By operation: what takes the node, the operation, its arguments and its named ones, and returns as in JOINING."""
