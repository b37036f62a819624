"""The checks of notebook 02 against right answers and the classic wrong ones."""

import pytest
import torch

import lliptools as ll


def power(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W.T @ (W @ v)
        v = v / v.norm()
    return (W @ v).norm()


def power_of_two_vectors(W, v, steps):
    """As in PyTorch: u and v by turns, and uᵀWv."""
    v = torch.nn.functional.normalize(v, dim=0)
    u = torch.nn.functional.normalize(W @ v, dim=0)
    for _ in range(steps):
        v = torch.nn.functional.normalize(W.T @ u, dim=0)
        u = torch.nn.functional.normalize(W @ v, dim=0)
    return (u @ W @ v).item()


def unscaled(W, v, steps):
    for _ in range(steps):
        v = W.T @ (W @ v)
    return (W @ v).norm() / v.norm()


def gram(W, steps):
    log_scale, weight = 0.0, 1.0
    for _ in range(steps):
        s = W.norm()
        log_scale, W, weight = log_scale + weight * s.log(), W / s, weight / 2
        W = W.T @ W / 1.0
    return (log_scale + weight * W.norm().log()).exp()


def gram_by_entries(W, steps):
    """The largest entry as the scale, and the smaller of the two Gram matrices."""
    scale = W.abs().max()
    W = (W if W.shape[0] < W.shape[1] else W.T) / scale
    if steps == 0:
        return scale * W.square().sum().sqrt()
    G, logarithm = W @ W.T, 0.0
    for _ in range(steps - 1):
        size = G.abs().max().item()
        G, logarithm = (G / size) @ (G / size), 2 * (logarithm + torch.tensor(size).double().log())
    return (scale * ((logarithm + G.square().sum().sqrt().log()) / 2**steps).exp()).item()


def gram_unscaled(W, steps):
    for _ in range(steps):
        W = W.T @ W
    return W.norm() ** (1 / 2**steps)


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ("power_iteration", power),
        ("power_iteration", power_of_two_vectors),
        ("gram_iteration", gram),
        ("gram_iteration", gram_by_entries),
    ],
)
def test_right(check, answer):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "right", outcome
    assert outcome.picture is None


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("power_iteration", unscaled, "your estimate is nan: scale v"),
        ("power_iteration", lambda W, v, steps: power(W, v, steps) ** 2, "that is the square"),
        ("power_iteration", lambda W, v, steps: (W @ (W.T @ (W @ v))).norm(), "yours is"),
        ("power_iteration", lambda W, v, steps: power(W, v, steps + 1), "steps = 0 the estimate is"),
        ("power_iteration", lambda W, v, steps: torch.linalg.matrix_norm(W, 2), "the estimate is"),
        ("power_iteration", lambda W, v, steps: power(W, torch.randn_like(v), steps), "the estimate is"),
        ("power_iteration", lambda W, v, steps: (W @ v).norm(), "yours is"),
        ("power_iteration", lambda W, v, steps: power(W, v, steps) + 1e-6, "the estimate is"),
        ("power_iteration", lambda W, v, steps: power(W.T, v, steps), "the estimate is"),
        ("power_iteration", lambda W, v, steps: torch.nan, "your estimate is nan"),
        ("gram_iteration", gram_unscaled, "underflow"),
        ("gram_iteration", lambda W, steps: power(W, torch.ones(W.shape[1]).double(), steps), "unsound"),
        ("gram_iteration", lambda W, steps: W.norm(), "the bound is"),
        ("gram_iteration", lambda W, steps: gram(W, steps) / 1.4, "unsound"),
        ("gram_iteration", lambda W, steps: gram(W, steps + 1), "the bound is"),
        ("gram_iteration", lambda W, steps: torch.linalg.matrix_norm(W, 2), "the bound is"),
        ("gram_iteration", lambda W, steps: torch.nan, "your bound is nan"),
        ("gram_iteration", lambda W, steps: W, "expected a number"),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message


def test_counter_example_is_the_smallest_one():
    """The diagonal matrix of the notebook, before any other."""
    assert "W = [[1.0, 0.0], [0.0, 0.9]]" in ll.check.gram_iteration(lambda W, steps: 0.0).message
    assert "W = [[1.0, 0.0], [0.0, 0.9]]" in ll.check.power_iteration(lambda W, v, steps: 2.0).message


@pytest.mark.parametrize("check", ["power_iteration", "gram_iteration"])
@pytest.mark.parametrize("empty", [None, ...])
def test_not_attempted(check, empty):
    assert getattr(ll.check, check)(lambda *_: empty).status == "not attempted"


@pytest.mark.parametrize(
    "kernel",
    [torch.ones(3, 3), [[[[-2.0] * 3] * 3]], [[1, -1, 1], [-1, 1, -1], [1, -1, 1]], [[1, 2, 1], [2, 4, 2], [1, 2, 1]]],
)
def test_break_spectral_norm_right(kernel):
    """All equal, alternating, and bright in the middle: each adds up on some picture."""
    outcome = ll.check.break_spectral_norm(kernel)
    assert outcome.status == "right"
    assert "PyTorch calls this layer's norm 1" in outcome.message
    pictures = [trace for trace in outcome.picture().data if trace.type == "heatmap"]
    assert [picture.z.shape for picture in pictures] == [(16, 16)] * 4


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], "outputs 1; more than 2.5"),
        ([[0, 0, 0], [1, 1, 1], [0, 0, 0]], "more than 2.5"),
        ([[0.0] * 3] * 3, "not all of them 0"),
        ([[1.0, 2.0], [3.0, 4.0]], "3 × 3"),
        ([[float("nan")] * 3] * 3, "expected finite numbers"),
        ("ones", "got ones"),
    ],
)
def test_break_spectral_norm_wrong(kernel, said):
    outcome = ll.check.break_spectral_norm(kernel)
    assert outcome.status == "wrong"
    assert said in outcome.message
    assert (outcome.picture is not None) == ("outputs" in outcome.message)


def test_break_spectral_norm_not_attempted():
    assert ll.check.break_spectral_norm(None).status == "not attempted"


def test_the_norm_that_breaks_it_is_the_layers():
    """Against the library's exact norm of the same convolution."""
    layer = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    layer.weight.data.fill_(1 / 3)
    truth = ll.spectral_norm(layer, "exact", input_shape=(1, 16, 16)).item()
    assert f"their outputs {truth:.4g}" in ll.check.break_spectral_norm(torch.ones(3, 3)).message


def test_a_check_leaves_the_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    ll.check.break_spectral_norm(torch.ones(3, 3))
    ll.check.power_iteration(lambda W, v, steps: power(W, torch.rand_like(v), steps))
    assert torch.equal(torch.rand(3), expected)
