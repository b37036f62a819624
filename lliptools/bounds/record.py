"""What a bound leaves behind: frozen, batched, printable."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lliptools.digits import radius_text, round_up
from lliptools.domains.box import Box
from lliptools.nets.activations import Activation
from lliptools.nets.checks import check_labels
from lliptools.nets.linear import LinearMap
from lliptools.norms.kinds import Norm, norm_by, product_above
from lliptools.norms.rounding import gamma, inflated, is_outward, matrix_slack

__all__ = ["BlockBound", "Bound", "slopes_everywhere"]


@dataclass(frozen=True, eq=False)
class BlockBound:
    """One block of the bound.

    linear: its linear map. activation: its rule, or None for the identity. box: pre-activations, (batch, *unit shape).
    output: box of the activation's outputs. slope: (batch, *unit shape), how much an output can move with its input; 0
    where it is provably constant. row_slope: the same of the inputs of the activation, which scales the rows.
    norm: (batch,) norm of the linear map with rows and columns scaled by the root of their slopes.
    radius: (batch,) radius of the ball around the centre that holds the block's input.
    inner: of a residual block h + inner(h), or of inner(h) where skip is False, the blocks inside; its norm is that of
    the whole.
    """

    linear: LinearMap
    activation: Activation | None
    box: Box
    output: Box
    slope: Tensor
    row_slope: Tensor
    norm: Tensor
    radius: Tensor
    inner: tuple["BlockBound", ...] = ()
    skip: bool = True


@dataclass(frozen=True, eq=False)
class Bound:
    """A bound of the Lipschitz constant of the network on the ball of radius eps around each of a batch of points.

    value: (batch,), in units of the output over units of the input.
    kind: "upper" (a theorem), "lower" or "estimate"; certificates take only "upper".
    eps: (batch,) radius of the ball, in the network's input units.
    failure_probability: with which the bound may be false at some point of the batch; 0.0 where every norm is
    deterministic. arithmetic: whether rounding is enclosed. domain: the box of inputs it is restricted to, or None.
    outputs: (batch, outputs), what the network computes at the points, where the bound has found it on its way.
    """

    value: Tensor
    kind: str
    eps: Tensor
    blocks: tuple[BlockBound, ...]
    failure_probability: float = 0.0
    arithmetic: str = "float64, rounding not enclosed"
    domain: tuple[float, float] | None = None
    norm: Norm | None = None
    outputs: Tensor | None = None

    def hidden(self) -> Tensor:
        """Bound of the constant up to the last hidden units, each over the root of its slope: (batch,)."""
        value = torch.ones_like(self.value)
        for block in self.blocks[:-1]:
            value = inflated(product_above(value, block.norm))
        return value

    def pairwise(self, y: Tensor) -> Tensor:
        """Bound of the Lipschitz constant of f_y − f_j for every class j: labels y (batch,) -> (batch, classes).

        The hidden blocks' norms times ‖(w_y − w_j) D^½‖, with D the slopes of the last hidden layer: never more than
        √2 times the bound itself. It is 0 for j = y. Raises InvalidInput where y does not fit.
        """
        last = self.blocks[-1]
        y = check_labels(y, len(self.value), last.linear.rows, self.value.device)
        if len(self.blocks) > 1:
            columns = self.blocks[-2].slope.flatten(1)
        else:
            columns = torch.ones_like(self.value)[:, None].expand(-1, last.linear.columns)
        return product_above(self.hidden()[:, None], between_rows(last.linear, y, columns))

    def __str__(self) -> str:
        """A blackboard's table: of the one point, or of the mean over the batch."""
        many = "" if len(self.value) == 1 else f", mean over {len(self.value)} points"
        value, eps = round_up(self.value.mean().item()), radius_text(self.eps.mean().item())
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
        return "\n".join(lines)


def between_rows(linear: LinearMap, y: Tensor, column_slope: Tensor) -> Tensor:
    """‖(row_y − row_j) D^½‖ with its rounding: y (batch,), column_slope (batch, columns) -> (batch, rows)."""
    found = linear.between_rows(y, column_slope)
    if is_outward():
        slack = matrix_slack(linear, torch.ones_like(column_slope[:, :1]), column_slope)
        found = found * (1 + gamma(linear.columns, found)) + 2 * slack[:, None]
    return found


def _kept(slope: Tensor) -> float:
    return slope.flatten(1).count_nonzero(dim=1).double().mean().item()


def _global_norm(norm: Norm | None, block: BlockBound, before: BlockBound | None) -> float | None:
    """The norm of the block where every unit varies, by the same method; None where there is none."""
    if norm is None or block.inner:
        return None
    columns = block.norm.new_ones(1, *block.linear.in_shape)
    if before is not None:
        columns = slopes_everywhere(before.activation, before.slope)[1]
    rows = slopes_everywhere(block.activation, block.slope)[0]
    return norm_by(norm, block.linear, rows, columns).item()


def slopes_everywhere(activation: Activation | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """What scales rows and columns where nothing is known of the units: (1, *units) each; like: (batch, *units)."""
    infinite = torch.full_like(like[:1], torch.inf)
    if activation is None:
        return torch.ones_like(infinite), torch.ones_like(infinite)
    return activation.row_slope(-infinite, infinite), activation.slope(-infinite, infinite)
