"""Norms while training: a few steps from where the last batch stopped; estimates, which certify nothing."""

from collections.abc import Callable
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from lliptools.bounds import errs
from lliptools.errors import InvalidInput
from lliptools.nets import Block, LinearMap

__all__ = ["SharedNorm"]

NOISE = 16  # what is left of a vector after so many units of rounding is nothing


@errs("estimate")
class SharedNorm:
    """‖D_row^½ W D_column^½‖ of every sample, from below: a few Lanczos steps from one vector per layer.

    * steps: how often W and its transpose are applied before the norm is read off as ‖A v‖.
    * The vector is masked by every sample, and moves once in a pass over the network to the mean of what the samples
      found. First vectors are the same in every run and process.
    * The gradient flows to W only: σ = uᵀ A v with both vectors held, which is exact where they have converged.
    * Layers are told apart by their place in the network that a bound reads. A map of no network starts from a random
      vector and leaves nothing behind.
    * Where several processes share a batch, assign `total` a function that sums a tensor over them.

    Raises InvalidInput for fewer steps than 1, and for another network than the one whose vectors are kept.
    Source: Huang et al. (NeurIPS 2021) keep one vector for every training sample and layer.
    """

    def __init__(self, steps: int = 2) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise InvalidInput(
                expected="steps as a whole number >= 1",
                got=repr(steps)[:80],
                cause="a norm that would never look at the weights' transpose",
                next_step="leave it at 2; 6 is closer and costs about twice as much",
            )
        self.steps = steps
        self.total: Callable[[Tensor], Tensor] = lambda value: value
        self.vectors: dict[int, Tensor] = {}
        self._places: WeakKeyDictionary[LinearMap, int] = WeakKeyDictionary()
        self._moved: WeakSet[LinearMap] = WeakSet()

    def begin(self, blocks: tuple[Block, ...]) -> "SharedNorm":
        """A pass over these blocks begins; the same norm."""
        for place, linear in enumerate(_maps(blocks)):
            self._places[linear] = place
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """One vector per layer, by its place: what a checkpoint has to contain besides steps."""
        return {str(place): vector.clone() for place, vector in sorted(self.vectors.items())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what state_dict gave."""
        self.vectors = {int(place): vector.clone() for place, vector in state.items()}

    def __call__(self, linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
        """Per sample: row_slope (batch, *rows), column_slope (batch, *columns) -> (batch,)."""
        row = row_slope.detach().reshape(len(row_slope), *linear.out_shape)
        column = column_slope.detach().reshape(len(column_slope), *linear.in_shape)
        with torch.no_grad():
            shared = self._shared(linear, column)
            h = _best(linear, row, column, shared, self.steps)
            v = column * h
            length = _dot(v, h).sqrt_()
            self._move(linear, h, shared)
        z = linear.linear(v)
        squared = _dot(row * z.detach(), z)
        # With uᵀ = zᵀR/√squared held, squared/√squared is uᵀ A v, and has its gradient.
        held = squared.detach().sqrt() * length
        return squared / held.masked_fill_(held <= 0, 1.0)

    def _shared(self, linear: LinearMap, like: Tensor) -> Tensor:
        """The layer's vector, (1, *columns)."""
        place = self._places.get(linear)
        kept = None if place is None else self.vectors.get(place)
        if place is None or kept is None:
            own = None if place is None else torch.Generator().manual_seed(place)
            return torch.randn(like[:1].shape, generator=own, dtype=torch.float64).to(like)
        if kept.shape != like[:1].shape:
            raise InvalidInput(
                expected=f"the network whose vectors are kept, with {tuple(kept.shape[1:])} inputs to this layer",
                got=f"{linear.in_shape}",
                cause="one SharedNorm used for two networks",
                next_step="make one for each network",
            )
        self.vectors[place] = kept = kept.to(like)  # those of a checkpoint come from the CPU
        return kept

    def _move(self, linear: LinearMap, found: Tensor, shared: Tensor) -> None:
        """The shared vector becomes the mean of the samples' vectors, signs aligned, unless nothing is left of them."""
        if linear not in self._places or linear in self._moved:
            return
        self._moved.add(linear)
        flat = found.flatten(1)
        along = flat @ shared.flatten()
        mean = self.total(torch.copysign(torch.ones_like(along), along) @ flat).view_as(shared)
        length = torch.linalg.vector_norm(mean)
        moved = torch.where((length > 0) & (length < torch.inf), mean / length, shared)
        # In place, where there is one: a CUDA graph that was captured writes to the same memory at every replay.
        place = self._places[linear]
        self.vectors[place] = self.vectors[place].copy_(moved) if place in self.vectors else moved


def _maps(blocks: tuple[Block, ...]) -> list[LinearMap]:
    """The linear maps whose norms a pass asks for, in order."""
    inside = ((_maps(block.inner + block.shortcut) if block.inner else [block.linear]) for block in blocks)
    return [linear for maps in inside for linear in maps]


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
        h = linear.adjoint(u).addcmul_(_wide(alpha[-1], v), basis[-1], value=-1)
        if step:
            h.addcmul_(_wide(beta[-1], v), basis[-2], value=-1)
        v = column * h
        if not step:
            nothing = (alpha[0] * (NOISE * torch.finfo(h.dtype).eps)).square_()
        beta.append(_normalise(h, v, nothing))
        basis.append(h)
    # The last entry of the diagonal would take W once more. Half the mean of the others stands for it: small enough
    # that a start which has converged stays what it is.
    alpha.append((torch.stack(alpha, dim=1).sum(dim=1) / (2 * steps)).add_(torch.finfo(h.dtype).tiny))
    weights = _leading(_tridiagonal(alpha, beta))
    found = basis[0].mul_(_wide(weights[:, 0], h))
    for index, each in enumerate(basis[1:], start=1):
        found.addcmul_(_wide(weights[:, index], h), each)
    return found


def _normalise(h: Tensor, v: Tensor, nothing: Tensor | float) -> Tensor:
    """Both over their length √⟨v, h⟩, in place; 0 where its square is at most nothing, (batch,). Returns the length."""
    squared = _dot(v, h)
    inverse = squared.rsqrt().masked_fill_(squared <= nothing, 0.0)
    h.mul_(_wide(inverse, h))
    v.mul_(_wide(inverse, v))
    return squared.mul_(inverse)


def _tridiagonal(diagonal: list[Tensor], beside: list[Tensor]) -> Tensor:
    """Symmetric matrices (batch, n, n): n times (batch,) on the diagonal, n − 1 times (batch,) on either side."""
    size, zero = len(diagonal), torch.zeros_like(diagonal[0])
    bands = {0: diagonal, 1: beside}
    entries = [bands[abs(i - j)][min(i, j)] if abs(i - j) in bands else zero for i in range(size) for j in range(size)]
    return torch.stack(entries, dim=1).view(-1, size, size)


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


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """One number a sample, made to broadcast: (batch,) -> (batch, 1, …)."""
    return values.view(-1, *[1] * (like.dim() - 1))
