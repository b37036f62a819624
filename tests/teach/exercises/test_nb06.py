"""The exercises of notebook 06: answers that are written differently, and what is said of wrong ones."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import lliptools as ll

gloro, local = ll.check.gloro_loss.reference, ll.check.local_loss.reference
sandwich, proved = ll.check.sandwich.reference, ll.check.never_nan.reference


def gloro_by_loop(logits, pairwise, eps, y):
    total = 0.0
    for f, lip, label in zip(logits, pairwise, y.tolist(), strict=True):
        others = [f[j] + eps * lip[j] for j in range(len(f)) if j != label]
        total = total + torch.stack([*f, torch.stack(others).max()]).logsumexp(0) - f[label]
    return total / len(y)


def local_by_masks(net, x, y, eps, kappa):
    """The masks read from the bound, norms of masked matrices taken by hand."""
    blocks, logits = ll.local_bound(net, x, eps).blocks, net(x)
    layers = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    total = 0.0
    for n in range(len(x)):
        norm, columns = 1.0, torch.ones(x.shape[1], dtype=torch.float64)
        for layer, block in zip(layers[:-1], blocks[:-1], strict=True):
            masked = block.slope[n][:, None] * layer.weight * columns
            norm = norm * torch.linalg.matrix_norm(masked, 2)
            columns = block.slope[n]
        rows = (layers[-1].weight[y[n]] - layers[-1].weight) * columns
        worst = logits[n] + eps * norm * rows.norm(dim=1)
        total = total + kappa * cross_entropy(logits[n], y[n]) + (1 - kappa) * cross_entropy(worst, y[n])
    return total / len(x)


def margin(net, x, y):
    logits = net(x)
    return (logits.gather(1, y[:, None]) - logits).scatter(1, y[:, None], torch.inf).amin(dim=1)


def attack(net, x, y, eps, project=True):
    """Steps of the gradient, by hand."""
    best, lowest, at = x.clone(), margin(net, x, y), x.clone()
    for _ in range(20):
        at.requires_grad_(True)
        (gradient,) = torch.autograd.grad(margin(net, at, y).sum(), at)
        at = at.detach() - 0.2 * eps * gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
        if project:
            step = at - x
            at = x + step * (eps * (1 - 1e-9) / step.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0)
        better = margin(net, at, y) < lowest
        best[better], lowest = at[better], torch.minimum(margin(net, at, y), lowest)
    return best.detach()


def sandwich_by_hand(net, x, y, eps):
    lip = ll.global_bound(net, x).pairwise(y)
    logits = net(x)
    others = torch.arange(logits.shape[1]) != y[:, None]
    proved = ((logits.gather(1, y[:, None]) - logits > eps * lip) | ~others).all(dim=1)
    return (margin(net, x, y) > 0).tolist(), attack(net, x, y, eps), proved.tolist()


def proved_by_loop(logits, pairwise, eps, y):
    found = []
    for f, lip, label in zip(logits.tolist(), pairwise.tolist(), y.tolist(), strict=True):
        gaps = [(f[label] - f[j], eps * lip[j]) for j in range(len(f)) if j != label]
        found.append(all(reach < gap < float("inf") for gap, reach in gaps))
    return found


@pytest.mark.parametrize(
    ("check", "answer", "count"),
    [
        ("gloro_loss", gloro_by_loop, 8),
        ("gloro_loss", ll.training.losses.gloro, 8),
        ("local_loss", local_by_masks, 15),
        ("sandwich", sandwich_by_hand, 6),
        ("never_nan", proved_by_loop, 21),
    ],
)
def test_right(check, answer, count):
    outcome = getattr(ll.check, check)(answer)
    assert (outcome.status, outcome.message) == ("right", f"on {count} cases"), outcome


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("gloro_loss", lambda f, lip, eps, y: f.sum(dim=1), "numbers of shape ()"),
        ("gloro_loss", lambda *_: float("nan"), "not finite"),
        ("local_loss", lambda *_: torch.tensor(float("nan")), "not finite"),
        ("sandwich", lambda *a: (margin(*a[:3]) > 0, attack(*a, project=False), sandwich(*a)[2]), "out of the ball"),
        ("sandwich", lambda *a: sandwich(*a)[:2], "(clean, attacked, certified) is expected"),
        ("sandwich", lambda *a: (*sandwich(*a)[:2], torch.tensor(True)), "numbers of shape (24,)"),
        ("sandwich", lambda *a: (sandwich(*a)[0], sandwich(*a)[1] * torch.nan, sandwich(*a)[2]), "not finite"),
        ("never_nan", lambda f, lip, eps, y: True, "numbers of shape (1,)"),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message, outcome


def test_gloro_is_above_the_cross_entropy_and_grows_with_eps():
    torch.manual_seed(0)
    for logits, pairwise, _, y in ll.check.gloro_loss.cases(0):
        losses = [gloro(logits, pairwise, eps, y).item() for eps in (0.0, 0.1, 1.0)]
        assert cross_entropy(logits, y) < losses[0] + 1e-9
        assert losses == sorted(losses)


def test_a_spoiled_argument_spoils_no_comparison():
    def destroys(logits, pairwise, eps, y):
        found = proved(logits, pairwise, eps, y)
        logits.fill_(0.0)
        return found

    assert ll.check.never_nan(destroys).status == "right"
