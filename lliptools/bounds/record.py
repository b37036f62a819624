"""What a bound leaves behind: frozen, batched, printable."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.bounds.one_pass import norm_by, slopes
from lliptools.digits import radius_text, round_up
from lliptools.domains import BlockBound, Box, Domain
from lliptools.nets.checks import check_labels
from lliptools.nets.linear import LinearMap
from lliptools.nets.rows import row_distances
from lliptools.norms.kinds import Norm, product_above
from lliptools.norms.rounding import gamma, is_outward, matrix_slack, outward_rounding, times_above

ANY_TWO, CENTRED = "any two points", "the centre and any point"


def by_product(bound: "Bound", y: Tensor, needed: Tensor | None = None) -> Tensor:
    """The hidden norms times ‖(w_y − w_j) D^½‖, D the last slopes, (batch, classes): at most √2 times the bound."""
    last = bound.blocks[-1].linear
    y = check_labels(y, len(bound.value), last.rows, bound.value.device)
    if len(bound.blocks) > 1:
        columns = bound.blocks[-2].slope.flatten(1)
    else:
        columns = torch.ones_like(bound.value)[:, None].expand(-1, last.columns)
    return product_above(bound.hidden()[:, None], between_rows(last, y, columns))


@dataclass(frozen=True, eq=False)
class Bound:
    """Bound of the Lipschitz constant of the network on the ball of radius eps around each of a batch of points.

    - value: (batch,), in units of the output over units of the input.
    - kind: "upper" (a theorem), "lower" or "estimate"; certificates take only "upper".
    - eps: (batch,) radius of the ball, in the network's input units.
    - blocks: what one pass has found of every block.
    - failure_probability: of the whole batch; 0.0 for deterministic norms. arithmetic: whether rounding is enclosed.
    - norm: the method that found the blocks' norms. inputs: their box. known: what its domain knows of the outputs.
    - points: (batch, features), the centres of the balls; None of a bound of the whole space.
    - outputs: (batch, outputs), what the network computes there; of the whole space at the first point, (1, outputs).
    - between: "any two points" of the ball, or "the centre and any point", which is all that a certificate needs.
    - regions: of each ball, how many the exact constant was found from; empty of all other bounds.
    - left_out: what a bound that chooses by cost did not do, and why; empty where it did all.
    - pairs: (bound, y, needed) -> (batch, classes), how `pairwise` is found.
    """

    value: Tensor
    kind: str
    eps: Tensor
    blocks: tuple[BlockBound, ...]
    failure_probability: float = 0.0
    arithmetic: str = "float64, rounding not enclosed"
    norm: Norm | None = None
    inputs: Box | None = None
    known: Domain | None = None
    points: Tensor | None = None
    outputs: Tensor | None = None
    pairs: Callable[["Bound", Tensor, Tensor | None], Tensor] = by_product
    between: str = ANY_TWO
    regions: tuple[int, ...] = ()
    left_out: str = ""

    def hidden(self) -> Tensor:
        """Bound of the constant up to the last hidden units, each over the root of its slope: (batch,)."""
        value = torch.ones_like(self.value)
        for block in self.blocks[:-1]:
            growth = torch.where(block.norm.isfinite(), block.growth, block.norm)
            value = times_above(value, growth)
        return value

    def pairwise(self, y: Tensor, needed: Tensor | None = None) -> Tensor:
        """Bound of the Lipschitz constant of f_y − f_j for every class j: labels y (batch,) -> (batch, classes).

        It is 0 for j = y, and encloses rounding where the bound does. needed: (batch, classes), constants that would
        decide; a bound by multipliers works longer on a pair that is not far above. Raises InvalidInput for bad labels.
        """
        with outward_rounding(is_outward() or self.arithmetic.endswith(", rounding enclosed")):
            return self.pairs(self, y, needed)

    def __str__(self) -> str:
        """A blackboard's table: of the one point, or of the mean over the batch; of the exact constant one line."""
        many = "" if len(self.value) == 1 else f", mean over {len(self.value)} points"
        value, eps = round_up(self.value.mean().item()), radius_text(self.eps.mean().item())
        if self.regions:
            found_from = sum(self.regions) / len(self.regions)
            return f"exact constant {value} at eps = {eps}, from {found_from:.4g} regions{many}"
        lines = [f"{self.kind} bound {value} at eps = {eps}{many}"]
        lines.append(f"{'block':>5}  {'rows × columns kept':<24}{'global norm':>12}{'masked norm':>12}{'ratio':>8}")
        columns: Tensor | None = None
        for index, block in enumerate(self.blocks):
            everywhere = _global_norm(self.norm, block, self.blocks[index - 1] if index else None)
            masked = block.norm.mean().item()
            before = block.linear.columns if columns is None else _kept(columns)
            kept = f"{_kept(block.row_slope):.4g}×{before:.4g} of {block.linear.rows}×{block.linear.columns}"
            if block.inner:
                kept = f"{'residual, ' if block.skip else ''}{len(block.inner)} blocks inside"
            ratio = f"{masked / everywhere:.3f}" if everywhere else ""
            whole = round_up(everywhere) if everywhere is not None else ""
            lines.append(f"{index + 1:>5}  {kept:<24}{whole:>12}{round_up(masked):>12}{ratio:>8}")
            columns = block.slope
        if self.failure_probability:
            lines.append(f"false with probability at most {self.failure_probability:.1g}")
        if self.left_out:
            lines.append(f"left out: {self.left_out}")
        return "\n".join(lines)


def between_rows(linear: LinearMap, y: Tensor, column_slope: Tensor) -> Tensor:
    """‖(row_y − row_j) D^½‖ with its rounding: y (batch,), column_slope (batch, columns) -> (batch, rows)."""
    found = row_distances(linear, y, column_slope)
    slack = matrix_slack(linear, torch.ones_like(column_slope[:, :1]), column_slope)
    return found * (1 + gamma(linear.columns, found)) + 2 * slack[:, None]


def _kept(slope: Tensor) -> float:
    return slope.flatten(1).count_nonzero(dim=1).double().mean().item()


def _global_norm(norm: Norm | None, block: BlockBound, before: BlockBound | None) -> float | None:
    """The norm of the block where every unit varies, by the same method; None where there is none."""
    if norm is None or block.inner:
        return None
    columns = block.norm.new_ones(1, *block.linear.in_shape) if before is None else _everywhere(before)[0]
    return norm_by(norm, block.linear, _everywhere(block)[1], columns).item()


def _everywhere(block: BlockBound) -> tuple[Tensor, Tensor]:
    """What scales columns behind the block and rows in it where nothing is known of the units: (1, *units) each."""
    infinite = torch.full_like(block.row_slope[:1], torch.inf)
    return slopes(block.activation, Box(-infinite, infinite), None)
