"""The largest eigenvalue of a Gram matrix: as computed, with its rounding, and with a proof."""

import torch
from torch import Tensor

from lliptools.norms.rounding import gamma, inflated, outward_rounding, unit


def root_of_largest_eigenvalue(gram: Tensor, terms: int) -> Tensor:
    """Norms by Gram matrices, (batch, rows, rows) -> (batch,), of entries up to about 1, sums of so many products."""
    squared = squared_above(torch.linalg.eigvalsh(gram)[:, -1], gram, terms)
    alive = ~(squared <= 0)  # NaN stays NaN
    return inflated(torch.where(alive, squared, 1.0).sqrt() * alive)


def norms_of_wide(wide: Tensor) -> Tensor:
    """Norms of matrices (batch, rows, columns) with fewer rows than columns and entries up to about 1: (batch,)."""
    return root_of_largest_eigenvalue(wide @ wide.mT, wide.shape[2])


def squared_above(squared: Tensor, gram: Tensor, terms: int) -> Tensor:
    """Largest eigenvalues (…,) of Gram matrices (…, n, n), with the rounding of a stable solver and of entries."""
    trace = gram.diagonal(dim1=-2, dim2=-1).real.sum(dim=-1)
    products = (8 if gram.is_complex() else 2) * gamma(terms, squared)
    return squared * (1 + 32 * gram.shape[-1] * unit(squared)) + products * trace


def leading(gram: Tensor) -> tuple[Tensor, Tensor]:
    """An estimate of the largest eigenvalue, from below, and of its vector: (n, n) -> 0-dim, (n,).

    The largest Ritz pair after 24 Lanczos steps on the matrix itself: several times as quick as krylov.GolubKahan.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    following = torch.randn(len(gram), generator=generator, dtype=gram.dtype, device="cpu").to(gram.device)
    span, nothing = gram[:0], 1e-12 * gram.diagonal().sum()
    for _ in range(24):
        length = torch.linalg.vector_norm(following)
        if len(span) and length <= nothing:
            break
        span = torch.cat([span, (following / length)[None]])
        following = gram @ span[-1]
        for _ in range(2):  # once is not enough for orthogonality
            following = following - (span @ following) @ span
    values, vectors = torch.linalg.eigh(span @ gram @ span.T)
    vector = vectors[:, -1] @ span
    return values[-1], vector / torch.linalg.vector_norm(vector)


@outward_rounding()  # a proof, whether the rounding of other stages is enclosed or not
def proved_above(gram: Tensor, terms: int, estimate: Tensor, step: Tensor) -> Tensor:
    """A number above the largest eigenvalue of each Gram matrix, with its proof: (…, n, n) -> (…,).

    terms: number of products in the sums that the entries are. estimate, step: (…,); the estimate is raised by the step
    and a rounding error, by twice as much, and so on, until s·I − G has a Cholesky factor.
    Cholesky's factorisation runs to its end in floating point only for matrices that are positive definite up to a
    shift that is known (Rump, "Verification of positive definiteness", BIT 2006).
    """
    size, trace = gram.shape[-1], gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    eye = torch.eye(size, dtype=gram.dtype, device=gram.device)
    relative = 2 * (size + 2) * gamma(size, gram)
    proved = torch.full_like(trace, torch.inf)
    for growth in range(60):
        tried = estimate + 2.0**growth * (step + relative * estimate)
        failed = torch.linalg.cholesky_ex(tried[..., None, None] * eye - gram).info
        proved = torch.where((failed == 0) & proved.isinf(), tried * (1 + relative), proved)
        if proved.isfinite().all():
            break
    proved = torch.where(proved.isfinite(), proved, trace * (1 + relative))  # a bound of last resort
    return proved + 2 * gamma(terms, gram) * trace
