"""Certificates in stages: what is cheap decides most points, what is tight is paid for only where it matters."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lliptools.bounds import LanczosNorm, UpperNorm, global_bound, local_bound
from lliptools.bounds.local import passed
from lliptools.bounds.reading import read, reads_once
from lliptools.certificates.certificate import BoundFunction, certify
from lliptools.certificates.margins import worst_margins
from lliptools.domains import Ball, Interval
from lliptools.domains.center import Center, at_center
from lliptools.nets import LinearMap, check_input, read_blocks
from lliptools.nets.calls import options_checked
from lliptools.nets.checks import check_eps, check_labels, check_tolerance
from lliptools.norms.exact import exact_norm
from lliptools.norms.fourier import torus_norm
from lliptools.norms.kinds import errs
from lliptools.norms.rounding import outward_rounding

DELTA = 1e-9  # failure probability of all stages together
ROUGH = (5e-2,)  # relative tolerances of the norms before the last
LOWER_STEPS = (4, 12)  # of the estimate that drops points


@dataclass(frozen=True, eq=False)
class Cascade:
    """Which points are certified, and what decided them.

    * holds: (batch,) bool. eps: (batch,). failure_probability: of all stages together.
    * stage: (batch,) index into stages of what decided a point; one that none decides counts for the last.
    * seconds: of each stage.
    """

    holds: Tensor
    stage: Tensor
    stages: tuple[str, ...]
    eps: Tensor
    failure_probability: float
    seconds: tuple[float, ...]

    def __str__(self) -> str:
        """How many points every stage decided."""
        lines = [f"{int(self.holds.sum())} of {len(self.holds)} points certified"]
        for number, name in enumerate(self.stages):
            here = self.stage == number
            lines.append(f"{int(here.sum()):>6} decided by {name} ({int((here & self.holds).sum())} certified)")
        if self.failure_probability:
            lines.append(f"false with probability at most {self.failure_probability:.1g}")
        return "\n".join(lines)


@options_checked
@reads_once
def certify_in_stages(
    net: nn.Module, x: Tensor, y: Tensor, eps: float | Tensor, *, centred: bool = True, tolerance: float = 1e-3
) -> Cascade:
    """Certify labels as certify with local_bound does, at a fraction of its cost on large convolutions.

    1. The global upper bound by Fourier transform certifies what is far from any other class.
    2. An estimate of the local bound from below drops what even a bound that is too small does not certify.
    3. The local bound with the norms of large layers as they are and those of small ones masked certifies more.
    4. In between, upper norms of masked layers, first rough, then as tight as tolerance, certify point by point.

    x: (batch, *sample), y: (batch,), eps: a number or (batch,). centred: as of certify. All stages together fail with
    probability 1e-9 at most. Raises InvalidInput and UnsupportedLayer.
    """
    check_tolerance(tolerance)
    center = check_input(net, x)
    radius = check_eps(eps, center)
    with torch.no_grad(), outward_rounding():
        y = check_labels(y, len(x), read(net, x)[-1].linear.rows, center.device)
    tolerances = [*(rough for rough in ROUGH if rough > tolerance), tolerance]
    spent = [0.0]

    def certifies(bound: BoundFunction, index: Tensor) -> tuple[Tensor, Tensor]:
        found = certify(net, x[index], y[index], radius[index], bound=bound, centred=centred)
        spent.append(found.bound.failure_probability)
        # A point that is misclassified, or whose logits tie, is decided as well.
        return found.holds, found.holds | ~(found.margin > 0)

    def drops(steps: int, index: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):  # float32, and no less
            could = _could_hold(net, x[index], y[index], radius[index], steps, centred=centred)
        return torch.zeros_like(could), ~could

    stages: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
        "the global bound": partial(certifies, partial(global_bound, norm=_whole_norm)),
        **{f"an estimate from below, {n} Lanczos steps": partial(drops, n) for n in LOWER_STEPS},
        "the local bound with large layers unmasked": partial(certifies, partial(local_bound, norm=_whole_norm)),
    }
    for rough in tolerances:
        bound = partial(local_bound, norm=UpperNorm(DELTA / len(tolerances), rough))
        stages[f"upper norms of the masked layers within {rough:g}"] = partial(certifies, bound)
    holds, stage = torch.zeros_like(radius, dtype=torch.bool), torch.full_like(radius, -1, dtype=torch.int64)
    seconds = []
    for number, decide in enumerate(stages.values()):
        index, start = (stage < 0).nonzero()[:, 0], time.perf_counter()
        if len(index):
            holds[index], decided = decide(index)
            stage[index[decided]] = number
        seconds.append(time.perf_counter() - start)
    stage[stage < 0] = len(stages) - 1
    return Cascade(holds, stage, tuple(stages), radius, sum(spent), tuple(seconds))


@errs("upper", encloses=True)
def _whole_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """The cheapest upper bound without chance: exact where the matrix is small, else the Fourier bound of the whole."""
    stage = exact_norm if UpperNorm().is_exact(linear) else torus_norm
    return stage(linear, row_slope, column_slope)


@torch.no_grad()
def _could_hold(net: nn.Module, x: Tensor, y: Tensor, radius: Tensor, steps: int, *, centred: bool) -> Tensor:
    """Whether a local bound that is too small certifies: (batch,). Where it does not, no larger one can.

    Smaller norms make smaller balls and boxes, flatter secants, a smaller bound. In float32, with room for rounding.
    """
    center, blocks = check_input(net, x).float(), read_blocks(net, x.shape[1:], torch.float32)
    found = passed(blocks, center, radius.float(), Interval & Ball, LanczosNorm(steps), centred=centred)
    values = at_center(blocks, Center.exact(center))
    margin, worst = worst_margins(found, values, y.to(center.device, torch.int64), radius.float())
    # What float32 cannot hold says nothing; nor does the margin over the label itself.
    return ~(worst.isfinite() & (worst <= -1e-3 * margin.abs())).any(dim=1)
