"""Norms of whole convolutions by Fourier transform: on a torus, frequency by frequency."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Convolution, Dense, Gather, Operator, Scale, Transposed
from lliptools.norms.eigenvalues import squared_above
from lliptools.norms.kinds import errs, product_above, steepest
from lliptools.norms.rounding import enclosed, gamma, matrix_slack, unit


@errs("upper", encloses=True)
def torus_norm(linear: LinearMap, row_slope: Tensor, column_slope: Tensor) -> Tensor:
    """Upper bound of the norm of the unmasked layer, for every sample the same: (batch, …) twice -> (batch,).

    A convolution with zero padding is what a torus that is large enough to hold sample and kernel does to samples that
    are 0 outside, so that its norm is at most the largest norm over the torus's frequencies, times the roots of the
    largest slopes. Several layers kept apart give the product of their bounds. Source: Sedghi, Gupta, Long, "The
    singular values of convolutional layers" (ICLR 2019), here with strides and zero padding.
    """
    value = linear.bias.new_ones(())
    for operator in linear.operators:
        largest = operator.weight.detach().abs().amax()
        if largest > 0:  # at a scale of 1, where squares neither overflow nor underflow
            value = product_above(value, _norm(operator.divided(largest)))
        value = product_above(value, largest)
    found = product_above(value.expand(len(row_slope)), steepest(row_slope) * steepest(column_slope))
    operations = enclosed(1e-12 * (len(linear.operators) + 1))
    return found * (1 + operations) + matrix_slack(linear, row_slope, column_slope)


def _norm(operator: Operator) -> Tensor:
    if isinstance(operator, Scale):
        return operator.weight.abs().amax()
    if isinstance(operator, Dense):
        small = operator.weight if len(operator.weight) <= operator.weight.shape[1] else operator.weight.T
        return _root(small @ small.T, small.shape[1]) * (1 + gamma(operator.terms, small))
    if isinstance(operator, Gather):  # the root of sums of rows times sums of columns
        size = operator.with_entries(torch.abs)
        rows = size(operator.weight.new_ones(1, *operator.in_shape)).amax()
        columns = size.adjoint(operator.weight.new_ones(1, *operator.out_shape)).amax()
        return (rows * columns).sqrt()
    if isinstance(operator, Transposed):
        return _convolution(operator.convolution)
    assert isinstance(operator, Convolution)
    return _convolution(operator)


def _convolution(operator: Convolution) -> Tensor:
    """Norm on a torus of each group, the kernel split into the phases of the stride."""
    if operator.circular:
        copies = math.prod(
            max(-(-(n + sum(pads)) // n), 1) for n, pads in zip(operator.in_shape[1:], operator.pads, strict=True)
        )
        total = tuple(d * (k - 1) for d, k in zip(operator.dilation, operator.weight.shape[2:], strict=True))
        whole = all(sum(pads) == t for pads, t in zip(operator.pads, total, strict=True))
        divided = all(n % s == 0 for n, s in zip(operator.in_shape[1:], operator.stride, strict=True))
        if not (whole and divided):
            # What is repeated at the border first, and what a convolution without padding does to it then.
            shape = (operator.in_shape[0], *operator.padded)
            plain = replace(operator, in_shape=shape, pads=tuple((0, 0) for _ in operator.pads), circular=False)
            return math.sqrt(copies) * _convolution(plain)
        sizes = tuple(n // s for n, s in zip(operator.in_shape[1:], operator.stride, strict=True))
        dilation = operator.dilation
    else:
        # A dilated kernel acts on interleaved samples each by itself: the undilated one has the same norm everywhere.
        dilation = tuple(1 for _ in operator.dilation) if set(operator.stride) == {1} else operator.dilation
        reach = (d * (k - 1) + 1 for d, k in zip(dilation, operator.weight.shape[2:], strict=True))
        sizes = tuple(-(-(n + r - 1) // s) + 1 for n, r, s in zip(operator.padded, reach, operator.stride, strict=True))
    kernel = _spread(operator.weight, dilation)
    kernel = phases(kernel, operator.stride)
    axes = tuple(range(2, kernel.dim()))
    symbols = torch.fft.fftn(_wrapped(kernel, sizes), dim=axes)
    symbols = symbols.flatten(2).permute(2, 0, 1)  # (frequencies, out, in/groups · phases)
    per_group = symbols.shape[1] // operator.groups
    symbols = symbols.reshape(-1, per_group, symbols.shape[2])
    gram = symbols @ symbols.mH if per_group <= symbols.shape[2] else symbols.mH @ symbols
    found = _root(gram, max(symbols.shape[1:])) * (1 + gamma(operator.terms, operator.weight))
    return found + fourier_error(kernel, math.prod(sizes))


def _root(gram: Tensor, terms: int) -> Tensor:
    """Root of the largest eigenvalue of all Gram matrices (…, n, n), sums of so many products."""
    squared = torch.linalg.eigvalsh(gram)[..., -1].clamp_min(0)
    return squared_above(squared, gram, terms).amax().sqrt()


def fourier_error(kernel: Tensor, points: int) -> Tensor:
    """How far the computed symbol of a kernel may be from the exact one at any of so many frequencies, in norm.

    The transform of n numbers errs by at most about 7 u log₂ n times its own Euclidean length, √n times theirs (Higham,
    "Accuracy and Stability of Numerical Algorithms", 2002, theorem 24.2); twice that where n is no power of 2.
    """
    return 16 * unit(kernel) * math.log2(max(points, 2)) * math.sqrt(points) * torch.linalg.vector_norm(kernel)


def _spread(kernel: Tensor, dilation: tuple[int, ...]) -> Tensor:
    """The kernel with the zeros that dilation stands for."""
    sizes = (step * (size - 1) + 1 for step, size in zip(dilation, kernel.shape[2:], strict=True))
    spread = kernel.new_zeros(*kernel.shape[:2], *sizes)
    spread[:, :, *(slice(None, None, step) for step in dilation)] = kernel
    return spread


def phases(kernel: Tensor, stride: tuple[int, ...]) -> Tensor:
    """A kernel of stride 1 on the stride's phases as channels: (out, in, *k) -> (out, in · phases, *⌈k/stride⌉)."""
    for axis, step in enumerate(stride, start=2):
        if step > 1:
            kernel = _cut(kernel, axis, step).movedim(axis + 1, 2).flatten(1, 2)
    return kernel


def _wrapped(kernel: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The kernel on a torus of these sizes, what is longer laid over its beginning."""
    for axis, size in enumerate(sizes, start=2):
        kernel = _cut(kernel, axis, size).sum(dim=axis)
    return kernel


def _cut(kernel: Tensor, axis: int, size: int) -> Tensor:
    """An axis as parts of a size, the last filled up with zeros: (…, n, …) -> (…, parts, size, …)."""
    widths = [0, 0] * (kernel.dim() - 1 - axis) + [0, -kernel.shape[axis] % size]
    return pad(kernel, widths).unflatten(axis, (-1, size))
