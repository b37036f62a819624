"""The linear part of a block: the layers between two activations, as one map."""

import hashlib
import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.nets.operators import Dense, Operator, Shape

SAFE = 1e-18  # in float32, and far from it in float64, the square of such a number does not underflow
LARGEST_WEIGHT = 2**27  # entries up to which a matrix is written at all
UNIT = torch.finfo(torch.float64).eps / 2
TINY = torch.finfo(torch.float64).tiny  # more than underflow takes of a product


@dataclass(frozen=True, eq=False)
class LinearMap:
    """The affine map h -> W h + b: operators one after the other, and the bias that they leave together.

    in_shape, out_shape: shapes of one sample. bias: broadcasts over out_shape.
    How far rounding may have moved them from the network's own: relative_error of the entries of the operators, in
    relation to their size; matrix_error (rows, columns) of the matrix of several layers; bias_error of the bias.
    layers: the operators that a matrix of several layers was made of.
    lipschitz: of W, as the layers guarantee in exact arithmetic; lipschitz_error: what rounding may add, relatively.
    """

    operators: tuple[Operator, ...]
    bias: Tensor
    in_shape: Shape
    out_shape: Shape
    matrix_error: Tensor | None = None
    relative_error: float = 0.0
    bias_error: Tensor | float = 0.0
    layers: tuple[Operator, ...] = ()
    lipschitz: float = math.inf
    lipschitz_error: float = 0.0

    @classmethod
    def identity(cls, shape: Shape, like: Tensor) -> "LinearMap":
        """The map that changes nothing, in the precision and on the device of a tensor."""
        return cls((), like.new_zeros(()), shape, shape, lipschitz=1.0)

    @classmethod
    def of(cls, operator: Operator, bias: Tensor | None = None, relative_error: float = 0.0) -> "LinearMap":
        """The map of one operator and a bias of one number per output row or channel."""
        like, wide = operator.weight, (-1, *[1] * (len(operator.out_shape) - 1))
        shift = like.new_zeros(()) if bias is None else bias.to(like.dtype).view(wide)
        return cls((operator,), shift, operator.in_shape, operator.out_shape, relative_error=relative_error)

    @classmethod
    def dense(cls, weight: Tensor, bias: Tensor | None = None) -> "LinearMap":
        """The map of a matrix (rows, columns) and a bias (rows,)."""
        return cls.of(Dense(weight, weight.shape[1:]), bias)

    def to(self, device: torch.device, *, copy: bool = False) -> "LinearMap":
        """The map of one operator on a device; with copy its numbers are its own, with gradients to those before."""
        operators = tuple(operator.with_entries(lambda w: w.to(device, copy=copy)) for operator in self.operators)
        error = self.bias_error.to(device) if isinstance(self.bias_error, Tensor) else self.bias_error
        return replace(self, operators=operators, bias=self.bias.to(device, copy=copy), bias_error=error)

    def reshaped(self, shape: Shape) -> "LinearMap":
        """The same map with outputs of another shape."""
        bias = self.bias.expand(self.out_shape).reshape(shape) if self.bias.dim() else self.bias
        error = self.bias_error
        if isinstance(error, Tensor) and error.dim():
            error = error.expand(self.out_shape).reshape(shape)
        return replace(self, bias=bias, out_shape=shape, bias_error=error)

    @cached_property
    def digest(self) -> bytes:
        """A cryptographic hash of the operators and their shapes, without the bias: other maps have other ones."""
        found = hashlib.blake2b(repr(self.out_shape).encode(), digest_size=32)
        for operator in self.operators:
            found.update(f"{type(operator).__name__}{operator.in_shape}{operator.out_shape}".encode())
            for field in fields(operator):
                value = getattr(operator, field.name)
                if isinstance(value, Tensor):
                    found.update(f"{field.name}{tuple(value.shape)}{value.dtype}".encode())
                    found.update(value.detach().cpu().contiguous().numpy().tobytes())
                else:
                    found.update(f"{field.name}={value!r};".encode())
        return found.digest()

    @property
    def requires_grad(self) -> bool:
        """Whether an entry is to have a gradient."""
        return any(operator.weight.requires_grad for operator in self.operators)

    @property
    def rows(self) -> int:
        """Number of outputs."""
        return prod(self.out_shape)

    @property
    def columns(self) -> int:
        """Number of inputs."""
        return prod(self.in_shape)

    @cached_property
    def weight(self) -> Tensor:
        """The matrix W on flattened samples, (rows, columns). Raises InvalidInput where it would be too large."""
        if len(self.operators) == 1 and isinstance(self.operators[0], Dense):
            return self.operators[0].weight
        if self.rows * self.columns > LARGEST_WEIGHT:
            why = "a method that needs the matrix", 'use another, such as method="fft" or "aposteriori"'
            raise InvalidInput(f"a matrix of at most {LARGEST_WEIGHT} entries", f"{self.rows} × {self.columns}", *why)
        if not self.operators:
            return torch.eye(self.rows, dtype=self.bias.dtype, device=self.bias.device)
        return matrix_of(self.operators)

    def linear(self, h: Tensor) -> Tensor:
        """W h: (batch, *in_shape) -> (batch, *out_shape)."""
        return through(self.operators, h).reshape(len(h), *self.out_shape)

    def adjoint(self, z: Tensor) -> Tensor:
        """Wᵀ z: (batch, *out_shape) -> (batch, *in_shape)."""
        for operator in reversed(self.operators):
            z = operator.adjoint(z.reshape(len(z), *operator.out_shape))
        return z.reshape(len(z), *self.in_shape)

    def __call__(self, h: Tensor) -> Tensor:
        """W h + b: (batch, *in_shape) -> (batch, *out_shape)."""
        return self.linear(h) + self.bias

    def apply(self, h: Tensor) -> Tensor:
        """W h + b; NaN where a sum overflowed, since ±inf would say too much."""
        z = self(h)
        # One look at all of them is cheaper than one at each, unless a GPU has to be waited for.
        if z.is_cpu and z.detach().sum().isfinite():
            return z
        return torch.where(z.isfinite(), z, torch.nan)

    def apply_absolute(self, d: Tensor) -> Tensor:
        """|W| d, or more where layers are kept apart: half-widths (batch, *in_shape) -> (batch, *out_shape)."""
        return through(self.absolute, d).reshape(len(d), *self.out_shape)

    def reached(self, moved: Tensor) -> Tensor:
        """Which outputs read one of the moved inputs: bool (batch, *in_shape) -> (batch, *out_shape)."""
        return through(self.pattern, moved.to(self.bias.dtype)).reshape(len(moved), *self.out_shape) != 0

    @cached_property
    def has_tiny_entries(self) -> bool:
        """Whether products of an entry with a number that is not small itself, or with itself, may underflow."""
        for operator in self.operators:
            size = operator.weight.detach().abs().reshape(len(operator.weight), -1)
            small = size < SAFE * torch.maximum(size.amax(dim=1, keepdim=True), size.new_ones(()))
            if (small & (size > 0)).any():
                return True
        return False

    @cached_property
    def absolute(self) -> tuple[Operator, ...]:
        """The operators with all entries positive."""
        return tuple(op.with_entries(torch.abs) for op in self.operators)

    @cached_property
    def pattern(self) -> tuple[Operator, ...]:
        """The operators with 1 for every entry that is not 0."""
        return tuple(op.with_entries(lambda w: (w != 0).to(w.dtype)) for op in self.operators)

    @property
    def terms(self) -> int:
        """How many products are summed for one output at most, counted through all operators."""
        return sum(operator.terms for operator in self.operators)

    @cached_property
    def underflow(self) -> Tensor:
        """More than underflow, of the inputs' own errors and in one operator after the other, can take of an output.

        (1, *out_shape). The error of an input of 1e-310 is one of its product with a weight of 1e300.
        """
        error = self.bias.detach().new_full((1, *self.in_shape), torch.finfo(self.bias.dtype).tiny)
        for operator in self.absolute:
            error = operator(error.reshape(1, *operator.in_shape)) + operator.terms * torch.finfo(error.dtype).tiny
        return error.detach().reshape(1, *self.out_shape)

    @cached_property
    def normalised(self) -> tuple["LinearMap", Tensor]:
        """The map without bias whose operators' largest entries are 1, and by what it has to be multiplied."""
        operators, scale = [], self.bias.detach().new_ones(())
        for operator in self.operators:
            largest = or_one(operator.weight.detach().abs().amax())
            operators.append(operator.divided(largest))
            scale = torch.where(operator.weight.detach().any(), (scale * largest).clamp_min(TINY), 0 * scale)
        return LinearMap(tuple(operators), self.bias.new_zeros(()), self.in_shape, self.out_shape), scale


def through(operators: tuple[Operator, ...] | list[Operator], h: Tensor) -> Tensor:
    """Operators one after the other: (batch, *in_shape of the first) -> (batch, *out_shape of the last)."""
    for operator in operators:
        h = operator(h.reshape(len(h), *operator.in_shape))
    return h


def matrix_of(operators: tuple[Operator, ...] | list[Operator]) -> Tensor:
    """The product of operators as a matrix: what becomes of every unit vector, from the smaller side."""
    first, last = operators[0], operators[-1]
    rows, columns = prod(last.out_shape), prod(first.in_shape)
    if _backward(operators):
        found = last.weight if isinstance(last, Dense) else _unit_vectors(rows, last.weight)
        for operator in reversed(operators[:-1] if isinstance(last, Dense) else operators):
            found = operator.adjoint(found.reshape(rows, *operator.out_shape))
        return found.reshape(rows, columns)
    if isinstance(first, Dense):
        return through(operators[1:], first.weight.T).reshape(columns, rows).T
    return through(operators, _unit_vectors(columns, first.weight)).reshape(columns, rows).T


def matrix_terms(operators: tuple[Operator, ...] | list[Operator]) -> int:
    """How many products are summed for one entry of their matrix at most, counted through all operators."""
    back = _backward(operators)
    return sum(max(operator.terms, operator.spread) if back else operator.terms for operator in operators)


def _backward(operators: tuple[Operator, ...] | list[Operator]) -> bool:
    """Whether their matrix has fewer rows than columns."""
    return prod(operators[-1].out_shape) < prod(operators[0].in_shape)


def _unit_vectors(count: int, like: Tensor) -> Tensor:
    return torch.eye(count, dtype=like.dtype, device=like.device)


def or_one(largest: Tensor) -> Tensor:
    """Scales to divide by, so that the squares of 1e-200 and 1e200 stay finite: 1 in place of 0."""
    return torch.where(largest > 0, largest, 1.0)
