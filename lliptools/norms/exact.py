"""The norm of a masked layer by the eigenvalues of a Gram matrix."""

from torch import Tensor

from lliptools.nets.linear import LinearMap
from lliptools.norms.eigenvalues import root_of_largest_eigenvalue
from lliptools.norms.kinds import errs
from lliptools.norms.masked import scaled_matrices

__all__ = ["exact_norm"]


@errs("exact", encloses=True)
def exact_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """‖D_row^½ W D_column^½‖ per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,).

    Masked rows and columns are removed; the root of the largest eigenvalue of the smaller Gram matrix of what is left
    is the norm. Samples with the same slopes share the work. An all-zero mask gives 0 exactly.
    """
    return scaled_matrices(linear, row_slope, column_slope, root_of_largest_eigenvalue)
