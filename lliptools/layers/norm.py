"""Norms that layers divide by: upper bounds with gradients, at every step of training and after it."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad, pixel_unshuffle

from lliptools.bounds import exact_norm
from lliptools.bounds.norms import GramNorm
from lliptools.bounds.rounding import gamma, outward_rounding
from lliptools.nets import LinearMap

__all__ = ["kernel_norm", "matrix_norm"]

LARGEST_EXACT = 512  # rows or columns up to which eigenvalues are cheap
GRAM_STEPS = 8
FREQUENCIES = 16  # so many a degree of the kernel's polynomial: what lies between them adds at most 2 % an image


def matrix_norm(weight: Tensor) -> Tensor:
    """Upper bound of the norm of a matrix (rows, columns), in float64 with its rounding enclosed: a 0-dim tensor.

    Exact but for rounding up to LARGEST_EXACT rows or columns, beyond by Gram iteration. 0 only where all weights are.
    """
    linear = LinearMap.dense(weight.double())
    one = linear.bias.new_ones(1)
    norm = exact_norm if min(weight.shape) <= LARGEST_EXACT else GramNorm(GRAM_STEPS)
    with outward_rounding():
        found: Tensor = norm(linear, one.expand(1, linear.rows), one.expand(1, linear.columns))[0]
    return found


def kernel_norm(kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    """Upper bound of the norm of a convolution on images of every size: kernel (out, in, k, k) -> 0-dim float64.

    For zero padding of any width, and circular padding where the output is no larger than the input. The symbol K̂(θ) is
    a matrix of trigonometric polynomials; the norm is at most its largest norm over all frequencies θ. Where θ* is the
    largest, p(θ) = ‖K̂(θ)v‖² is a polynomial of degree d = k − 1 an axis, and lies above cos(d·|θ − θ*|) p(θ*) near by,
    so that on a grid of N points an axis no more than a factor 1/cos(πd/N) is missed.
    Source: Ehlich and Zeller, "Schwankung von Polynomen zwischen Gitterpunkten" (Math. Z., 1964), as in Delattre et al.
    (ICML 2023).
    """
    kernel = kernel.double()
    largest = kernel.detach().abs().amax()
    largest = torch.where(largest > 0, largest, 1.0)
    phases = _phases(kernel / largest, stride)
    degrees = [size - 1 for size in phases.shape[2:]]
    points = [max(1, FREQUENCIES * degree) for degree in degrees]
    symbols = torch.fft.rfft2(phases, s=points).flatten(2).permute(2, 0, 1)
    gram = symbols @ symbols.mH if symbols.shape[1] <= symbols.shape[2] else symbols.mH @ symbols
    squared = torch.linalg.eigvalsh(gram)[:, -1].amax()
    for degree, count in zip(degrees, points, strict=True):
        squared = squared / math.cos(math.pi * degree / count)
    alive = squared > 0
    root = torch.where(alive, squared, 1.0).sqrt() * alive
    return root * largest * (1 + 8 * gamma(phases[0].numel() + len(gram[0]), kernel))


def _phases(kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    """A kernel of stride 1 on the stride's phases as channels: (out, in, k, k) -> (out, in · phases, ⌈k/s⌉, ⌈k/s⌉)."""
    if stride == (1, 1):
        return kernel
    assert stride[0] == stride[1]
    bottom, right = (-size % stride[0] for size in kernel.shape[2:])
    return pixel_unshuffle(pad(kernel, (0, right, 0, bottom)), stride[0])
