"""The search for multipliers: optima that are known."""

import pytest
import torch

from lliptools.certificates.semidefinite import Products, solve


def products(rows, *known, ball):
    """known: (first, second, whether the product is 0)."""
    left, right, equal = (torch.tensor(list(part)) for part in zip(*known, strict=True))
    return Products(torch.tensor(rows).double(), left, right, equal, ball)


def program(constant, slope):
    C = torch.zeros(1 + len(slope), 1 + len(slope)).double()
    C[0, 0], C[0, 1:], C[1:, 0] = constant, torch.tensor(slope).double() / 2, torch.tensor(slope).double() / 2
    return C


@pytest.mark.parametrize("constant", [-1.0, 4.999, 5.001, 7.0])
def test_a_linear_function_on_a_ball(constant):
    """The least of c + 3 v_1 + 4 v_2 is c − 5; that 1 · 1 >= 0 adds nothing."""
    found = solve(program(constant, [3.0, 4.0]), products([[1.0, 0.0, 0.0]], (0, 0, False), ball=2))
    assert (found[-1] > 0) == (constant > 5)
    assert found[-1] <= constant - 5 + 1e-9
    assert found[-2] > 0


@pytest.mark.parametrize("constant", [0.999, 1.001])
def test_the_triangle_of_a_unit(constant):
    """z in [−1, 1] and h = relu(z): the least of c + z − 2h = c − |z| is c − 1."""
    rows = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 1.0], [1.0, 1.0, -2.0]]
    known = products(rows, (1, 2, True), (3, 1, False), (3, 2, False), ball=1)
    assert (solve(program(constant, [1.0, -2.0]), known)[-1] > 0) == (constant > 1)
