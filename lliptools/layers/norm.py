"""Norms that layers divide by: upper bounds with gradients, at every step of training and after it."""

import math

import torch
from torch import Tensor

from lliptools.errors import InvalidInput
from lliptools.layers.condition import check_matrix, smallest
from lliptools.norms.eigenvalues import leading, proved_above, squared_above
from lliptools.norms.fourier import fourier_error, phases
from lliptools.norms.rounding import gamma, inflated, outward_rounding

SMALL = 64  # rows or columns up to which all eigenvalues are as cheap as the largest
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
        if len(gram) <= SMALL:
            values, vectors = torch.linalg.eigh(gram)
            squared, vector = squared_above(values[-1], gram, wide.shape[1]), vectors[:, -1]
        else:
            estimate, vector = leading(gram)
            residual = torch.linalg.vector_norm(gram @ vector - estimate * vector)
            squared = proved_above(gram, wide.shape[1], estimate, residual)
        upper = inflated(squared.sqrt())
    stretched = torch.linalg.vector_norm(vector @ wide)
    return largest * stretched * (upper / stretched.detach())


def over_norm(weight: Tensor, stride: int = 1, power: int = 1) -> Tensor:
    """weight/norm or weight/norm², of a matrix or a kernel with a stride; weights next to 0 stay as they are."""
    norm = matrix_norm(weight) if weight.dim() == 2 else kernel_norm(weight, (stride, stride))
    norm, found = torch.where(norm > smallest(weight), norm, 1.0), weight.double()
    for _ in range(power):  # one by one, so that no square overflows
        found = found / norm
    return found


@outward_rounding()
def kernel_norm(kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    """Upper bound of the norm of a convolution on images of every size: kernel (out, in, k, k) -> 0-dim float64.

    For zero padding of any width, and circular padding where the output is no larger than the input. The symbol K̂(θ) is
    a matrix of trigonometric polynomials; the norm is at most its largest norm over all frequencies θ. Where θ* is the
    largest, p(θ) = ‖K̂(θ)v‖² is a polynomial of degree d = k − 1 an axis, and lies above cos(d·|θ − θ*|) p(θ*) near by,
    so that on a grid of N points an axis no more than a factor 1/cos(πd/N) is missed. The gradient holds its vectors.
    Source: Ehlich and Zeller, "Schwankung von Polynomen zwischen Gitterpunkten" (Math. Z., 1964), as in Delattre et al.
    (ICML 2023).
    """
    check_matrix(kernel, "kernel", 4)
    if not (isinstance(stride, tuple) and len({*stride}) == 1 and isinstance(stride[0], int) and stride[0] >= 1):
        why = "a stride that differs from axis to axis", "bounds.torus_norm knows them"
        raise InvalidInput("one stride of at least 1 for both axes", repr(stride), *why)
    largest = kernel.detach().double().abs().amax()
    if not smallest(kernel) < largest < torch.inf:
        return kernel.double().abs().sum()  # as in matrix_norm
    kernel = kernel.double()
    split = phases(kernel / largest, stride)
    degrees = [size - 1 for size in split.shape[2:]]
    points = [max(1, FREQUENCIES * degree) for degree in degrees]
    symbols = torch.fft.rfft2(split, s=points).flatten(2).permute(2, 0, 1)
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
        upper = squared.sqrt() * (1 + 8 * gamma(split[0].numel() + len(split) + len(gram[0]), kernel))
        upper = upper + 2 * fourier_error(split, math.prod(points))
    stretched = torch.linalg.vector_norm(vector.conj() @ symbols[top])
    return largest * stretched * (upper / stretched.detach())
