"""Certificate files of which a number was changed: what is not proved is refused."""

import copy
import random
from decimal import Decimal, localcontext

import pytest
import torch
from file_checks import as_text, exact_distance, false_statement, is_refused, numbers
from networks import random_mlp
from small_file import EPS, FILE, NET, NUMBERS, STEP, TEXT, VALUES, WRONG, X, Y, changed
from torch import nn

import lliptools as ll
from lliptools import checker
from lliptools.certificates import files as certificate_files
from lliptools.certificates.files import certificate, is_network_of
from lliptools.checker import CLAIM, FORMAT, Refused, check
from lliptools.nets import read_blocks


def clipped_at(low, high):
    """A network whose label at .5 is 1 where high is .1, and 0 where it is a little larger."""
    first, last = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 2).double()
    first.weight.data.fill_(1.0)
    last.weight.data = torch.tensor([[1e10], [0.0]], dtype=torch.float64)
    last.bias.data = torch.tensor([-1e9 - 10.0, 0.0], dtype=torch.float64)
    return nn.Sequential(first, nn.Hardtanh(low, high), last)


def test_thresholds_are_those_of_the_network_to_the_last_digit():
    x, net, other = torch.tensor([[0.5]]).double(), clipped_at(0.0, 0.1), clipped_at(0.0, 0.1 + 1.5e-9)
    assert net(x).argmax() == 1
    for high in (0.1 + 1.5e-9, torch.tensor(0.1).item()):
        text, _ = certificate(clipped_at(0.0, high), x, torch.tensor([0]), 0.1)
        assert not is_network_of(text, net)
    assert is_network_of(certificate(other, x, torch.tensor([0]), 0.1)[0], other)
    with pytest.raises(ll.UnsupportedLayer, match="Hardtanh"):
        certificate(clipped_at(1e-50, 1.0), x, torch.tensor([0]), 0.1)


def test_the_small_file_has_all_cases():
    file = numbers(TEXT)
    reasons = set()
    for layer, step in zip(file["network"], file["points"][0]["hidden"], strict=False):
        for theta, upper, varies in zip(layer["theta"], step["upper"], step["varies"], strict=True):
            reasons |= {"varies"} if varies else set()
            if not varies:
                reasons.add("off" if upper <= 0 else "theta" if theta <= 0 else "at theta")
    assert reasons == {"varies", "off", "theta", "at theta"}
    assert false_statement(file) is None
    assert exact_distance(file) >= EPS


@pytest.mark.parametrize("what", WRONG)
def test_a_number_moved_the_wrong_way_is_refused(what):
    assert is_refused(changed(*WRONG[what])), what


@pytest.mark.parametrize("layer", [0, 1])
def test_every_box_moved_inward_and_every_flipped_mask_is_refused(layer):
    for j, varies in enumerate(numbers(TEXT)["points"][0]["hidden"][layer]["varies"]):
        for name, way in (("lower", 1), ("upper", -1)):
            with pytest.raises(Refused, match=f"unit {j}: {name}"):
                check(as_text(changed((*STEP, layer, name, j), lambda v, way=way: v + way * Decimal("1e-5"))))
        with pytest.raises(Refused, match=f"unit {j}: varies" if varies else "norm|factor"):
            check(as_text(changed((*STEP, layer, "varies", j), lambda v: not v)))


@pytest.mark.parametrize("layer", [0, 1])
def test_every_entry_of_a_factor_is_needed(layer):
    factor = numbers(TEXT)["points"][0]["hidden"][layer]["factor"]
    norm = numbers(TEXT)["points"][0]["hidden"][layer]["norm"]
    assert len(factor) > 1
    for i, row in enumerate(factor):
        for j in range(len(row)):
            with pytest.raises(Refused, match="norm"):
                check(as_text(changed((*STEP, layer, "factor", i, j), lambda v: v + norm / 10)))


MOVES = {
    "a little up": lambda v: v + abs(v) / 1000,
    "a little down": lambda v: v - abs(v) / 1000,
    "up": lambda v: v + Decimal("0.1"),
    "down": lambda v: v - Decimal("0.1"),
    "twice": lambda v: 2 * v,
    "half": lambda v: v / 2,
    "negative": lambda v: -v,
    "0": lambda v: Decimal(0),
    "one more": lambda v: v + 1,
    "huge": lambda v: v * 10**9,
    "tiny": lambda v: v / 10**9,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["network", "x", "label", "eps", "hidden", "margins", "multipliers"])
def test_what_is_accepted_of_any_moved_number_is_still_true(kind):
    """Every number of the file, each way: what passes is held against points of the ball and the exact distance."""
    tried = accepted = 0
    for place in NUMBERS:
        for move in MOVES.values() if kind in place[:3] else ():
            file = changed(place, move)
            if file == FILE:
                continue
            tried += 1
            if not is_refused(file):
                accepted += 1
                assert false_statement(file) is None, place
                assert exact_distance(file) >= float(file["points"][0]["eps"]) * (1 - 1e-9), place
    assert 0 <= accepted < tried


def test_a_box_beyond_a_unit_that_cannot_move_is_refused():
    """The ball moves such a unit by 0, and 0 >= 0 must not admit an end on the wrong side of its value."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    net[0].weight.data, net[0].bias.data = torch.zeros(2, 2).double(), torch.tensor([1.0, 2.0]).double()
    net[2].weight.data, net[2].bias.data = torch.eye(2).double(), torch.tensor([0.0, 0.0]).double()
    file = numbers(certificate(net, torch.zeros(1, 2).double(), torch.tensor([1]), 0.5)[0])
    for name, j, value in (("upper", 0, "0"), ("lower", 1, "3")):
        forged = copy.deepcopy(file)
        forged["points"][0]["hidden"][0][name][j] = Decimal(value)
        assert is_refused(forged)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("rows", [[[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 0.0]]])
def test_every_row_of_the_rest_has_to_be_dominant(rows, sign):
    """Without a factor the rest is norm² I − M Mᵀ. At norm² = 2 its row (2 − 1, −1) is dominant, (2 − 2, −1) is not."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    net[0].weight.data = torch.tensor(rows).double() * torch.tensor([[1.0], [sign]])
    net[0].bias.data = torch.tensor([5.0, 5.0]).double()
    net[2].weight.data, net[2].bias.data = torch.eye(2).double(), torch.tensor([9.0, 0.0]).double()
    file = numbers(certificate(net, torch.zeros(1, 2).double(), torch.tensor([0]), 0.5)[0])
    step = file["points"][0]["hidden"][0]
    assert step["varies"] == [True, True]
    file["points"][0]["margins"] = [Decimal(1)]
    step["factor"] = [[Decimal(0)], [Decimal(0), Decimal(0)]]
    step["norm"] = Decimal("1.41422")
    with pytest.raises(Refused, match="norm"):
        check(as_text(file))
    step["norm"], step["radius"] = Decimal("1.73206"), Decimal("0.86603")
    assert not is_refused(file)


@pytest.mark.parametrize("eps", [0.0, EPS])
@pytest.mark.parametrize("multiplier", ["0", "-1e-9", "-0.1", "-1", "-10", "-1e9"])
def test_no_multiplier_proves_a_wrong_label(eps, multiplier):
    file = numbers(certificate(NET, X, Y, eps)[0])
    point = file["points"][0]
    for label in {0, 1, 2} - {Y.item()}:
        wrong = {"label": Decimal(label), "multipliers": [Decimal(multiplier)] * 2, "margins": [Decimal("1e-9")] * 2}
        assert is_refused(file | {"points": [point | wrong]})


@pytest.mark.parametrize("multiplier", ["1e-12", "1e-6", "1e-3", "1", "1e3", "1e12"])
def test_no_multiplier_proves_the_margin_at_the_point_on_the_ball(multiplier):
    file = numbers(TEXT)
    logits = NET(X)[0]
    others = [j for j in range(3) if j != Y.item()]
    file["points"][0]["multipliers"] = [Decimal(multiplier)] * 2
    file["points"][0]["margins"] = [Decimal((logits[Y] - logits[j]).item()) * Decimal("0.999") for j in others]
    with pytest.raises(Refused, match="margin"):
        check(as_text(file))


def test_a_threshold_below_0_is_one_of_0():
    """By hand: the hidden unit is 0 everywhere, not -1, so that class 0 wins by 1/2 and not by 3/2."""
    zero, one, half = Decimal(0), Decimal(1), Decimal("0.5")
    hidden = {"weight": [[zero]], "bias": [Decimal(5)], "theta": [-one]}
    last = {"weight": [[-one], [zero]], "bias": [half, zero], "theta": []}
    step = {"lower": [Decimal(5)], "upper": [Decimal(5)], "varies": [False], "norm": zero, "factor": [], "radius": zero}
    point = {"x": [zero], "label": zero, "eps": one, "hidden": [step], "margins": [half], "multipliers": [one]}
    file = {"format": FORMAT, "claim": CLAIM, "name": "", "network": [hidden, last], "points": [point]}
    assert not is_refused(file)
    assert is_refused(file | {"points": [point | {"margins": [Decimal("1.4")]}]})


def test_the_network_in_a_file_is_compared_number_by_number():
    for place in VALUES:
        if place[0] == "network":
            with localcontext(checker.EXACT):
                forged = changed(place, lambda v: Decimal(3) if v is None else v + Decimal("1e-60"))
            assert not is_network_of(as_text(forged), NET)
    assert is_network_of(TEXT, NET)


# A false claim has no proof.


class Counted(Exception):
    """How many conditions a forged file has met before it was refused."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_no_search_for_a_proof_beyond_the_exact_distance_succeeds(seed, monkeypatch):
    """A forger starts from the library's own numbers at a radius that is too large, and keeps what gets further."""
    met = 0

    def need(holds, what):
        nonlocal met
        if not holds:
            raise Refused(what)
        met += 1

    monkeypatch.setattr(checker, "_need", need)
    kind = "clipped_relu" if seed % 2 else "relu"
    net = random_mlp(2, 4, 4, 2, activation=kind, seed=100 + seed)
    x = torch.randn(50, 2, dtype=torch.float64)
    net[-1].bias.data -= net(x).mean(dim=0).detach()
    y = net(x).argmax(dim=1)
    distance = ll.bounds.adversarial_distance(net, x, y, 100.0)[0]
    first = distance.isfinite().nonzero()[0]
    x, y, eps = x[first], y[first], 1.01 * distance[first].item()
    file = {
        "format": FORMAT,
        "claim": CLAIM,
        "name": "",
        "network": certificate_files._network(read_blocks(net, x.shape[1:])),
    }
    point = certificate_files._points(net, read_blocks(net, x.shape[1:]), x, y, torch.tensor([eps]).double())[0]
    point["margins"] = [Decimal("1e-9")]
    choose = random.Random(seed)

    def steps(file):
        nonlocal met
        met = 0
        try:
            check(as_text(file))
        except Refused:
            return met
        return None

    best = steps(file | {"points": [point]})
    assert best is not None
    for _ in range(1500):
        forged = copy.deepcopy(point)
        for _ in range(choose.choice([1, 1, 2, 4])):
            step = choose.choice(forged["hidden"])
            factor = Decimal(choose.choice(["0.5", "0.9", "0.99", "1.01", "1.1", "2", "0", "-1"]))
            name = choose.choice(["lower", "upper", "varies", "norm", "radius", "factor", "multipliers"])
            if name == "varies":
                j = choose.randrange(len(step["varies"]))
                step["varies"][j] = not step["varies"][j]
                size = min(sum(step["varies"]), 4)
                step["factor"] = [[Decimal(0)] * k + [step["norm"]] for k in range(size)]
            elif name in {"norm", "radius"}:
                step[name] *= factor
            elif name == "multipliers":
                forged[name][0] *= factor
            else:
                values = choose.choice(step["factor"] or [[Decimal(0)]]) if name == "factor" else step[name]
                j = choose.randrange(len(values))
                values[j] *= factor
        found = steps(file | {"points": [forged]})
        assert found is not None, "a false certificate"
        if found >= best:
            best, point = found, forged
