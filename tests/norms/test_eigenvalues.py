"""Largest eigenvalues of Gram matrices: proved from above, estimated from below; masks compacted."""

from fractions import Fraction

import pytest
import torch

from lliptools.norms.eigenvalues import leading, proved_above, squared_above
from lliptools.norms.masked import kept_first
from lliptools.norms.rounding import outward_rounding
from lliptools.norms.scaled import unit_vectors

WIDE = {
    "random": lambda: torch.randn(40, 60).double(),
    "rank one": lambda: torch.randn(40, 1).double() @ torch.randn(1, 60).double(),
    "all singular values alike": lambda: torch.linalg.qr(torch.randn(60, 40).double())[0].T.contiguous(),
    "one row": lambda: torch.randn(1, 60).double(),
    "zero": lambda: torch.zeros(40, 60).double(),
}


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_proof_holds_from_whatever_estimate(name, share):
    torch.manual_seed(0)
    wide = WIDE[name]()
    gram = wide @ wide.T
    truth = torch.linalg.svdvals(wide)[0].square()
    found = proved_above(gram, 60, share * truth, 1e-9 * truth)
    assert truth * (1 - 1e-14) <= found
    assert found <= 2.1 * gram.trace()  # the step is doubled until it is enough
    if share == 1.0:
        assert found <= truth * (1 + 1e-8)


def test_a_proof_knows_the_rounding_of_the_entries():
    """The matrix [[1, a], [a, 1]] has the eigenvalue 1 + |a|, in fractions."""
    for row in ((0.1, 0.2, 0.3), (1 / 3, 1e-9, 0.7), (1e-8, 1.0, 1e-16)):
        wide = torch.tensor([row, row], dtype=torch.float64)
        gram = wide @ wide.T
        exact = 2 * sum(Fraction(entry) ** 2 for entry in row)
        with outward_rounding():
            solved = squared_above(torch.linalg.eigvalsh(gram)[-1], gram, 3)
        assert Fraction(solved.item()) >= exact
        assert Fraction(proved_above(gram, 3, gram[0, 0], gram[0, 0] * 1e-12).item()) >= exact


@pytest.mark.parametrize("name", WIDE)
def test_the_leading_pair_is_one_from_below(name):
    torch.manual_seed(0)
    wide = WIDE[name]()
    gram = wide @ wide.T
    estimate, vector = leading(gram)
    truth = torch.linalg.eigvalsh(gram)[-1]
    assert 0.95 * truth - 1e-12 <= estimate <= truth * (1 + 1e-12) + 1e-12
    torch.testing.assert_close(vector @ gram @ vector, estimate, rtol=1e-9, atol=1e-12)
    assert vector.norm().item() == pytest.approx(1.0, rel=1e-12)


def test_what_a_mask_keeps_comes_first_and_in_order():
    mask = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    which, kept = kept_first(mask)
    assert which.shape == kept.shape == (3, 3)
    assert which[0].tolist() == [1, 3, 4]
    assert kept.tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert torch.equal(mask.gather(1, which), kept)
    assert kept_first(mask[:, :0])[0].shape == (3, 0)


def test_unit_vectors_of_every_size():
    values = torch.tensor([[3e200, 4e200], [3e-200, 4e-200], [0.0, 0.0], [torch.inf, 1.0]], dtype=torch.float64)
    found = unit_vectors(values)
    torch.testing.assert_close(found[:2], torch.tensor([[0.6, 0.8]] * 2, dtype=torch.float64))
    assert not found[2:].any()
