"""The norm of a masked layer by row and column sums, from above."""

from math import prod

from torch import Tensor

from lliptools.nets.linear import LinearMap
from lliptools.nets.rows import largest_size
from lliptools.norms.kinds import errs, product_above, steepest
from lliptools.norms.rounding import gamma, matrix_slack


@errs("upper", encloses=True)
def sums_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """Root of the largest row sum times the largest column sum of |W|, and of the largest slopes: quick and loose.

    Slopes (batch, …) twice -> (batch,). Source: Schur's test, ‖W‖² <= ‖W‖₁ ‖W‖_∞.
    """
    slopes = steepest(row_slope.detach()) * steepest(column_slope.detach())
    found = product_above(largest_size(linear).expand(len(slopes)), slopes)
    terms = linear.terms + sum(prod(operator.out_shape) for operator in linear.operators)  # of a row, and of a column
    return found * (1 + 4 * gamma(terms, found)) + matrix_slack(linear, row_slope, column_slope)
