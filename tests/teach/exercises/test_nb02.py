"""The exercises of notebook 02: answers that are written differently, and what is said and drawn of wrong ones."""

import pytest
import torch

import lliptools as ll


def power_of_two_vectors(W, v, steps):
    """As in PyTorch: u and v by turns, and uᵀWv."""
    v = torch.nn.functional.normalize(v, dim=0)
    u = torch.nn.functional.normalize(W @ v, dim=0)
    for _ in range(steps):
        v = torch.nn.functional.normalize(W.T @ u, dim=0)
        u = torch.nn.functional.normalize(W @ v, dim=0)
    return (u @ W @ v).item()


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


def gram_by_singular_values(W, steps):
    values = torch.linalg.svdvals(W)
    return values[0] * (values / values[0]).pow(2 ** (steps + 1)).sum() ** 0.5 ** (steps + 1)


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ("power_iteration", power_of_two_vectors),
        ("gram_iteration", gram_by_entries),
        ("gram_iteration", gram_by_singular_values),
    ],
)
def test_right(check, answer):
    outcome = getattr(ll.check, check)(answer)
    assert (outcome.status, outcome.message) == ("right", "on 40 cases")
    assert outcome.picture() is None


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("power_iteration", lambda *given: ll.check.power_iteration.reference(*given) + 1e-6, "the estimate is"),
        ("power_iteration", lambda W, v, steps: torch.nan, "your estimate is nan"),
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
        ([[0.0] * 3] * 3, "not all of them 0"),
        ([[1.0, 2.0], [3.0, 4.0]], "3 × 3"),
        ([[float("nan")] * 3] * 3, "3 × 3 finite numbers"),
        ("ones", "got ones"),
    ],
)
def test_break_spectral_norm_wrong(kernel, said):
    outcome = ll.check.break_spectral_norm(kernel)
    assert outcome.status == "wrong"
    assert said in outcome.message
    assert (outcome.counter_example is not None) == ("outputs" in outcome.message)


def test_the_norm_that_breaks_it_is_the_layers():
    """Against the library's exact norm of the same convolution."""
    layer = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    layer.weight.data.fill_(1 / 3)
    truth = ll.spectral_norm(layer, "exact", input_shape=(1, 16, 16)).item()
    assert f"their outputs {truth:.4g}" in ll.check.break_spectral_norm(torch.ones(3, 3)).message
