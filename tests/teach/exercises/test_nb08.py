"""The exercises of notebook 08: a bound among the others, and the capstone with its unseen networks."""

from contextlib import suppress
from time import sleep

import pytest
import torch

import lliptools as ll
from lliptools.teach.exercises.nb08 import _grid
from lliptools.teach.exercises.unseen import POINTS, unseen_networks

frobenius, FROBENIUS = ll.check.new_bound.reference


def frobenius_by_loop(net, x, eps):
    found = []
    for point in x:
        value, columns = 1.0, torch.ones_like(point)
        for block in ll.local_bound(net, point[None], eps).blocks:
            matrix = block.row_slope[0][:, None] * block.linear.weight.detach() * columns
            value *= sum(float(entry) ** 2 for entry in matrix.flatten()) ** 0.5
            columns = block.slope[0]
        found.append(value)
    return found


def at_radius_0(net, x, eps):
    return ll.local_bound(net, x, 0.0).value


@pytest.mark.parametrize(
    ("function", "claims"),
    [
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
    assert (outcome.status, outcome.message) == ("right", "on 27 cases"), outcome


@pytest.mark.parametrize(
    ("function", "claims", "said"),
    [
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


def test_the_grid_contains_what_is_known():
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


def by_halving(net, x, y):
    """A bisection of one's own, on the certificate alone."""
    low, high = torch.zeros(len(x), dtype=torch.float64), torch.full((len(x),), 4.0, dtype=torch.float64)
    for _ in range(12):
        middle = (low + high) / 2
        holds = ll.certify(net, x, y, middle).holds
        low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
    return low.tolist()


@pytest.mark.slow
def test_capstone_right():
    outcome = ll.check.capstone(by_halving, seconds=600)
    assert outcome.status == "right", outcome
    assert 0.5 < outcome.score <= 1
    assert len(outcome.message.splitlines()) == 1 + 5  # a line a network
    assert 0 < outcome.seconds < 600


@pytest.mark.slow
def test_capstone_on_other_networks():
    by_radius_0, seed = ll.check.capstone.wrong[0][0], 123456789
    right = ll.check.capstone(lambda net, x, y: ll.certified_radius(net, x, y), seed=seed, seconds=600)
    assert right.status == "right"
    assert "has caught up" in ll.check.capstone(by_radius_0, seed=seed, seconds=600).message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda net, x, y: 1.01 * unseen_of(net).distance, "refuted on 'two classes in the plane'"),
        (lambda net, x, y: torch.full((len(x),), torch.nan), "not finite"),
        (lambda net, x, y: torch.full((len(x),), torch.inf), "not finite"),
        (lambda net, x, y: torch.full((len(x),), -1.0), "the radius of point 0 is negative"),
        (lambda net, x, y: torch.zeros(len(x), 1), f"numbers of shape ({POINTS},)"),
        (lambda net, x, y: "far", f"numbers of shape ({POINTS},)"),
        (lambda net, x, y: net(x[:, :1]), "your function raised RuntimeError"),
    ],
)
def test_capstone_wrong(answer, said):
    outcome = ll.check.capstone(answer, seconds=600)
    assert outcome.status == "wrong"
    assert outcome.score == 0
    assert said in outcome.message, outcome


def unseen_of(net):
    """The unseen network with these weights."""
    return next(
        unseen
        for unseen in unseen_networks(0)
        if all(torch.equal(a, b) for a, b in zip(unseen.net.parameters(), net.parameters(), strict=False))
        and len(unseen.net) == len(net)
    )


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
    slept = []

    def sleeps(*_):
        sleep(60)
        slept.append("to the end")

    assert "out of time" in ll.check.capstone(sleeps, seconds=0.2).message

    def catches_everything(net, x, y):
        for _ in range(100):
            with suppress(Exception):
                sleep(0.05)
        return torch.zeros(len(x))

    assert "out of time" in ll.check.capstone(catches_everything, seconds=0.3).message
    assert not slept


def test_adversarial_points_are_adversarial():
    for unseen in unseen_networks(0):
        logits = unseen.net(unseen.adversarial)
        lost = gaps(unseen.net, unseen.adversarial, unseen.y).amin(dim=1) <= 0
        assert lost.all(), (unseen.name, logits)
        assert torch.allclose((unseen.adversarial - unseen.x).norm(dim=1), unseen.distance)
        assert int((unseen.distance == 0).sum()) == 1
        assert unseen.distance.isfinite().all()


@pytest.mark.slow
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
