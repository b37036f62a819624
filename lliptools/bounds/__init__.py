"""How it is bounded: every bound is a function (net, x, eps) -> Bound that says which way it errs."""

from collections.abc import Callable

from lliptools.bounds.exact import exact_bound
from lliptools.bounds.exact_distance import adversarial_distance
from lliptools.bounds.local import global_bound, local_bound
from lliptools.bounds.merged import merged_bound, path_bound, tightest_bound
from lliptools.bounds.record import Bound
from lliptools.bounds.sampled import sampled_bound
from lliptools.digits import round_down, round_up
from lliptools.domains import BlockBound, Box
from lliptools.norms.aposteriori import AposterioriNorm
from lliptools.norms.auto import UpperNorm
from lliptools.norms.cholesky import CholeskyNorm
from lliptools.norms.exact import exact_norm
from lliptools.norms.fourier import torus_norm
from lliptools.norms.gram import GramNorm
from lliptools.norms.kinds import errs
from lliptools.norms.lanczos import LanczosNorm
from lliptools.norms.power import PowerNorm
from lliptools.norms.rounding import outward_rounding
from lliptools.norms.spectral import METHODS, spectral_norm

# Every bound, from the loosest upper bound to the truth, and the lower bound that comes to meet it.
BOUNDS: dict[str, Callable[..., Bound]] = {
    "global": global_bound,
    "local": local_bound,
    "path": path_bound,
    "merged": merged_bound,
    "tightest": tightest_bound,
    "exact": exact_bound,
    "sampled": sampled_bound,
}

__all__ = [
    "BOUNDS",
    "METHODS",
    "AposterioriNorm",
    "BlockBound",
    "Bound",
    "Box",
    "CholeskyNorm",
    "GramNorm",
    "LanczosNorm",
    "PowerNorm",
    "UpperNorm",
    "adversarial_distance",
    "errs",
    "exact_bound",
    "exact_norm",
    "global_bound",
    "local_bound",
    "merged_bound",
    "outward_rounding",
    "path_bound",
    "round_down",
    "round_up",
    "sampled_bound",
    "spectral_norm",
    "tightest_bound",
    "torus_norm",
]
