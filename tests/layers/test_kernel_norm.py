"""The norm of a convolution on images of every size: above all of them, and not far."""

import itertools
import math

import pytest
import torch
from jacobian_norms import dense_convolution

import lliptools as ll

L = ll.layers


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (5, 5), (3, 1), (2, 4)])
def test_kernel_norm_is_above_dense_matrices_and_not_far(kernel):
    for seed in range(4):
        torch.manual_seed(seed)
        k = torch.randn(2, 3, *kernel).double()
        norm = L.kernel_norm(k, (1, 1)).item()
        for circular in (False, True):
            H = dense_convolution(k, (7, 9), 0, 1, circular)
            assert torch.linalg.matrix_norm(H, 2) <= norm
        padded = dense_convolution(k, (7, 6), 4, 1, False)
        largest = torch.linalg.matrix_norm(torch.fft.fft2(k, s=(256, 256)).permute(2, 3, 0, 1), 2).max()
        assert torch.linalg.matrix_norm(padded, 2) <= norm
        assert largest <= norm <= 1.025 * largest


def peak_between(degree, sides, points):
    """A kernel whose symbol peaks half-way between grid points, with all its weight at the two ends: 2 + 2cos(d·θ)."""
    offset = math.pi / points
    turned = [
        torch.tensor([[math.cos(p), -math.sin(p)], [math.sin(p), math.cos(p)]], dtype=torch.float64)
        for p in (0, degree * offset)
    ]
    kernel = torch.zeros(2, 2, *sides).double()
    kernel[:, :, 0, 0] += turned[0]
    kernel[:, :, sides[0] - 1, sides[1] - 1] += turned[1]
    return kernel


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("axis", [0, 1])
def test_kernel_norm_where_the_symbol_peaks_between_grid_points(degree, axis):
    sides = (degree + 1, 1) if axis == 0 else (1, degree + 1)
    kernel = peak_between(degree, sides, 16 * degree)
    norm = L.kernel_norm(kernel, (1, 1)).item()
    on_grid = torch.linalg.matrix_norm(
        torch.fft.fft2(kernel, s=[max(1, 16 * (s - 1)) for s in sides]).permute(2, 3, 0, 1), 2
    )
    assert on_grid.max() < 1.9999  # a grid alone misses it
    assert 2.0 <= norm <= 2.03
    size = (32 * degree, 1) if axis == 0 else (1, 32 * degree)
    image = torch.linalg.matrix_norm(torch.fft.fft2(kernel, s=size).permute(2, 3, 0, 1), 2).max()
    assert 2 - 1e-12 <= image <= norm


def test_kernel_norm_on_very_large_images():
    for seed in range(6):
        torch.manual_seed(seed)
        kernel = torch.randn(2, 2, 3, 3).double().sign() * torch.rand(2, 2, 3, 3).double() ** 3
        norm = L.kernel_norm(kernel, (1, 1))
        for size in ((701, 1), (1, 997), (311, 307)):
            spectrum = torch.fft.fft2(_folded(kernel, size), s=size).permute(2, 3, 0, 1)
            assert torch.linalg.matrix_norm(spectrum, 2).max() <= norm


def _folded(kernel, size):
    """The kernel on a torus that may be smaller than it."""
    found = torch.zeros(*kernel.shape[:2], *size).double()
    for a, b in itertools.product(*(range(side) for side in kernel.shape[2:])):
        found[:, :, a % size[0], b % size[1]] += kernel[:, :, a, b]
    return found


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kernel", range(1, 6))
def test_stride_phases(kernel, stride):
    for seed in range(3):
        torch.manual_seed(seed)
        k = torch.randn(2, 1, kernel, kernel).double()
        k = k.abs() if seed == 0 else k
        norm, whole = L.kernel_norm(k, (stride, stride)).item(), L.kernel_norm(k, (1, 1)).item()
        for size in ((7, 8), (9, 11), (20, 21)):
            for padding in (0, 1, kernel):
                if min(size) + 2 * padding >= kernel:
                    H = dense_convolution(k, size, padding, stride, False)
                    assert torch.linalg.matrix_norm(H, 2) <= norm
        assert norm >= 0.85 * torch.linalg.matrix_norm(H, 2)
        if seed == 0 and kernel > 1:
            assert norm < 0.9 * whole  # the phases share the norm of the whole


def test_stride_of_ones_by_hand():
    assert L.kernel_norm(torch.ones(1, 1, 2, 2).double(), (2, 2)).item() == pytest.approx(2.0, rel=1e-12)
    assert L.kernel_norm(torch.ones(1, 1, 4, 4).double(), (4, 4)).item() == pytest.approx(4.0, rel=1e-12)
    assert L.kernel_norm(torch.ones(1, 1, 1, 1).double(), (2, 2)).item() == pytest.approx(1.0, rel=1e-12)
    assert 4.0 <= L.kernel_norm(torch.ones(1, 1, 2, 2).double(), (1, 1)).item() <= 4.1
