"""Norms of large matrices from above, and what rounding may add to a guarantee, in exact and in extended arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import lliptools as ll

L = ll.layers
RESIDUAL = {"sll": L.SLLLinear, "cpl": L.CPLLinear}
MAPS = {"aol": L.AOLLinear, "spectral": L.SpectralLinear, "cayley": L.CayleyLinear, "bro": L.BROLinear}


@pytest.mark.parametrize("make", [lambda: torch.randn(520, 530), lambda: torch.eye(600), lambda: torch.ones(700, 520)])
def test_norms_of_large_matrices_are_from_above(make):
    w = make().double().requires_grad_()
    norm, exact = L.matrix_norm(w), torch.linalg.matrix_norm(w.detach(), 2)
    assert exact * (1 - 1e-14) <= norm <= 1.03 * exact
    norm.backward()
    assert w.grad.isfinite().all()


def test_power_iteration_would_not_do():
    """A start vector without the leading direction never finds it."""
    w = torch.diag(torch.tensor([3.0, 1.0, 1.0], dtype=torch.float64))
    assert L.matrix_norm(w) >= 3.0
    values = torch.linalg.svdvals(torch.randn(40, 40).double())
    close = torch.diag(1 + 1e-3 * values / values[0])
    assert L.matrix_norm(close) >= 1 + 1e-3


def test_a_direction_that_the_start_does_not_have():
    """No Lanczos step sees it, so that only the proof can."""
    start = torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v = torch.randn(100).double()
    v = nn.functional.normalize(v - (v @ start) / (start @ start) * start, dim=0)
    assert L.matrix_norm(torch.eye(100).double() + torch.outer(v, v)) >= 2 - 1e-12


def long_norm(there, back, start, steps=150):
    """The norm of I + back·there by power iteration in 64 bits of mantissa: never above the true one."""
    A, B = there.astype(np.longdouble), back.astype(np.longdouble)
    v = start.astype(np.longdouble)
    for _ in range(steps):
        u = v + B @ (A @ v)
        v = u + A.T @ (B.T @ u)
        v /= np.sqrt(v @ v)
    u = v + B @ (A @ v)
    return np.sqrt(u @ u)


@pytest.mark.parametrize("kind", RESIDUAL.values())
@pytest.mark.parametrize("orthogonal", [False, True])
def test_rounding_of_large_layers_is_covered(kind, orthogonal):
    layer = kind(96, 512 if not orthogonal else 96).double()
    if orthogonal:
        nn.init.orthogonal_(layer.weight)
    chain = layer.chain((96,), torch.float64)
    there, back = (chain.steps[k].operators[0].weight.detach().numpy() for k in (0, 2))
    norm = long_norm(there, back, np.random.default_rng(0).normal(size=96))
    assert norm <= 1 + chain.rounding
    assert chain.rounding < 1e-8
    if orthogonal:
        assert norm >= 1 - 1e-10  # the constant is reached


def is_positive(matrix: list[list[Fraction]]) -> bool:
    """Whether a symmetric matrix of fractions is positive definite, exactly."""
    rows = [list(row) for row in matrix]
    for k in range(len(rows)):
        if rows[k][k] <= 0:
            return False
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return True


@pytest.mark.parametrize("kind", [*RESIDUAL.values(), L.SandwichLinear])
def test_rounding_is_covered_in_exact_arithmetic(kind):
    for seed in range(3):
        torch.manual_seed(seed)
        layer = kind(4, 5).double()
        if kind is L.SLLLinear:
            layer.log_q.data.normal_(std=20.0)
        chain = layer.chain((4,), torch.float64)
        there, back = (
            [[Fraction(entry) for entry in row] for row in chain.steps[k].operators[0].weight.tolist()] for k in (0, 2)
        )
        for pattern in ((1, 1, 1, 1, 1), (1, 0, 1, 0, 1), (0, 1, 1, 0, 0)):
            jacobian = [
                [
                    Fraction(int(chain.skip and i == j)) + sum(row[k] * there[k][j] * pattern[k] for k in range(5))
                    for j in range(4)
                ]
                for i, row in enumerate(back)
            ]
            limit = (1 + Fraction(chain.rounding)) ** 2
            rows = range(len(jacobian))
            gap = [
                [limit * (i == j) - sum(jacobian[k][i] * jacobian[k][j] for k in rows) for j in range(4)]
                for i in range(4)
            ]
            assert is_positive(gap)


@pytest.mark.parametrize("name", ["cayley", "bro", "aol", "spectral"])
def test_rounding_of_large_maps_is_covered(name):
    layer = MAPS[name](200, 200).double()
    nn.init.orthogonal_(layer.weight.data) if name != "bro" else None
    chain = layer.chain((200,), torch.float64)
    matrix = chain.steps[0].operators[0].weight.detach().numpy().astype(np.longdouble)
    v = np.random.default_rng(0).normal(size=200).astype(np.longdouble)
    for _ in range(100):
        v = matrix.T @ (matrix @ v)
        v /= np.sqrt(v @ v)
    norm = np.sqrt((matrix @ v) @ (matrix @ v))
    assert 1 - 1e-10 <= norm <= 1 + chain.rounding
    assert chain.rounding < 1e-8
