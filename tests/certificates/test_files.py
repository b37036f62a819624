"""Certificate files: what the library writes is proved and true, and what is not proved is refused."""

import copy
import json
import random
import subprocess
import sys
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import NETWORKS, RADII, points, random_mlp
from torch import nn
from typer.testing import CliRunner

import lliptools as ll
from lliptools import checker
from lliptools.certificates import files as certificate_files
from lliptools.certificates.files import certificate, is_network_of
from lliptools.checker import CLAIM, FORMAT, Refused, check
from lliptools.cli import app
from lliptools.nets import read_blocks

DENSE = {"relu", "clipped", "deep", "float32", "one layer", "dead layer", "theta 0"}
DENSE |= {"weights of 1e-5", "weights of 1e5"}


def numbers(text):
    """The file with Decimals for numbers."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def as_text(file):
    return certificate_files._text(file)


def is_refused(file):
    try:
        check(file if isinstance(file, str) else as_text(file))
    except Refused:
        return True
    return False


def torch_net(network):
    """The network of a file, as float64 has it."""
    layers = []
    for layer in network:
        linear = nn.Linear(len(layer["weight"][0]), len(layer["weight"])).double()
        linear.weight.data = torch.tensor([[float(w) for w in row] for row in layer["weight"]], dtype=torch.float64)
        linear.bias.data = torch.tensor([float(b) for b in layer["bias"]], dtype=torch.float64)
        layers.append(linear)
        if layer["theta"]:
            theta = [float("inf") if top is None else float(top) for top in layer["theta"]]
            layers.append(ll.nets.ClippedReLU(torch.tensor(theta, dtype=torch.float64)))
    return nn.Sequential(*layers)


def in_ball(x, eps, count=4000, seed=0):
    """Points of the ball and of its sphere: (count, features)."""
    generator = np.random.default_rng(seed)
    moves = generator.normal(size=(count, len(x)))
    moves /= np.linalg.norm(moves, axis=1, keepdims=True)
    moves[::2] *= generator.random((len(moves[::2]), 1))
    return x + eps * np.concatenate([0 * moves[:1], moves])


def array(values):
    return np.array([np.inf if value is None else float(value) for value in values])


def false_statement(file):
    """A statement of the file that points of its balls refute, in plain floats; None where none is found."""
    for point in file["points"]:
        x, eps, label = array(point["x"]), float(point["eps"]), int(point["label"])
        h = in_ball(x, eps)
        columns = np.full(len(x), True)
        for layer, step in zip(file["network"], point["hidden"], strict=False):
            W, theta = np.array([array(row) for row in layer["weight"]]), array(layer["theta"])
            z = h @ W.T + array(layer["bias"])
            size = 1e-9 * (1 + abs(z).max())
            if not (
                (array(step["lower"]) <= z.min(0) + size).all() and (z.max(0) - size <= array(step["upper"])).all()
            ):
                return "box"
            h = np.clip(z, 0, np.maximum(theta, 0))
            rows = np.array(step["varies"], dtype=bool)
            if not (np.ptp(h, axis=0)[~rows] <= size).all():
                return "varies"
            masked = W[rows][:, columns]
            if masked.size and not np.linalg.norm(masked, 2) <= float(step["norm"]) * (1 + 1e-9):
                return "norm"
            if not np.linalg.norm(h - h[0], axis=1).max() <= float(step["radius"]) * (1 + 1e-9) + size:
                return "radius"
            columns = rows
        last = file["network"][-1]
        f = h @ np.array([array(row) for row in last["weight"]]).T + array(last["bias"])
        margins = f[:, [label]] - np.delete(f, label, axis=1)
        if not (margins.min(0) >= array(point["margins"]) - 1e-9 * (1 + abs(f).max())).all():
            return "margins"
        if not (array(point["margins"]) > 0).all():
            return "margins above 0"
    return None


def exact_distance(file, k=0):
    """How far from point k of the plane a margin first falls to what the file claims, by a search of all regions."""
    point, network = file["points"][k], copy.deepcopy(file["network"])
    label = int(point["label"])
    others = [j for j in range(len(network[-1]["bias"])) if j != label]
    for j, margin in zip(others, point["margins"], strict=True):
        network[-1]["bias"][j] += margin
    x = torch.tensor([[float(v) for v in point["x"]]], dtype=torch.float64)
    within = 1.5 * float(point["eps"]) + 1e-6
    return ll.bounds.adversarial_distance(torch_net(network), x, torch.tensor([label]), within)[0].item()


# What is written is proved, and true.


@pytest.mark.parametrize("eps", RADII)
@pytest.mark.parametrize("name", sorted(DENSE))
def test_points_that_certify_are_written_and_the_checker_accepts_them(name, eps):
    net, x = NETWORKS[name](), points(NETWORKS[name]())
    y = net(x).argmax(dim=1)
    found = ll.certify(net, x, y, eps, centred=False)
    if not found.holds.any():
        with pytest.raises(ll.InvalidInput, match="none of 6"):
            certificate(net, x, y, eps)
        return
    text, held = certificate(net, x, y, eps, name)
    assert not (held & ~found.holds).any()
    assert held[found.holds & (found.worst_margin > 1e-4 * found.margin)].all()
    said = check(text).splitlines()
    assert said[0] == f"certified: {CLAIM}"
    assert repr(name) in said[1]
    assert [line.split(", eps")[0] for line in said[2:]] == [f"point {k}: label {v}" for k, v in enumerate(y[held])]
    file = numbers(text)
    margins = [float(min(point["margins"])) for point in file["points"]]
    # The margins are those of certify, as far as norms that are 1e-6 larger leave them.
    taken = (found.margin - found.worst_margin)[held]
    assert (torch.tensor(margins, dtype=torch.float64) <= found.worst_margin[held]).all()
    assert (torch.tensor(margins) >= found.worst_margin[held] * (1 - 2e-6) - 1e-5 * taken).all()
    assert false_statement(file) is None
    assert is_network_of(text, net)


def test_a_network_with_one_output_has_nothing_to_certify():
    net = nn.Sequential(nn.Linear(3, 1)).double()
    with pytest.raises(ll.InvalidInput, match="one output"):
        certificate(net, points(net), torch.zeros(6, dtype=torch.int64), 0.1)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - DENSE))
def test_other_networks_are_refused_by_name(name):
    net = NETWORKS[name]()
    with pytest.raises(ll.UnsupportedLayer, match=r"torch\.nn\.Linear"):
        certificate(net, points(net), torch.zeros(6, dtype=torch.int64), 0.1)


SHIPPED = ["digits-clipped", "digits-relu", *(f"digits-0.5-{how}" for how in ("clipped", "global", "local", "sparse"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "eps"), [*((name, 0.1) for name in SHIPPED), ("digits-0.5-standard", 0.02), ("moons", 0.1)]
)
def test_shipped_networks(name, eps):
    net = ll.nets.load(name)
    data = ll.training.moons() if name == "moons" else ll.training.digits()
    x, y = data.x_test[:2].double(), data.y_test[:2]
    text, held = certificate(net, x, y, eps, name)
    assert held.tolist() == ll.certify(net, x, y, eps, centred=False).holds.tolist()
    assert held.any()
    assert len(check(text).splitlines()) == 2 + held.sum()
    assert false_statement(numbers(text)) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["global", "clipped"])
def test_images_of_mnist_size(kind):
    net = ll.nets.load(f"mnist-mlp-0.3-{kind}")
    x = torch.rand(1, 1, 28, 28, dtype=torch.float64)
    text, held = certificate(net, x, net(x).argmax(dim=1), 1e-3)
    assert held.all()
    assert "784-128-128-10" in check(text)
    assert is_network_of(text, net)
    assert not is_network_of(text, ll.nets.load("mnist-mlp-0.3-local"))


def test_a_file_carries_every_digit_of_weights_point_and_radius():
    net = random_mlp(2, 4, 3, activation="clipped_relu", seed=3)
    with torch.no_grad():
        net[1].theta[:2] = torch.tensor([-0.1, torch.inf])
    x, eps = torch.tensor([[0.1, -1 / 3]], dtype=torch.float64), 1e-3
    file = numbers(certificate(net, x, net(x).argmax(dim=1), eps)[0])
    assert [[float(w) for w in row] for row in file["network"][0]["weight"]] == net[0].weight.tolist()
    assert file["network"][0]["weight"][0][0] == Decimal(net[0].weight[0, 0].item())
    assert file["network"][0]["theta"][:3] == [Decimal(0), None, Decimal(net[1].theta[2].item())]
    assert file["points"][0]["x"] == [Decimal(v) for v in x[0].tolist()]
    assert file["points"][0]["eps"] == Decimal(eps)


def test_a_margin_that_the_larger_norms_take_is_not_written():
    net = random_mlp(3, 8, 4, seed=5)
    x = points(net)[:1]
    y = net(x).argmax(dim=1)
    last = ll.certified_radius(net, x, y, tolerance=1e-9).item()
    assert ll.certify(net, x, y, last).holds.all()
    with pytest.raises(ll.InvalidInput, match="smaller radius"):
        certificate(net, x, y, last)
    assert certificate(net, x, y, last * (1 - 1e-5))[1].all()


def test_wrong_labels_and_ties_are_left_out():
    net = ll.nets.load("digits-relu")
    x = ll.training.digits().x_test[:2].double()
    y = net(x).argmax(dim=1)
    assert certificate(net, x, torch.stack([y[0], (y[1] + 1) % 10]), 0.01)[1].tolist() == [True, False]
    tie = nn.Sequential(nn.Linear(2, 2)).double()
    for parameter in tie.parameters():
        parameter.data.zero_()
    with pytest.raises(ll.InvalidInput, match="none of 1"):
        certificate(tie, torch.zeros(1, 2).double(), torch.tensor([0]), 0.0)


@pytest.mark.parametrize(("first", "second"), [(1e150, 1e-150), (1e-300, 1.0), (1e-320, 1.0), (1.0, 1e-321)])
def test_numbers_far_from_1(first, second):
    x = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
    net = random_mlp(3, 8, 6, 4, seed=2)
    for parameter, size in zip(net.parameters(), (first, first, second, second), strict=False):
        parameter.data *= size
    y = net(x).argmax(dim=1)
    assert ll.certify(net, x, y, 0.01).holds.all()
    assert false_statement(numbers(certificate(net, x, y, 0.01)[0])) is None


# What is forged is refused.


def small():
    """A network of the plane and a point at which units vary and are constant for each of the three reasons."""
    net = random_mlp(2, 5, 4, 3, activation="clipped_relu", seed=250)
    with torch.no_grad():
        net[0].bias.normal_()
        net[2].bias.normal_()
        net[1].theta[0] = -0.2
        net[3].theta[:] = torch.tensor([0.5, 0.3, 1.0, torch.inf])
    x = torch.tensor([[0.6, -0.4]], dtype=torch.float64)
    return net, x, net(x).argmax(dim=1)


EPS = 0.15
NET, X, Y = small()
TEXT = certificate(NET, X, Y, EPS, "small")[0]
FILE = numbers(TEXT)  # to be read only


def places(value, at=()):
    """Where the numbers, booleans and nulls of a file are."""
    if isinstance(value, dict):
        return [found for key in value for found in places(value[key], (*at, key))]
    if isinstance(value, list):
        return [found for k, each in enumerate(value) for found in places(each, (*at, k))]
    return [] if isinstance(value, str) else [at]


def changed(place, change):
    """A copy of the file with one value replaced by what change makes of it."""
    file = numbers(TEXT)
    holder = file
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = change(holder[place[-1]])
    return file


def at(place):
    """What stands there in the file."""
    value = FILE
    for key in place:
        value = value[key]
    return value


VALUES = places(FILE)
NUMBERS = [place for place in VALUES if isinstance(at(place), Decimal)]
STEP = ("points", 0, "hidden")


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


# Each kind of number and the way that makes the claim stronger or a step wrong.
WRONG = {
    "eps": (("points", 0, "eps"), lambda v: v * Decimal("1.001")),
    "eps below 0": (("points", 0, "eps"), lambda v: -v),
    "a margin": (("points", 0, "margins", 0), lambda v: v * Decimal("1.0001")),
    "another margin": (("points", 0, "margins", 1), lambda v: v * Decimal("1.0001")),
    "a margin of 0": (("points", 0, "margins", 0), lambda v: 0 * v),
    "a margin below 0": (("points", 0, "margins", 0), lambda v: -v),
    "a multiplier of 0": (("points", 0, "multipliers", 0), lambda v: 0 * v),
    "a multiplier below 0": (("points", 0, "multipliers", 0), lambda v: -v),
    "a label": (("points", 0, "label"), lambda v: (v + 1) % 3),
    "a label out of range": (("points", 0, "label"), lambda v: Decimal(3)),
    "a label from behind": (("points", 0, "label"), lambda v: v - 3),
    "half a label": (("points", 0, "label"), lambda v: v + Decimal("0.5")),
    "the point": (("points", 0, "x", 0), lambda v: v + Decimal("0.01")),
    "a bias": (("network", 0, "bias", 1), lambda v: v + Decimal("0.01")),
    "a weight": (("network", 0, "weight", 1, 1), lambda v: v + Decimal("0.01")),
}
for layer in (0, 1):
    WRONG |= {
        f"norm {layer}": ((*STEP, layer, "norm"), lambda v: v * Decimal("0.99999")),
        f"norm {layer} below 0": ((*STEP, layer, "norm"), lambda v: -v),
        f"radius {layer}": ((*STEP, layer, "radius"), lambda v: v * (1 - Decimal("1e-12"))),
        f"radius {layer} below 0": ((*STEP, layer, "radius"), lambda v: -v),
    }


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


# What is no certificate file is refused, never a traceback.


def test_texts_that_are_no_certificates():
    deep = "[" * 100_000 + "]" * 100_000
    for text in (
        "",
        "{}",
        "[]",
        "null",
        "1",
        "NaN",
        deep,
        TEXT[:-3],
        TEXT + "x",
        TEXT.replace("}", "", 1),
        "\ufeff" + TEXT,
    ):
        with pytest.raises(Refused):
            check(text)


@pytest.mark.parametrize("key", ["format", "claim", "name", "network", "points"])
def test_keys_are_all_there_once_and_no_others(key):
    assert is_refused({other: value for other, value in numbers(TEXT).items() if other != key})
    assert is_refused(numbers(TEXT) | {"more": Decimal(1)})
    assert is_refused(numbers(TEXT) | {key: Decimal(1)})
    assert is_refused(numbers(TEXT) | {key: "lliptools certificate 2"}) == (key != "name")
    with pytest.raises(Refused, match="repeated"):
        check(TEXT.replace(f'"{key}":', f'"{key}": "", "{key}":', 1))


def test_a_key_is_not_repeated_further_in():
    for key in ("eps", "norm", "weight", "margins"):
        with pytest.raises(Refused, match="repeated"):
            check(TEXT.replace(f'"{key}":', f'"{key}": 0, "{key}":', 1))


def test_a_record_has_its_keys_only():
    for place in (("network", 0), ("network", 2), ("points", 0), (*STEP, 0), (*STEP, 1)):
        assert is_refused(changed(place, lambda record: record | {"more": Decimal(1)}))
        for key in at(place):
            assert is_refused(changed(place, lambda record, key=key: {k: v for k, v in record.items() if k != key}))


def test_lists_have_their_lengths():
    lists = [("network",), ("network", 0, "weight"), ("network", 1, "weight", 2), ("network", 2, "bias"), (*STEP,)]
    lists += [("network", 0, "theta"), ("network", 2, "theta"), ("points", 0, "x"), (*STEP, 0, "factor")]
    lists += [(*STEP, 0, "factor", 1), (*STEP, 1, "factor", 0)]
    lists += [("points", 0, "margins"), ("points", 0, "multipliers")]
    lists += [(*STEP, 1, name) for name in ("lower", "upper", "varies")]
    for place in lists:
        assert is_refused(changed(place, lambda values: [*values, values[-1] if values else Decimal(1)])), place
        assert is_refused(changed(place, lambda values: values[:-1] or [None])), place
        assert is_refused(changed(place, lambda values: []) if place != ("network", 2, "theta") else "")
    assert is_refused(changed(("points",), lambda values: []))


@pytest.mark.parametrize(
    "other", ['"1"', "true", "null", "[]", "{}", "NaN", "Infinity", "-Infinity", "1e999999999999999999999"]
)
def test_what_is_not_a_number(other):
    for place in VALUES:
        if (other == "true" and isinstance(at(place), bool)) or (other == "null" and "theta" in place):
            continue
        forged = as_text(changed(place, lambda v: "here")).replace('"here"', other)
        assert is_refused(forged), place


def test_masks_are_true_or_false():
    for j, varies in enumerate(numbers(TEXT)["points"][0]["hidden"][0]["varies"]):
        for other in (Decimal(int(varies)), str(varies), None, "true"):
            assert is_refused(changed((*STEP, 0, "varies", j), lambda v, other=other: other))


def test_numbers_too_long_for_exact_arithmetic_are_refused_at_once():
    for text in ("1" * 100_000, "1e-5000000", "1e5000000", "0." + "1" * 50_000, "1e-999999999999999999"):
        for place in (("network", 0, "weight", 0, 0), ("points", 0, "eps"), (*STEP, 0, "norm"), ("points", 0, "x", 0)):
            assert is_refused(as_text(changed(place, lambda v: "here")).replace('"here"', text))
    label = as_text(changed(("points", 0, "label"), lambda v: "here"))
    assert is_refused(label.replace('"here"', "9" * 10_000))
    assert is_refused(label.replace('"here"', "1e999999999"))


def test_one_class_or_no_units():
    assert is_refused(as_text({"format": FORMAT, "claim": CLAIM, "name": "", "network": [], "points": [{}]}))
    one = [{"weight": [[Decimal(1)]], "bias": [Decimal(0)], "theta": []}]
    point = {"x": [Decimal(0)], "label": Decimal(0), "eps": Decimal(1), "hidden": [], "margins": [], "multipliers": []}
    file = {"format": FORMAT, "claim": CLAIM, "name": "", "network": one, "points": [point]}
    with pytest.raises(Refused, match="classes"):
        check(as_text(file))
    two = [{"weight": [[Decimal(0)], [Decimal(0)]], "bias": [Decimal(1), Decimal(0)], "theta": []}]
    good = point | {"margins": [Decimal(1) / 2], "multipliers": [Decimal(2)]}
    assert not is_refused(file | {"network": two, "points": [good]})
    assert is_refused(file | {"network": [two[0] | {"weight": [[], []]}], "points": [good | {"x": []}]})


def test_a_name_cannot_pass_for_a_line_of_the_answer():
    file = numbers(TEXT) | {"name": "x\ncertified: everything \x1b[2J" + "x" * 500}
    said = check(as_text(file)).splitlines()
    assert len(said) == 3
    assert len(said[1]) < 150
    assert "\x1b" not in said[1]


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
    point = certificate_files._points(net, read_blocks(net, x.shape[1:]), x, y, eps)[0]
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


# The checker stands alone, and the commands say what they found.


def test_the_checker_is_short_and_needs_nothing_but_python(tmp_path):
    source = Path(checker.__file__)
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 150
    (tmp_path / "checker.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "c.json").write_text(TEXT, encoding="utf-8")
    (tmp_path / "forged.json").write_text(as_text(changed(*WRONG["eps"])), encoding="utf-8")
    command = [sys.executable, "-I", "-S", "checker.py"]
    done = subprocess.run([*command, "c.json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("certified: ")
    done = subprocess.run([*command, "forged.json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Refused: point 0: unit 0: lower" in done.stderr
    assert not done.stdout


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def digits(tmp_path):
    """Three test points and their labels, of which the last is wrong."""
    data = ll.training.digits()
    np.save(tmp_path / "x.npy", data.x_test[:3].double().numpy())
    np.save(tmp_path / "y.npy", ((data.y_test[:3] + torch.tensor([0, 0, 1])) % 10).numpy())
    return tmp_path


@pytest.mark.slow
def test_certify_then_check(digits):
    to = digits / "new" / "c.json"
    options = ("--input", digits / "x.npy", "--eps", 0.1, "--labels", digits / "y.npy")
    done = run("certify", "digits-clipped", *options, "--certificate", to)
    assert done.exit_code == 0, done.output
    assert "of 3 points 2 by local" in done.stdout
    assert f"2 of 2 certified points are in {to}" in done.stdout
    done = run("check", to)
    assert done.exit_code == 0, done.output
    assert done.stdout == check(to.read_text()) + "\n"
    assert len(done.stdout.splitlines()) == 4
    assert run("check", to, "--model", "digits-clipped").exit_code == 0
    other = run("check", to, "--model", "digits-0.5-clipped")
    assert other.exit_code == 1
    assert "refused: the network in the file is not digits-0.5-clipped" in other.stderr
    assert not other.stdout
    assert run("check", to, "--model", "digits-conv").exit_code == 2
    file = numbers(to.read_text())
    file["points"][0]["hidden"][0]["norm"] *= Decimal("0.999")
    to.write_text(as_text(file))
    forged = run("check", to)
    assert forged.exit_code == 1
    assert forged.stderr == "refused: point 0: norm\n"
    assert run("check", digits / "none.json").exit_code == 2
    to.write_bytes(b"\xff\xfe\x00")
    assert run("check", to).exit_code == 1


def test_certify_without_a_file_and_where_nothing_can_be_written(digits):
    options = ("--input", digits / "x.npy", "--eps", 0.05)
    done = run("certify", "sll-digits", *options)
    assert done.exit_code == 0, done.output
    assert "of 3 points 3 by local" in done.stdout
    to = digits / "c.json"
    done = run("certify", "sll-digits", *options, "--certificate", to)
    assert done.exit_code == 2
    assert "UnsupportedLayer" in done.stderr
    done = run("certify", "digits-clipped", "--input", digits / "x.npy", "--eps", 50, "--certificate", to)
    assert done.exit_code == 2
    assert "none of 3" in done.stderr
    assert not to.exists()
    done = run("certify", "digits-clipped", *options, "--certificate", digits)
    assert done.exit_code == 2
    assert "a folder in its place" in done.stderr
