"""Norms while training: a few steps from where the last batch stopped; estimates, which certify nothing."""

from collections.abc import Callable
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from lliptools.bounds import errs
from lliptools.errors import InvalidInput, check_whole
from lliptools.nets import Block, LinearMap
from lliptools.nets.blocks import linear_maps
from lliptools.nets.operators import over_rows
from lliptools.norms.kinds import root

NOISE = 16  # what is left of a vector after so many units of rounding is nothing


@errs("estimate")
class SharedNorm:
    """‖D_row^½ W D_column^½‖ from below: a few Lanczos steps on from where the last batch stopped.

    * steps: how often W and its transpose are applied before the norm is read off as ‖A v‖.
    * Without classes every sample has its own slopes; it starts from the one vector of the layer, which moves once in a
      pass over the network to the mean of what the samples found.
    * In groups (as of estimated_bound) the samples share a norm, by the root mean square of their slopes.
    * First vectors are the same in every run and process.
    * The gradient flows to W and to the slopes, with h held in ‖R^½ W C h‖/‖C^½ h‖: exact where h has converged.
    * Layers are told apart by their place in the network. A map of none starts at random and leaves nothing behind.
    * Where several processes share a batch, assign `total` a function that sums a tensor over them.

    Raises InvalidInput for fewer steps than 1, and for another network than the one whose vectors are kept.
    Source: Huang et al. (NeurIPS 2021) keep one vector for every training sample and layer.
    """

    def __init__(self, steps: int = 2) -> None:
        why = "a norm that would never look at the weights' transpose", "leave it at 2; 6 is closer"
        check_whole("steps", steps, 1, *why)
        self.steps = steps
        self.total: Callable[[Tensor], Tensor] = lambda value: value
        self.vectors: dict[int, Tensor] = {}
        self._places: WeakKeyDictionary[LinearMap, int] = WeakKeyDictionary()
        self._moved: WeakSet[LinearMap] = WeakSet()
        self._groups: Tensor | None = None
        self._last: tuple[Tensor | None, Tensor] = None, torch.empty(0)  # slopes, and their means

    def begin(self, blocks: tuple[Block, ...], groups: Tensor | None = None) -> "SharedNorm":
        """A pass over these blocks begins, of samples in these groups; the same norm."""
        for place, linear in enumerate(linear_maps(blocks)):
            self._places[linear] = place
        self._groups, self._last = groups, (None, torch.empty(0))
        if groups is not None:
            self._sizes = self.total(groups.sum(dim=1, keepdim=True)).clamp_min(1)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """The vectors of every layer, by its place: what a checkpoint has to contain besides steps."""
        return {str(place): vector.clone() for place, vector in sorted(self.vectors.items())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what state_dict gave."""
        self.vectors = {int(place): vector.clone() for place, vector in state.items()}

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        groups = self._groups
        if groups is not None:
            column_slope = self._mean(groups, column_slope)  # first: they are the last rows
            row_slope = self._mean(groups, row_slope)
        row = row_slope.reshape(len(row_slope), *linear.out_shape)
        column = column_slope.reshape(len(column_slope), *linear.in_shape)
        with torch.no_grad():
            start = self._start(linear, column, 1 if groups is None else len(groups))
            h = _best(linear, row, column, start, self.steps)
            self._move(linear, h, start)
        v = column * h
        z = linear.linear(v)
        squared = _dot(row * z, z) / _dot(v, h).clamp_min(torch.finfo(h.dtype).tiny)
        found = root(squared)
        return found if groups is None else groups.T.to(found.dtype) @ found

    def _mean(self, groups: Tensor, slopes: Tensor) -> Tensor:
        """Root mean squares of slopes per group, (groups, units), for rows and next columns; norms of means are low."""
        if self._last[0] is not slopes:
            self._last = slopes, root(self.total(groups.to(slopes.dtype) @ slopes.flatten(1).square()) / self._sizes)
        return self._last[1]

    def _start(self, linear: LinearMap, like: Tensor, count: int) -> Tensor:
        """The layer's vectors, (count, *columns)."""
        place, shape = self._places.get(linear), (count, *like.shape[1:])
        kept = None if place is None else self.vectors.get(place)
        if place is None or kept is None:
            own = None if place is None else torch.Generator().manual_seed(place)
            first = torch.randn(like[:1].shape, generator=own, dtype=torch.float64)
            return first.to(like).expand(shape)
        if kept.shape[1:] != shape[1:]:
            expected = f"the network whose vectors are kept, with {tuple(kept.shape[1:])} inputs to this layer"
            why = "one SharedNorm used for two networks", "make one for each network"
            raise InvalidInput(expected, f"{linear.in_shape}", *why)
        if len(kept) != count:  # in other groups now
            kept = kept.mean(dim=0, keepdim=True).expand(shape).clone()
        self.vectors[place] = kept = kept.to(like)  # those of a checkpoint come from the CPU
        return kept

    def _move(self, linear: LinearMap, found: Tensor, start: Tensor) -> None:
        """The vectors become what was found, or the mean over the samples, signs aligned, unless nothing is left."""
        if linear not in self._places or linear in self._moved:
            return
        self._moved.add(linear)
        flat, before = found.flatten(1), start.flatten(1)
        if len(before) == 1:
            along = flat @ before[0]
            flat = self.total(torch.copysign(torch.ones_like(along), along) @ flat)[None]
        length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
        moved = torch.where((length > 0) & (length < torch.inf), flat / length, before).view_as(start)
        # In place, where there is one: a CUDA graph that was captured writes to the same memory at every replay.
        place = self._places[linear]
        self.vectors[place] = self.vectors[place].copy_(moved) if place in self.vectors else moved


def _best(linear: LinearMap, row: Tensor, column: Tensor, start: Tensor, steps: int) -> Tensor:
    """h, (batch, *columns), whose v = C^½ h is of those in a Krylov space one that R^½ W C^½ stretches most.

    R and C are the slopes, row and column. Lanczos on C^½ Wᵀ R W C^½, written in h, so that no root is taken and the
    slopes are applied once each way; so few steps need no reorthogonalisation. In a masked column h is what its entry
    would be without the mask. It is 0 where nothing is left of the matrix.
    No value is looked at, so that a GPU need not be waited for, and the whole can be captured as a graph.
    """
    h = start.expand_as(column).clone()
    v = column * h
    _normalise(h, v, 0.0)
    basis = [h]
    alpha: list[Tensor] = []
    beta: list[Tensor] = []
    for step in range(steps):
        z = linear.linear(v)
        u = row * z
        alpha.append(z.mul_(u).flatten(1).sum(dim=1))
        h = linear.adjoint(u).addcmul_(over_rows(alpha[-1], v.dim()), basis[-1], value=-1)
        if step:
            h.addcmul_(over_rows(beta[-1], v.dim()), basis[-2], value=-1)
        v = column * h
        if not step:
            nothing = (alpha[0] * (NOISE * torch.finfo(h.dtype).eps)).square_()
        beta.append(_normalise(h, v, nothing))
        basis.append(h)
    # The last entry of the diagonal would take W once more. Half the mean of the others stands for it: small enough
    # that a start which has converged stays what it is.
    alpha.append((torch.stack(alpha, dim=1).sum(dim=1) / (2 * steps)).add_(torch.finfo(h.dtype).tiny))
    diagonal, beside = torch.stack(alpha, dim=1), torch.stack(beta, dim=1)
    weights = _leading(diagonal.diag_embed() + beside.diag_embed(1) + beside.diag_embed(-1))
    found = basis[0].mul_(over_rows(weights[:, 0], h.dim()))
    for index, each in enumerate(basis[1:], start=1):
        found.addcmul_(over_rows(weights[:, index], h.dim()), each)
    return found


def _normalise(h: Tensor, v: Tensor, nothing: Tensor | float) -> Tensor:
    """Both over their length √⟨v, h⟩, in place; 0 where its square is at most nothing, (batch,). Returns the length."""
    squared = _dot(v, h)
    inverse = squared.rsqrt().masked_fill_(squared <= nothing, 0.0)
    h.mul_(over_rows(inverse, h.dim()))
    v.mul_(over_rows(inverse, v.dim()))
    return squared.mul_(inverse)


def _leading(matrix: Tensor) -> Tensor:
    """The leading eigenvector of symmetric matrices without negative entries: (batch, n, n) -> (batch, n), all >= 0.

    The sum of the columns of their power 65536, by squaring, where nothing can cancel (Perron and Frobenius). Its
    Rayleigh quotient is within 2e-5 of the largest eigenvalue even where the next is close. torch.linalg.eigh would
    look at values: on a GPU it waits for them, and cannot be captured. An entry above 0 is needed.
    """
    for _ in range(4):  # with a largest entry of 1 the eigenvalue is from 1 to n, and its 16th power a number
        matrix = torch.linalg.matrix_power(matrix / matrix.amax(dim=(1, 2), keepdim=True), 16)
    vector = matrix.sum(dim=2)
    vector = vector / vector.amax(dim=1, keepdim=True)
    return vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Σ one · other of every sample: (batch, …) twice -> (batch,)."""
    return (one * other).flatten(1).sum(dim=1)
