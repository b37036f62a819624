"""Norms that layers divide by: upper bounds with gradients, at every step of training and after it."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad, pixel_unshuffle

from lliptools.errors import InvalidInput
from lliptools.layers.condition import check_matrix, smallest
from lliptools.norms.dense import squared_above
from lliptools.norms.rounding import gamma, outward_rounding, unit
from lliptools.norms.torus import fourier_error

__all__ = ["kernel_norm", "matrix_norm"]

SMALL = 64  # rows or columns up to which all eigenvalues are as cheap as the largest
LANCZOS_STEPS = 24
FREQUENCIES = 16  # so many a degree of the kernel's polynomial: what lies between them adds at most 2 % an image


@outward_rounding()
def matrix_norm(weight: Tensor) -> Tensor:
    """Upper bound of the norm of a matrix (rows, columns), in float64 with its rounding enclosed: a 0-dim tensor.

    The largest eigenvalue of the smaller Gram matrix G; of a larger one an estimate by Lanczos steps, raised until
    s²I − G has a Cholesky factor, which proves it. The gradient is that of uᵀWv with both vectors held.
    Weights next to 0 have the sum of their sizes for a norm.
    """
    check_matrix(weight, "weight", 2)
    largest = weight.detach().double().abs().amax()
    if not smallest(weight) < largest < torch.inf:
        return weight.double().abs().sum()  # next to 0 other norms have no gradient, and NaN has no other
    weight = weight.double()
    wide = weight / largest if len(weight) <= weight.shape[1] else (weight / largest).T
    with torch.no_grad():
        gram = wide @ wide.T
        size = len(gram)
        if size <= SMALL:
            values, vectors = torch.linalg.eigh(gram)  # backward stable
            squared, vector = values[-1] * (1 + 32 * size * unit(gram)), vectors[:, -1]
        else:
            squared, vector = _proved(gram)
        squared = squared + 2 * gamma(wide.shape[1], gram) * gram.diagonal().sum()  # of the sums in the Gram matrix
        upper = squared.sqrt() * (1 + 8 * unit(gram))
    stretched = torch.linalg.vector_norm(vector @ wide)
    return largest * stretched * (upper / stretched.detach())


def _proved(gram: Tensor) -> tuple[Tensor, Tensor]:
    """A number above the largest eigenvalue, with its proof, and an estimate of the eigenvector: (n, n) -> 0-dim, (n,).

    Cholesky's factorisation runs to its end in floating point only for matrices that are positive definite up to a
    shift that is known (Rump, "Verification of positive definiteness", BIT 2006).
    """
    estimate, vector = _lanczos(gram)
    residual = torch.linalg.vector_norm(gram @ vector - estimate * vector)
    trace, size = gram.diagonal().sum(), len(gram)
    eye = torch.eye(size, dtype=gram.dtype, device=gram.device)
    relative = 2 * (size + 2) * gamma(size, gram)
    for growth in range(60):
        squared = estimate + 2**growth * (residual + relative * estimate)
        shift = relative * squared
        if not torch.linalg.cholesky_ex(squared * eye - gram).info:
            return squared + shift, vector
    return trace * (1 + relative), vector  # an upper bound of last resort


def _lanczos(gram: Tensor) -> tuple[Tensor, Tensor]:
    """The largest Ritz value and vector after some steps from one start for all, (n, n) -> 0-dim, (n,)."""
    generator = torch.Generator("cpu").manual_seed(0)
    start = torch.randn(len(gram), generator=generator, dtype=gram.dtype, device="cpu").to(gram.device)
    basis = [start / torch.linalg.vector_norm(start)]
    for _ in range(LANCZOS_STEPS - 1):
        following = gram @ basis[-1]
        before = torch.stack(basis)
        for _ in range(2):  # once is not enough for orthogonality
            following = following - (before @ following) @ before
        length = torch.linalg.vector_norm(following)
        if length <= 1e-12 * gram.diagonal().sum():
            break
        basis.append(following / length)
    span = torch.stack(basis)
    values, vectors = torch.linalg.eigh(span @ gram @ span.T)
    vector = vectors[:, -1] @ span
    return values[-1], vector / torch.linalg.vector_norm(vector)


@outward_rounding()
def kernel_norm(kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    """Upper bound of the norm of a convolution on images of every size: kernel (out, in, k, k) -> 0-dim float64.

    For zero padding of any width, and circular padding where the output is no larger than the input. The symbol K̂(θ) is
    a matrix of trigonometric polynomials; the norm is at most its largest norm over all frequencies θ. Where θ* is the
    largest, p(θ) = ‖K̂(θ)v‖² is a polynomial of degree d = k − 1 an axis, and lies above cos(d·|θ − θ*|) p(θ*) near by,
    so that on a grid of N points an axis no more than a factor 1/cos(πd/N) is missed. The gradient is that of the
    largest frequency, with its vectors held.
    Source: Ehlich and Zeller, "Schwankung von Polynomen zwischen Gitterpunkten" (Math. Z., 1964), as in Delattre et al.
    (ICML 2023).
    """
    check_matrix(kernel, "kernel", 4)
    if len({*stride}) > 1 or min(stride) < 1:
        raise InvalidInput(
            expected="one stride of at least 1 for both axes",
            got=repr(stride),
            cause="a stride that differs from axis to axis",
            next_step="bounds.torus_norm knows them",
        )
    largest = kernel.detach().double().abs().amax()
    if not smallest(kernel) < largest < torch.inf:
        return kernel.double().abs().sum()  # as in matrix_norm
    kernel = kernel.double()
    phases = _phases(kernel / largest, stride)
    degrees = [size - 1 for size in phases.shape[2:]]
    points = [max(1, FREQUENCIES * degree) for degree in degrees]
    symbols = torch.fft.rfft2(phases, s=points).flatten(2).permute(2, 0, 1)
    if symbols.shape[1] > symbols.shape[2]:
        symbols = symbols.mH
    with torch.no_grad():
        gram = symbols @ symbols.mH
        values = squared_above(torch.linalg.eigvalsh(gram)[:, -1], gram, max(symbols.shape[1:]))
        top = values.argmax()
        vector = torch.linalg.eigh(gram[top])[1][:, -1]
        squared = values[top]
        for degree, count in zip(degrees, points, strict=True):
            squared = squared / math.cos(math.pi * degree / count)
        upper = squared.sqrt() * (1 + 8 * gamma(phases[0].numel() + len(phases) + len(gram[0]), kernel))
        upper = upper + 2 * fourier_error(phases, math.prod(points))
    stretched = torch.linalg.vector_norm(vector.conj() @ symbols[top])
    return largest * stretched * (upper / stretched.detach())


def _phases(kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    """A kernel of stride 1 on the stride's phases as channels: (out, in, k, k) -> (out, in · phases, ⌈k/s⌉, ⌈k/s⌉)."""
    if stride == (1, 1):
        return kernel
    bottom, right = (-size % stride[0] for size in kernel.shape[2:])
    return pixel_unshuffle(pad(kernel, (0, right, 0, bottom)), stride[0])
