"""The linear part of a block: the layers between two activations, as one map."""

import hashlib
import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.nets.operators import Convolution, Dense, Operator, Scale, Shape, over_rows

__all__ = ["LinearMap", "times_root"]

SMALLEST = 1e-290  # a product this small has lost digits, or all of them
SAFE = 1e-18  # in float32, and far from it in float64, the square of such a number is not lost
LARGEST_MATRIX = 2**22  # entries up to which several layers are written as one matrix
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
    lipschitz: an upper bound of the norm of W that the layers guarantee in exact arithmetic; lipschitz_error: what
    rounding may have added to it, relatively.
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

    def then(self, layer: "LinearMap") -> "LinearMap":
        """The map followed by that of one operator: never a product of two norms.

        Both become one matrix where it has at most LARGEST_MATRIX entries; a scale of channels goes into the
        convolution before it. Raises InvalidInput where the weights are so small that their products underflow.
        """
        (other,), rounded = layer.operators, layer.relative_error
        bias, bias_error = self._bias_after(other, layer.bias, rounded, layer.bias_error)
        before = self.layers or self.operators
        operators, relative = (*before, other), self.relative_error + rounded
        last = before[-1] if before else None
        if isinstance(other, Scale) and isinstance(last, Convolution) and last.out_shape == other.in_shape:
            _check_underflow(
                last.weight.abs() * over_rows(other.weight.abs(), last.weight.dim()),
                (last.weight != 0) & over_rows(other.weight != 0, last.weight.dim()),
            )
            operators, relative = (*before[:-1], last.scaled_rows(other.weight)), relative + 2 * UNIT
        found = LinearMap(operators, bias, self.in_shape, other.out_shape, None, relative, bias_error)
        vouched = self.lipschitz * layer.lipschitz
        doubt = (1 + self.lipschitz_error) * (1 + layer.lipschitz_error) - 1
        found = replace(found, lipschitz=vouched, lipschitz_error=doubt + 2 * UNIT)
        if len(operators) > 1 and prod(self.in_shape) * prod(other.out_shape) <= LARGEST_MATRIX:
            return found._collapsed()
        return found

    def _bias_after(
        self, other: Operator, bias: Tensor, rounded: float, bias_error: Tensor | float
    ) -> tuple[Tensor, Tensor | float]:
        """The bias of both together, and how far rounding may have moved it."""
        if not self.operators and not self.bias.dim():
            return bias, bias_error

        def moved(through: Operator, values: Tensor) -> Tensor:
            return through(values.expand(self.out_shape).reshape(1, *through.in_shape))[0]

        absolute = other.with_entries(torch.abs)
        size = moved(absolute, self.bias.detach().abs())
        error = (other.terms + 8) * UNIT * (size + bias.detach().abs()) + rounded * size + bias_error
        if self.bias.detach().any():
            error = error + other.terms * TINY
        if isinstance(self.bias_error, Tensor):
            error = error + moved(absolute, self.bias_error)
        return moved(other, self.bias) + bias, error

    def _collapsed(self) -> "LinearMap":
        """The one matrix of all operators."""
        size = _matrix(self._absolute).detach()
        _check_underflow(size, _matrix(self._pattern) > 0)
        error = (sum(op.terms + 2 for op in self.operators) * UNIT + self.relative_error) * size
        matrix = Dense(_matrix(self.operators), self.in_shape)
        return replace(self, operators=(matrix,), matrix_error=error, layers=self.operators)

    @cached_property
    def digest(self) -> bytes:
        """A cryptographic hash of the operators, without the bias: other maps have other ones."""
        found = hashlib.blake2b(digest_size=32)
        for operator in self.operators:
            found.update(type(operator).__name__.encode())
            for field in fields(operator):
                value = getattr(operator, field.name)
                plain = isinstance(value, Tensor)
                found.update(value.detach().cpu().contiguous().numpy().tobytes() if plain else repr(value).encode())
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
            raise InvalidInput(
                expected=f"a layer of at most {LARGEST_WEIGHT} entries as a matrix",
                got=f"{self.rows} × {self.columns}",
                cause="a method that needs the matrix, on a large convolution",
                next_step='use a method that does not, such as method="fft" or "aposteriori"',
            )
        if not self.operators:
            return torch.eye(self.rows, dtype=self.bias.dtype, device=self.bias.device)
        return _matrix(self.operators)

    def linear(self, h: Tensor) -> Tensor:
        """W h: (batch, *in_shape) -> (batch, *out_shape)."""
        return _through(self.operators, h).reshape(len(h), *self.out_shape)

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
        return _through(self._absolute, d).reshape(len(d), *self.out_shape)

    def reached(self, moved: Tensor) -> Tensor:
        """Which outputs read one of the moved inputs: bool (batch, *in_shape) -> (batch, *out_shape)."""
        return _through(self._pattern, moved.to(self.bias.dtype)).reshape(len(moved), *self.out_shape) != 0

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
    def _absolute(self) -> tuple[Operator, ...]:
        return tuple(op.with_entries(torch.abs) for op in self.operators)

    @cached_property
    def _pattern(self) -> tuple[Operator, ...]:
        return tuple(op.with_entries(lambda w: (w != 0).to(w.dtype)) for op in self.operators)

    @property
    def terms(self) -> int:
        """How many products are summed for one output at most, counted through all operators."""
        return sum(operator.terms for operator in self.operators)

    @cached_property
    def underflow(self) -> Tensor:
        """More than underflow, in the operators one after the other, can take of an output: (1, *out_shape)."""
        lost = self.bias.detach().new_zeros(1, *self.in_shape)
        for operator in self._absolute:
            lost = operator(lost.reshape(1, *operator.in_shape)) + operator.terms * torch.finfo(lost.dtype).tiny
        return lost.detach().reshape(1, *self.out_shape)

    @cached_property
    def normalised(self) -> tuple["LinearMap", Tensor]:
        """The map without bias whose operators' largest entries are 1, and by what it has to be multiplied."""
        operators, scale = [], self.bias.detach().new_ones(())
        for operator in self.operators:
            largest = _or_one(operator.weight.detach().abs().amax())
            operators.append(operator.divided(largest))
            scale = torch.where(operator.weight.detach().any(), (scale * largest).clamp_min(TINY), 0 * scale)
        return LinearMap(tuple(operators), self.bias.new_zeros(()), self.in_shape, self.out_shape), scale

    def largest_size(self) -> Tensor:
        """Upper bound of the norm of |W|, layers kept apart one by one: the root of row sums times column sums."""
        ones = self.bias.new_ones(())
        if not self.operators:
            return ones
        rows = _through(self._absolute, ones.expand(1, *self.in_shape)).flatten() + self.underflow.flatten()
        columns = ones.expand(1, *self.operators[-1].out_shape)
        for operator in reversed(self._absolute):
            columns = operator.adjoint(columns.reshape(1, *operator.out_shape)) + prod(operator.out_shape) * TINY
        return (rows.amax().sqrt() * columns.amax().sqrt()).detach()

    def row_norms(self, column_slope: Tensor) -> Tensor:
        """‖row_j(W) D^½‖ for every row j, D = diag(column_slope): (batch, *in_shape) -> (batch, *out_shape).

        Where layers are kept apart, the sum of |entries of the later| times the norms of the rows of the first: more.
        """
        if not self.operators:
            return column_slope.sqrt().reshape(len(column_slope), *self.out_shape)
        first = self.operators[0]
        scale = _or_one(first.weight.detach().abs().reshape(len(first.weight), -1).amax(dim=1))
        slope = column_slope.reshape(len(column_slope), *first.in_shape)
        # Where several entries of a kernel meet in one of the matrix, (a + b)² <= 2(a² + b²).
        squared = first.copies * first.scaled_rows(1 / scale).with_entries(torch.square)(slope)
        if self.has_tiny_entries or (slope.detach() > 0).logical_and(slope.detach() < SAFE).any():
            alive = first.with_entries(lambda w: (w != 0).to(w.dtype))((slope > 0).to(slope.dtype)) > 0
        else:
            alive = squared != 0  # NaN, of a zero weight and an endless slope, stays NaN
        # Squares that underflow are made up for; the root has no finite gradient at 0.
        squared = squared.clamp_min(first.terms * torch.finfo(squared.dtype).tiny)
        norms = over_rows(scale, squared.dim() - 1) * torch.where(alive, squared, 1.0).sqrt() * alive
        norms = _through(self._absolute[1:], norms).reshape(len(norms), *self.out_shape)
        if len(self.operators) > 1:  # what underflow has taken of the products
            norms = norms + self.underflow * self.reached(column_slope > 0)
        return norms

    def whole_row_norms(self) -> Tensor:
        """The same with every column, (1, *out_shape), for entries whose squares are ordinary numbers."""
        if not self.operators:
            return self.bias.new_ones(1, *self.out_shape)
        first = self.operators[0]
        squared = first.copies * first.with_entries(torch.square)(self.bias.new_ones(1, *first.in_shape))
        norms = squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()
        return _through(self._absolute[1:], norms).reshape(1, *self.out_shape)

    def between_rows(self, y: Tensor, column_slope: Tensor) -> Tensor:
        """‖(row_y − row_j) D^½‖ for every row j: y (batch,), column_slope (batch, *in_shape) -> (batch, rows)."""
        difference = times_root(self.weight[y, None, :] - self.weight, column_slope.flatten(1).sqrt()[:, None, :])
        scale = _or_one(difference.detach().abs().amax(dim=2))
        return scale * torch.linalg.vector_norm(difference / scale[:, :, None], dim=2)


def times_root(weight: Tensor, root: Tensor) -> Tensor:
    """weight · root, whose size is never below the true one by underflow: for norms and largest changes."""
    found = weight * root
    if ((root >= 1) | (root == 0)).all():
        return found
    lost = (found.detach().abs() < TINY) & (weight.detach() != 0) & (root > 0)
    return torch.where(lost, TINY * weight.detach().sign(), found)


def _through(operators: tuple[Operator, ...] | list[Operator], h: Tensor) -> Tensor:
    for operator in operators:
        h = operator(h.reshape(len(h), *operator.in_shape))
    return h


def _matrix(operators: tuple[Operator, ...] | list[Operator]) -> Tensor:
    """The product of operators as a matrix: what becomes of every unit vector, from the smaller side."""
    first, last = operators[0], operators[-1]
    rows, columns = prod(last.out_shape), prod(first.in_shape)
    like = first.weight
    if rows < columns and not isinstance(last, Dense) and len(operators) == 1:
        back = torch.eye(rows, dtype=like.dtype, device=like.device).reshape(rows, *last.out_shape)
        return last.adjoint(back).reshape(rows, columns)
    if isinstance(first, Dense):
        columns_of = first.weight.T
        operators = operators[1:]
    else:
        columns_of = torch.eye(columns, dtype=like.dtype, device=like.device)
    return _through(operators, columns_of).reshape(columns, rows).T


def _check_underflow(size: Tensor, reached: Tensor) -> None:
    if (reached & (size.detach() < SMALLEST)).any():
        raise InvalidInput(
            expected=f"consecutive linear layers whose products of weights stay above {SMALLEST:g}",
            got=f"a product of {size.detach()[reached].min().item():g}",
            cause="weights that training has driven towards 0",
            next_step="set such weights to 0, or merge the two layers",
        )


def _or_one(largest: Tensor) -> Tensor:
    """Scales to divide by, so that the squares of 1e-200 and 1e200 stay finite: 1 in place of 0."""
    return torch.where(largest > 0, largest, 1.0)
