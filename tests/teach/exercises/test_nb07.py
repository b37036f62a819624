"""The exercises of notebook 07: answers that are written differently, and what is said of wrong ones."""

import pytest
import torch

import lliptools as ll

aol, q_of_sn, factor = ll.check.aol_scale.reference, ll.check.q_of_sn.reference, ll.check.eight_columns.reference


def aol_by_loop(W):
    features, inner = W.shape
    T = [0.0] * inner
    for j in range(inner):
        for i in range(inner):
            T[j] += abs(sum(float(W[k, i]) * float(W[k, j]) for k in range(features)))
    return T


def q_by_power_iteration(W):
    overlap, q = (W.T @ W).abs(), torch.ones(W.shape[1], dtype=torch.float64)
    for _ in range(20_000):
        q = overlap @ q
        q = q / q.sum()
    return q.tolist()


def factor_by_eigenvalues(W, T):
    return torch.linalg.eigvals((W.T @ W) / T[:, None]).real.max().item()


@pytest.mark.parametrize(
    ("check", "answer", "count"),
    [
        ("aol_scale", aol_by_loop, 16),
        ("aol_scale", lambda W: aol(W).float(), 16),
        ("aol_scale", lambda W: ll.layers.condition.gershgorin_scale(W, torch.ones(W.shape[1]).double()), 16),
        ("q_of_sn", q_by_power_iteration, 14),
        ("q_of_sn", lambda W: 1e6 * q_of_sn(W), 14),
        ("eight_columns", factor_by_eigenvalues, 16),
        ("eight_columns", lambda W, T: factor(W.float(), T.float()), 16),
    ],
)
def test_right(check, answer, count):
    outcome = getattr(ll.check, check)(answer)
    assert (outcome.status, outcome.message) == ("right", f"on {count} cases"), outcome


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("aol_scale", lambda W: aol(W) * torch.nan, "not finite"),
        ("q_of_sn", lambda W: q_of_sn(W)[:1], "numbers of shape (2,)"),
        ("q_of_sn", lambda W: q_of_sn(W) * torch.nan, "not finite"),
        ("eight_columns", lambda W, T: torch.tensor(torch.nan), "not finite"),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message, outcome


def test_known_numbers():
    """The 2×2 example of the notebook: AOL (1.82, 1.95), spectral normalisation 1.8877, AOL's factor 1."""
    W = torch.tensor([[1.0, 0.6], [0.2, 0.9]], dtype=torch.float64)
    assert aol(W).tolist() == pytest.approx([1.82, 1.95])
    T = ll.layers.condition.gershgorin_scale(W, q_of_sn(W))
    assert T.tolist() == pytest.approx([1.8877, 1.8877], abs=1e-4)
    assert factor(W, aol(W)).item() == pytest.approx(1.0)


def test_a_fault_shows_a_vector_that_can_be_checked_by_hand():
    message = ll.check.aol_scale(lambda W: (W.T @ W).sum(dim=1)).message
    assert "T = [0.0, 0.0]" in message
    assert "‖Wv‖² is 2, but Σ T_i v_i² only 0" in message
