"""Consecutive linear layers, and sums of them, become one map, with what rounding may have moved."""

from dataclasses import replace

import torch
from torch import Tensor

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.linear import TINY, UNIT, LinearMap, matrix_of, matrix_terms
from lliptools.nets.operators import Convolution, Dense, Operator, Scale, over_rows

SMALLEST = 1e-290  # a product this small has lost digits, or all of them
LARGEST_MATRIX = 2**22  # entries up to which several layers are written as one matrix


def composed(first: LinearMap, layer: LinearMap) -> LinearMap:
    """The first map followed by a layer of one operator: never a product of two norms.

    Both become one matrix where it has at most LARGEST_MATRIX entries; a scale of channels goes into the layer before
    it, and a bias alone, a map without operators, is added to the one before. Raises InvalidInput on underflow.
    """
    if not layer.operators and layer.bias.dim():
        return _shifted(first, layer)
    if len(layer.operators) != 1:
        why = "a chain of an own layer in which two maps were joined", "name its maps one after another in the chain"
        raise UnsupportedLayer("linear layers of one operator each", f"one of {len(layer.operators)} operators", *why)
    (operator,), before = layer.operators, first.layers or first.operators
    operators, relative = (*before, operator), first.relative_error + layer.relative_error
    last = before[-1] if before else None
    rows = isinstance(operator, Scale) and isinstance(last, Convolution | Dense | Scale) and not is_sum(first)
    if rows and last is not None and last.out_shape == operator.in_shape:
        _check_underflow(
            last.weight.abs() * over_rows(operator.weight.abs(), last.weight.dim()),
            (last.weight != 0) & over_rows(operator.weight != 0, last.weight.dim()),
        )
        operators, relative = (*before[:-1], last.scaled_rows(operator.weight)), relative + 2 * UNIT
    bias, bias_error = _bias(first, layer, operator)
    lipschitz_error = (1 + first.lipschitz_error) * (1 + layer.lipschitz_error) - 1 + 2 * UNIT
    found = LinearMap(
        operators,
        bias,
        first.in_shape,
        operator.out_shape,
        relative_error=relative,
        bias_error=bias_error,
        lipschitz=first.lipschitz * layer.lipschitz,
        lipschitz_error=lipschitz_error,
    )
    collapses = len(operators) > 1 and found.rows * found.columns <= LARGEST_MATRIX
    if is_sum(first):
        assert collapses
        return _after_sum(_collapsed(found), first, operator)
    return _collapsed(found) if collapses else found


def summed(one: LinearMap, other: LinearMap) -> LinearMap | None:
    """The sum of two maps of the same shapes as one matrix; None where it would be larger than LARGEST_MATRIX."""
    if one.rows * one.columns > LARGEST_MATRIX:
        return None
    (matrix, error), (added, more) = _entries(one), _entries(other)
    size = matrix.detach().abs() + added.detach().abs()  # of what the network itself adds up, which may cancel here
    shifts = [part.bias.expand(part.out_shape) for part in (one, other)]
    bias_error = one.bias_error + other.bias_error + 2 * UNIT * (shifts[0].abs() + shifts[1].abs()).detach()
    return LinearMap(
        (Dense(matrix + added, one.in_shape),),
        shifts[0] + shifts[1],
        one.in_shape,
        one.out_shape,
        matrix_error=error + more + 2 * UNIT * size,
        relative_error=UNIT,
        bias_error=bias_error,
    )


def is_sum(linear: LinearMap) -> bool:
    """Whether a map's matrix is not the product of its layers, as that of a sum, so that its error has to be kept."""
    return linear.matrix_error is not None and not linear.layers


def _entries(linear: LinearMap) -> tuple[Tensor, Tensor]:
    """A map's matrix, and how far rounding may have moved its entries."""
    matrix = linear.weight
    if linear.matrix_error is not None or not linear.operators:
        return matrix, torch.zeros_like(matrix) if linear.matrix_error is None else linear.matrix_error
    summed = len(linear.operators) > 1 or linear.operators[0].copies > 1
    share = linear.relative_error + summed * (matrix_terms(linear.operators) + 2 * len(linear.operators)) * UNIT
    return matrix, share * matrix_of(linear.absolute).detach()


def _after_sum(found: LinearMap, first: LinearMap, operator: Operator) -> LinearMap:
    """The collapsed map whose first layer was a sum, with what that sum's error becomes."""
    assert first.matrix_error is not None
    columns = first.matrix_error.T.reshape(first.columns, *operator.in_shape)
    moved = operator.with_entries(torch.abs)(columns).reshape(found.columns, found.rows).T.detach()
    assert found.matrix_error is not None
    return replace(found, layers=(), matrix_error=found.matrix_error + moved * (1 + 2 * operator.terms * UNIT))


def _shifted(first: LinearMap, layer: LinearMap) -> LinearMap:
    """The first map with a bias added: one that had none has exactly this one."""
    if not first.bias.dim() and not isinstance(first.bias_error, Tensor):
        return replace(first, bias=layer.bias, bias_error=layer.bias_error)
    rounded = 4 * UNIT * (first.bias.abs() + layer.bias.abs()).detach()
    return replace(first, bias=first.bias + layer.bias, bias_error=first.bias_error + layer.bias_error + rounded)


def _bias(first: LinearMap, layer: LinearMap, operator: Operator) -> tuple[Tensor, Tensor | float]:
    """The bias of both together, and how far rounding may have moved it."""
    if not first.operators and not first.bias.dim():
        return layer.bias, layer.bias_error

    def moved(by: Operator, values: Tensor) -> Tensor:
        return by(values.expand(first.out_shape).reshape(1, *by.in_shape))[0]

    absolute = operator.with_entries(torch.abs)
    size = moved(absolute, first.bias.detach().abs())
    error = (operator.terms + 8) * UNIT * (size + layer.bias.detach().abs())
    error = error + layer.relative_error * size + layer.bias_error
    if first.bias.detach().any():
        error = error + operator.terms * TINY
    if isinstance(first.bias_error, Tensor):
        error = error + moved(absolute, first.bias_error)
    return moved(operator, first.bias) + layer.bias, error


def _collapsed(linear: LinearMap) -> LinearMap:
    size = matrix_of(linear.absolute).detach()
    _check_underflow(size, matrix_of(linear.pattern) > 0)
    terms = matrix_terms(linear.operators) + 2 * len(linear.operators)
    error = (terms * UNIT + linear.relative_error) * size
    matrix = Dense(matrix_of(linear.operators), linear.in_shape)
    return replace(linear, operators=(matrix,), matrix_error=error, layers=linear.operators)


def _check_underflow(size: Tensor, reached: Tensor) -> None:
    if not (~reached | (size.detach() >= SMALLEST)).all():
        why = "weights that training has driven towards 0", "set such weights to 0, or merge the two layers"
        raise InvalidInput(f"products of layers above {SMALLEST:g}", f"{size.detach()[reached].min().item():g}", *why)
