"""The checks of notebook 06 against right answers, ours and differently written ones, and the classic wrong ones."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import lliptools as ll


def gloro(logits, pairwise, eps, y):
    worst = (logits + eps * pairwise).scatter(1, y[:, None], -torch.inf).amax(dim=1, keepdim=True)
    return cross_entropy(torch.cat([logits, worst], dim=1), y)


def gloro_by_loop(logits, pairwise, eps, y):
    total = 0.0
    for f, lip, label in zip(logits, pairwise, y.tolist(), strict=True):
        others = [f[j] + eps * lip[j] for j in range(len(f)) if j != label]
        total = total + torch.stack([*f, torch.stack(others).max()]).logsumexp(0) - f[label]
    return total / len(y)


def gloro_naive_exponentials(logits, pairwise, eps, y):
    worst = (logits + eps * pairwise).scatter(1, y[:, None], -torch.inf).amax(dim=1, keepdim=True)
    scores = torch.cat([logits, worst], dim=1)
    return (scores.exp().sum(dim=1).log() - logits.gather(1, y[:, None])[:, 0]).mean()


def gloro_own_class_by_zero(logits, pairwise, eps, y):
    worst = (logits + eps * pairwise).scatter(1, y[:, None], 0.0).amax(dim=1, keepdim=True)
    return cross_entropy(torch.cat([logits, worst], dim=1), y)


def gloro_own_class_too(logits, pairwise, eps, y):
    worst = (logits + eps * pairwise).amax(dim=1, keepdim=True)
    return cross_entropy(torch.cat([logits, worst], dim=1), y)


def local(net, x, y, eps, kappa):
    logits, bound = net(x), ll.local_bound(net, x, eps, differentiable="norms")
    worst = logits + eps * bound.pairwise(y)
    return kappa * cross_entropy(logits, y) + (1 - kappa) * cross_entropy(worst, y)


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


def local_with(pairwise):
    def loss(net, x, y, eps, kappa):
        logits = net(x)
        worst = cross_entropy(logits + eps * pairwise(net, x, y, eps), y)
        return kappa * cross_entropy(logits, y) + (1 - kappa) * worst

    return loss


at_radius_0 = local_with(lambda net, x, y, eps: ll.local_bound(net, x, 0.0, differentiable="norms").pairwise(y))
everywhere = local_with(lambda net, x, y, eps: ll.global_bound(net, x, differentiable="norms").pairwise(y))
detached = local_with(lambda net, x, y, eps: ll.local_bound(net, x, eps).pairwise(y))
first_serves_all = local_with(
    lambda net, x, y, eps: ll.local_bound(net, x[:1].expand_as(x), eps, differentiable="norms").pairwise(y)
)
without_reach = local_with(lambda net, x, y, eps: torch.zeros(len(x), net(x).shape[1]))


def sandwich(net, x, y, eps):
    clean = ll.attacks.is_correct(net, x, y)
    return clean, ll.attacks.pgd(net, x, y, eps), ll.certify(net, x, y, eps).holds


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


def out_of_the_ball(net, x, y, eps):
    return margin(net, x, y) > 0, attack(net, x, y, eps, project=False), ll.certify(net, x, y, eps).holds


def attack_as_proof(net, x, y, eps):
    points = ll.attacks.pgd(net, x, y, eps)
    return margin(net, x, y) > 0, points, margin(net, points, y) > 0


def at_radius_0_as_proof(net, x, y, eps):
    lip = ll.local_bound(net, x, 0.0).pairwise(y)
    logits = net(x)
    gap = (logits.gather(1, y[:, None]) - logits).scatter(1, y[:, None], torch.inf)
    return margin(net, x, y) > 0, ll.attacks.pgd(net, x, y, eps), (gap > eps * lip).all(dim=1)


def no_attack(net, x, y, eps):
    return margin(net, x, y) > 0, x, ll.certify(net, x, y, eps).holds


def repairs(net, x, y, eps):
    """Moves what is misclassified as well, away from the class that wins."""
    points = ll.attacks.pgd(net, x, net(x).argmax(dim=1), eps)
    return margin(net, x, y) > 0, points, ll.certify(net, x, y, eps).holds


def certifies_nothing(net, x, y, eps):
    return margin(net, x, y) > 0, ll.attacks.pgd(net, x, y, eps), torch.zeros(len(x), dtype=torch.bool)


def proved(logits, pairwise, eps, y):
    gap = logits.gather(1, y[:, None]) - logits
    holds = (gap > eps * pairwise) & gap.isfinite()
    return holds.scatter(1, y[:, None], True).all(dim=1)


def proved_by_loop(logits, pairwise, eps, y):
    found = []
    for f, lip, label in zip(logits.tolist(), pairwise.tolist(), y.tolist(), strict=True):
        gaps = [(f[label] - f[j], eps * lip[j]) for j in range(len(f)) if j != label]
        found.append(all(reach < gap < float("inf") for gap, reach in gaps))
    return found


def nothing_breaks_it(logits, pairwise, eps, y):
    gap = logits.gather(1, y[:, None]) - logits
    return ~((gap <= eps * pairwise).scatter(1, y[:, None], False).any(dim=1))


def own_class_by_value(logits, pairwise, eps, y):
    own = logits.gather(1, y[:, None])
    gap = own - logits
    return (((gap > eps * pairwise) & gap.isfinite()) | (logits == own)).all(dim=1)


def ties_count(logits, pairwise, eps, y):
    gap = logits.gather(1, y[:, None]) - logits
    return ((gap >= eps * pairwise) & gap.isfinite()).scatter(1, y[:, None], True).all(dim=1)


def overflow_counts(logits, pairwise, eps, y):
    gap = logits.gather(1, y[:, None]) - logits
    return (gap > eps * pairwise).scatter(1, y[:, None], True).all(dim=1)


def nan_to_num(logits, pairwise, eps, y):
    return proved(logits.nan_to_num(), pairwise.nan_to_num(), eps, y)


def raises(*_):
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ("gloro_loss", gloro),
        ("gloro_loss", gloro_by_loop),
        ("gloro_loss", ll.training.losses.gloro),
        ("local_loss", local),
        ("local_loss", local_by_masks),
        ("sandwich", sandwich),
        ("sandwich", sandwich_by_hand),
        ("never_nan", proved),
        ("never_nan", proved_by_loop),
    ],
)
def test_right(check, answer):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "right", outcome


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        ("gloro_loss", gloro_own_class_by_zero, "logits [[-1.0, -3.0]]"),
        ("gloro_loss", gloro_own_class_too, "the loss is"),
        ("gloro_loss", lambda f, lip, eps, y: cross_entropy(f, y), "the loss is"),
        ("gloro_loss", lambda f, lip, eps, y: len(y) * gloro(f, lip, eps, y), "the loss is"),
        ("gloro_loss", gloro_naive_exponentials, "not finite"),
        ("gloro_loss", lambda f, lip, eps, y: gloro(f, lip.detach(), eps, y), "direction of pairwise"),
        ("gloro_loss", lambda f, lip, eps, y: gloro(f, lip, eps, y).item(), "no graph"),
        ("gloro_loss", lambda f, lip, eps, y: gloro(f, 2**0.5 * lip, eps, y), "the loss is"),
        ("gloro_loss", lambda f, lip, eps, y: f.sum(dim=1), "numbers of shape ()"),
        ("gloro_loss", lambda *_: float("nan"), "not finite"),
        ("gloro_loss", raises, "raised RuntimeError: no idea"),
        ("local_loss", at_radius_0, "unsound. On f(t) = (1, relu(10 t − 2))"),
        ("local_loss", without_reach, "unsound"),
        ("local_loss", everywhere, "that is the global bound"),
        ("local_loss", detached, "does the bound keep its graph?"),
        ("local_loss", first_serves_all, "the first point's bound serves all points"),
        ("local_loss", lambda net, x, y, eps, kappa: local(net, x, y, eps, 1 - kappa), "unsound"),
        ("local_loss", lambda net, x, y, eps, k: local(net, x, y, eps, 1 - k if k else 0.0), "exchanged"),
        ("local_loss", lambda *_: torch.tensor(float("nan")), "not finite"),
        ("local_loss", raises, "raised RuntimeError: no idea"),
        ("sandwich", attack_as_proof, "That an attack finds nothing proves nothing"),
        ("sandwich", at_radius_0_as_proof, "is certified, but at"),
        ("sandwich", out_of_the_ball, "out of the ball"),
        ("sandwich", no_attack, "your attack misses it"),
        ("sandwich", repairs, "your attack repairs it"),
        ("sandwich", certifies_nothing, "by the global bound already"),
        ("sandwich", lambda *a: (torch.ones(len(a[1])), *sandwich(*a)[1:]), "is misclassified; you say otherwise"),
        ("sandwich", lambda *a: sandwich(*a)[:2], "(clean, attacked, certified) is expected"),
        ("sandwich", lambda *a: (*sandwich(*a)[:2], torch.tensor(True)), "numbers of shape (24,)"),
        ("sandwich", lambda *a: (sandwich(*a)[0], sandwich(*a)[1] * torch.nan, sandwich(*a)[2]), "not finite"),
        ("never_nan", nothing_breaks_it, "NaN"),
        ("never_nan", own_class_by_value, "a tie"),
        ("never_nan", ties_count, "a tie"),
        ("never_nan", overflow_counts, "overflow"),
        ("never_nan", nan_to_num, "NaN"),
        ("never_nan", lambda f, lip, eps, y: torch.zeros(len(y), dtype=torch.bool), "is proved and you refuse it"),
        ("never_nan", lambda f, lip, eps, y: True, "numbers of shape (1,)"),
    ],
)
def test_wrong(check, answer, said):
    outcome = getattr(ll.check, check)(answer)
    assert outcome.status == "wrong"
    assert said in outcome.message, outcome
    assert f"ll.check.{check}.hint()" in outcome.message


def not_implemented(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", ["gloro_loss", "local_loss", "sandwich", "never_nan"])
@pytest.mark.parametrize("answer", [lambda *_: None, lambda *_: ..., not_implemented])
def test_not_attempted(check, answer):
    assert getattr(ll.check, check)(answer).status == "not attempted"


def test_gloro_is_above_the_cross_entropy_and_grows_with_eps():
    """What the check's slow loop must fulfil, whoever wrote it."""
    from lliptools.teach.checks.training import _batches, _gloro_slowly

    for logits, pairwise, _, y in _batches():
        losses = [_gloro_slowly(logits.tolist(), pairwise.tolist(), eps, y.tolist()) for eps in (0.0, 0.1, 1.0)]
        assert cross_entropy(logits, y) < losses[0] + 1e-9
        assert losses == sorted(losses)


def test_what_follows_is_not_touched():
    """A check neither draws from torch's random numbers nor changes the arguments that it compares with."""
    torch.manual_seed(7)
    before = torch.get_rng_state()

    def destroys(logits, pairwise, eps, y):
        found = proved(logits, pairwise, eps, y)
        logits.fill_(0.0)
        return found

    assert ll.check.never_nan(destroys).status == "right"
    ll.check.local_loss(local)
    assert torch.equal(torch.get_rng_state(), before)
