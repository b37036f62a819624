"""The checks of notebook 07 against right answers, ours and differently written ones, and the classic wrong ones."""

import pytest
import torch

import lliptools as ll


def aol(W):
    return (W.T @ W).abs().sum(dim=1)


def aol_by_loop(W):
    features, inner = W.shape
    T = [0.0] * inner
    for j in range(inner):
        for i in range(inner):
            T[j] += abs(sum(float(W[k, i]) * float(W[k, j]) for k in range(features)))
    return T


def q_of_sn(W):
    return torch.linalg.eigh((W.T @ W).abs())[1][:, -1].abs()


def q_by_power_iteration(W):
    overlap, q = (W.T @ W).abs(), torch.ones(W.shape[1], dtype=torch.float64)
    for _ in range(20_000):
        q = overlap @ q
        q = q / q.sum()
    return q.tolist()


def q_in_few_steps(W):
    overlap, q = (W.T @ W).abs(), torch.ones(W.shape[1], dtype=torch.float64)
    for _ in range(3):
        q = overlap @ q
        q = q / q.sum()
    return q


def factor(W, T):
    return torch.linalg.matrix_norm(W / T.sqrt(), 2) ** 2


def factor_by_eigenvalues(W, T):
    return torch.linalg.eigvals((W.T @ W) / T[:, None]).real.max().item()


def factor_by_power_iteration(W, T):
    scaled = W / T.sqrt()
    v = torch.ones(len(T), dtype=torch.float64)
    for _ in range(2):
        v = scaled.T @ (scaled @ v)
        v = v / v.norm()
    return (scaled @ v).square().sum()


def raises(*_):
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ("aol_scale", aol),
        ("aol_scale", aol_by_loop),
        ("aol_scale", lambda W: aol(W).float()),
        ("aol_scale", lambda W: ll.layers.condition.gershgorin_scale(W, torch.ones(W.shape[1]).double())),
        ("q_of_sn", q_of_sn),
        ("q_of_sn", q_by_power_iteration),
        ("q_of_sn", lambda W: 1e6 * q_of_sn(W)),
        ("eight_columns", factor),
        ("eight_columns", factor_by_eigenvalues),
        ("eight_columns", lambda W, T: factor(W.float(), T.float())),
    ],
)
def test_right(check, answer):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "right", outcome


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("aol_scale", lambda W: (W.T @ W).sum(dim=1).abs(), "not feasible. On W = [[1.0, -1.0]]"),
        ("aol_scale", lambda W: (W.T @ W).sum(dim=1), "not feasible"),
        ("aol_scale", lambda W: (W.T @ W).diagonal(), "not feasible"),
        ("aol_scale", lambda W: (W.T @ W).abs().sum(dim=1).sqrt(), "not feasible"),
        ("aol_scale", lambda W: (W @ W.T).abs().sum(dim=1), "numbers of shape (2,) are expected"),
        ("aol_scale", lambda W: torch.linalg.matrix_norm(W, 2) ** 2 * torch.ones(W.shape[1]), "feasible, but not AOL"),
        ("aol_scale", lambda W: 2 * aol(W), "feasible, but not AOL"),
        ("aol_scale", lambda W: aol(W) * torch.nan, "not finite"),
        ("aol_scale", raises, "raised RuntimeError: no idea"),
        ("q_of_sn", lambda W: torch.ones(W.shape[1]), "all T_i have to be equal"),
        ("q_of_sn", lambda W: torch.linalg.eigh(W.T @ W)[1][:, -1], "has to be positive"),
        ("q_of_sn", lambda W: torch.linalg.svd(W)[2][0].abs(), "all T_i have to be equal"),
        ("q_of_sn", lambda W: 1 / q_of_sn(W), "all T_i have to be equal"),
        ("q_of_sn", lambda W: q_of_sn(W).log(), "has to be positive"),
        ("q_of_sn", q_in_few_steps, "all T_i have to be equal"),
        ("q_of_sn", lambda W: q_of_sn(W)[:1], "numbers of shape (2,)"),
        ("q_of_sn", lambda W: q_of_sn(W) * torch.nan, "not finite"),
        ("q_of_sn", raises, "raised RuntimeError: no idea"),
        ("eight_columns", factor_by_power_iteration, "not feasible"),
        ("eight_columns", lambda W, T: factor(W, T).sqrt(), "not"),
        ("eight_columns", lambda W, T: torch.ones(()), "not"),
        ("eight_columns", lambda W, T: torch.linalg.matrix_norm(W, 2) ** 2 / T.min(), "not the smallest"),
        ("eight_columns", lambda W, T: torch.linalg.matrix_norm(W, 2) ** 2 / T.max(), "not feasible"),
        ("eight_columns", lambda W, T: 1.001 * factor(W, T), "not the smallest"),
        ("eight_columns", lambda W, T: torch.tensor(torch.nan), "not finite"),
        ("eight_columns", lambda W, T: -1.0, "negative"),
        ("eight_columns", raises, "raised RuntimeError: no idea"),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message, outcome
    assert f"ll.check.{check}.hint()" in outcome.message


def not_implemented(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", ["aol_scale", "q_of_sn", "eight_columns"])
@pytest.mark.parametrize("answer", [lambda *_: None, lambda *_: ..., not_implemented])
def test_not_attempted(check, answer):
    assert getattr(ll.check, check)(answer).status == "not attempted"


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
