"""The checks of notebook 08: a bound among the others, and the capstone with its unseen networks."""

from contextlib import suppress
from time import perf_counter, sleep

import pytest
import torch

import lliptools as ll
from lliptools.teach.checks.lattice import _grid
from lliptools.teach.checks.unseen import POINTS, unseen_networks

FROBENIUS = {"exact": "above", "local": "above", "global": "incomparable"}


def masked(net, x, eps):
    """The struck matrices of the local bound, block by block: (batch, rows, columns)."""
    columns = torch.ones_like(x)
    for block in ll.local_bound(net, x, eps).blocks:
        yield block.row_slope[:, :, None] * block.linear.weight.detach() * columns[:, None, :]
        columns = block.slope


def frobenius(net, x, eps):
    value = torch.ones(len(x), dtype=torch.float64)
    for matrix in masked(net, x, eps):
        value = value * matrix.flatten(1).norm(dim=1)
    return value


def frobenius_by_loop(net, x, eps):
    found = []
    for point in x:
        value = 1.0
        for matrix in masked(net, point[None], eps):
            value *= sum(float(entry) ** 2 for entry in matrix.flatten()) ** 0.5
        found.append(value)
    return found


def two_power_steps(net, x, eps):
    """A product of estimates that converge from below."""
    value = torch.ones(len(x), dtype=torch.float64)
    for matrix in masked(net, x, eps):
        v = torch.ones(len(x), matrix.shape[2], 1, dtype=torch.float64)
        for _ in range(2):
            v = matrix.mT @ (matrix @ v)
            v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-300)
        value = value * (matrix @ v).flatten(1).norm(dim=1)
    return value


def at_radius_0(net, x, eps):
    return ll.local_bound(net, x, 0.0).value


@pytest.mark.parametrize(
    ("function", "claims"),
    [
        (frobenius, FROBENIUS),
        (frobenius_by_loop, FROBENIUS),
        (ll.local_bound, {"exact": "above", "local": "above", "global": "below"}),
        (ll.local_bound, {"exact": "above", "local": "below", "global": "below"}),
        (ll.bounds.merged_bound, {"exact": "above", "local": "incomparable", "global": "incomparable"}),
        (ll.local_bound, {"exact": "above", "local": "above", "global": "below", "merged": "incomparable"}),
        (at_radius_0, {"exact": "incomparable", "local": "below", "global": "below"}),
        (lambda net, x, eps: 0 * x[:, 0], {"exact": "below", "local": "below", "global": "below"}),
    ],
)
def test_placed(function, claims):
    outcome = ll.check.new_bound(function, claims)
    assert outcome.status == "right", outcome


@pytest.mark.parametrize(
    ("function", "claims", "said"),
    [
        (frobenius, {**FROBENIUS, "local": "below"}, "'below local' is refuted. On"),
        (frobenius, {**FROBENIUS, "global": "above"}, "'above global' is refuted. On the network 1-2-1"),
        (frobenius, {**FROBENIUS, "global": "below"}, "'below global' is refuted"),
        (frobenius, {**FROBENIUS, "exact": "incomparable"}, "'above' is not refuted there"),
        (two_power_steps, {"exact": "above", "local": "below", "global": "below"}, "'above exact' is refuted"),
        (at_radius_0, {"exact": "above", "local": "below", "global": "below"}, "'above exact' is refuted"),
        (ll.bounds.merged_bound, {"exact": "above", "local": "below", "global": "below"}, "'below local' is refuted"),
        (lambda net, x, eps: frobenius(net, x, eps) * torch.nan, FROBENIUS, "not finite"),
        (lambda net, x, eps: frobenius(net, x, eps).max(), FROBENIUS, "numbers of shape (3,)"),
        (lambda net, x, eps: net(x[:, :0]), FROBENIUS, "your function raised RuntimeError"),
        (frobenius, {**FROBENIUS, "local": "larger"}, "a claim is one of above, below, incomparable"),
        (frobenius, {**FROBENIUS, "lokal": "above"}, "keys of exact, local, global"),
        (frobenius, ["above"], "expected as a dictionary"),
    ],
)
def test_misplaced(function, claims, said):
    outcome = ll.check.new_bound(function, claims)
    assert outcome.status == "wrong"
    assert said in outcome.message, outcome
    assert "ll.check.new_bound.hint()" in outcome.message


@pytest.mark.parametrize(
    ("function", "claims"),
    [
        (frobenius, None),
        (frobenius, {"exact": "above"}),
        (frobenius, {**FROBENIUS, "local": None}),
        (lambda *_: None, FROBENIUS),
        (lambda *_: ..., FROBENIUS),
    ],
)
def test_place_not_attempted(function, claims):
    assert ll.check.new_bound(function, claims).status == "not attempted"


def test_the_grid_holds_what_is_known():
    for place in _grid():
        assert (place.values["local"] <= place.values["global"] * (1 + 1e-9)).all()
        for name in ("local", "merged"):
            assert (place.values["exact"] <= place.values[name] * (1 + 1e-9)).all()
    fold = _grid()[0]
    assert fold.values["global"].tolist() == pytest.approx([2.0] * 3)
    assert fold.values["exact"].tolist() == pytest.approx([1.0] * 3)


def gaps(net, x, y):
    """f_y − f_j, inf for j = y."""
    logits = net(x)
    return (logits.gather(1, y[:, None]) - logits).scatter(1, y[:, None], torch.inf)


def radius_by(lipschitz):
    """min_j margin_j / Lip_j, and 0 where the margin is not positive."""

    def radii(net, x, y):
        quotient = gaps(net, x, y) / lipschitz(net, x, y).clamp_min(1e-12)
        return quotient.amin(dim=1).clamp(0.0, 50.0)

    return radii


def by_library(net, x, y):
    return ll.certified_radius(net, x, y)


def by_halving(net, x, y):
    """A bisection of one's own, on the certificate alone."""
    low, high = torch.zeros(len(x), dtype=torch.float64), torch.full((len(x),), 4.0, dtype=torch.float64)
    for _ in range(12):
        middle = (low + high) / 2
        holds = ll.certify(net, x, y, middle).holds
        low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
    return low.tolist()


by_global = radius_by(lambda net, x, y: ll.global_bound(net, x).pairwise(y))
by_radius_0 = radius_by(lambda net, x, y: ll.local_bound(net, x, 0.0).pairwise(y))
# The ball is the one that the global bound proves; the radius that its local bound would allow is another.
global_radius_in_the_wrong_place = radius_by(lambda net, x, y: ll.local_bound(net, x, by_global(net, x, y)).pairwise(y))
without_root_of_2 = radius_by(lambda net, x, y: ll.global_bound(net, x).value[:, None])


def by_two_power_steps(net, x, y):
    """√2 times the product of norms from below."""
    norm = 1.0
    for layer in net:
        if isinstance(layer, torch.nn.Linear):
            v = torch.ones(layer.in_features, dtype=torch.float64)
            for _ in range(2):
                v = torch.nn.functional.normalize(layer.weight.T @ (layer.weight @ v), dim=0)
            norm *= float((layer.weight @ v).norm())
    return (gaps(net, x, y).amin(dim=1) / (2**0.5 * norm)).clamp_min(0.0)


def by_attack(net, x, y):
    """The largest radius at which an attack finds nothing, and a fifth less for safety."""
    safe = torch.zeros(len(x), dtype=torch.float64)
    for eps in torch.linspace(0.05, 1.5, 12).tolist():
        points = ll.attacks.pgd(net, x, y, eps, steps=20, restarts=1)
        safe = torch.where((gaps(net, points, y).amin(dim=1) > 0) & (safe >= eps - 0.14), eps, safe)
    return 0.8 * safe


def of_misclassified_too(net, x, y):
    logits = net(x)
    return ll.certified_radius(net, x, logits.argmax(dim=1), bound=ll.global_bound)


@pytest.mark.parametrize("answer", [by_library, by_halving])
def test_capstone_right(answer):
    outcome = ll.check.capstone(answer, seconds=600)
    assert outcome.status == "right", outcome
    assert 0.5 < outcome.score <= 1
    assert len(outcome.message.splitlines()) == 1 + 5  # a line a network
    assert 0 < outcome.seconds < 600


@pytest.mark.parametrize("seed", [1, 123456789])
def test_capstone_on_other_networks(seed):
    assert ll.check.capstone.seeded
    assert ll.check.capstone(by_library, seed=seed, seconds=600).status == "right"
    assert "has caught up" in ll.check.capstone(by_radius_0, seed=seed, seconds=600).message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (by_radius_0, "has caught up"),
        (global_radius_in_the_wrong_place, "has caught up"),
        (without_root_of_2, "refuted on '8×8 pictures of two classes'"),
        (by_two_power_steps, "has caught up"),
        (by_attack, "has caught up"),
        (of_misclassified_too, "at distance 0 from it"),
        (lambda net, x, y: 1.01 * unseen_of(net).distance, "refuted on 'two classes in the plane'"),
        (lambda net, x, y: torch.full((len(x),), torch.nan), "not finite"),
        (lambda net, x, y: torch.full((len(x),), torch.inf), "not finite"),
        (lambda net, x, y: torch.full((len(x),), -1.0), "the radius of point 0 is negative"),
        (lambda net, x, y: torch.zeros(len(x), 1), f"numbers of shape ({POINTS},)"),
        (lambda net, x, y: "far", f"numbers of shape ({POINTS},)"),
        (lambda net, x, y: net(x[:, :1]), "your function raised RuntimeError"),
        (lambda net, x, y: torch.zeros(len(x)), "below"),
    ],
)
def test_capstone_wrong(answer, said):
    outcome = ll.check.capstone(answer, seconds=600)
    assert outcome.status == "wrong"
    assert outcome.score == 0
    assert said in outcome.message, outcome
    assert "ll.check.capstone.hint()" in outcome.message


def unseen_of(net):
    """The unseen network with these weights."""
    return next(
        unseen
        for unseen in unseen_networks(0)
        if all(torch.equal(a, b) for a, b in zip(unseen.net.parameters(), net.parameters(), strict=False))
        and len(unseen.net) == len(net)
    )


@pytest.mark.parametrize("answer", [lambda *_: None, lambda *_: ...])
def test_capstone_not_attempted(answer):
    outcome = ll.check.capstone(answer)
    assert outcome.status == "not attempted"
    assert outcome.message.startswith("fill in the function")


def test_the_truth_itself_is_not_refuted():
    """Exact distances are the most that can be claimed: score 1, with no room for rounding."""
    outcome = ll.check.capstone(lambda net, x, y: unseen_of(net).distance)
    assert outcome.status == "right"
    assert outcome.score == pytest.approx(1.0)


def test_what_the_answer_changes_is_not_what_is_checked():
    def zeroes_the_network(net, x, y):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.zero_()
        x.zero_()
        return torch.ones(len(x))

    assert "has caught up" in ll.check.capstone(zeroes_the_network).message


def test_time_is_up():
    start = perf_counter()
    assert "out of time" in ll.check.capstone(lambda *_: sleep(60), seconds=0.2).message

    def catches_everything(net, x, y):
        for _ in range(100):
            with suppress(Exception):
                sleep(0.05)
        return torch.zeros(len(x))

    assert "out of time" in ll.check.capstone(catches_everything, seconds=0.3).message
    assert perf_counter() - start < 30


def test_adversarial_points_are_adversarial():
    for unseen in unseen_networks(0):
        logits = unseen.net(unseen.adversarial)
        lost = gaps(unseen.net, unseen.adversarial, unseen.y).amin(dim=1) <= 0
        assert lost.all(), (unseen.name, logits)
        assert torch.allclose((unseen.adversarial - unseen.x).norm(dim=1), unseen.distance)
        assert int((unseen.distance == 0).sum()) == 1
        assert unseen.distance.isfinite().all()


def test_a_seed_makes_the_same_networks_and_another_seed_others():
    first = unseen_networks(0)
    unseen_networks.cache_clear()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    again, other = unseen_networks(0), unseen_networks(1)
    assert torch.equal(torch.get_rng_state(), before)
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one.x, same.x)
        assert torch.equal(one.distance, same.distance)
        assert not torch.equal(one.x, different.x)
