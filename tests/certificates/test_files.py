"""Certificate files: what the library writes is proved and true."""

from decimal import Decimal

import numpy as np
import pytest
import torch
from file_checks import false_statement, numbers
from networks import NETWORKS, RADII, points, random_mlp
from torch import nn

import lliptools as ll
from lliptools.certificates.files import certificate, is_network_of
from lliptools.checker import CLAIM, check

DENSE = {"relu", "clipped", "deep", "float32", "one layer", "dead layer", "theta 0"}
DENSE |= {"weights of 1e-5", "weights of 1e5"}


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


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint64])
@pytest.mark.parametrize("eps", [np.float32(1e-3), torch.tensor(1e-3), torch.tensor([0.002, 1e-3]), 0])
def test_labels_and_radii_of_any_type_that_certify_takes(eps, dtype):
    net = random_mlp(3, 8, 4, seed=5)
    x = points(net)[:2]
    y = net(x).argmax(dim=1)
    text, held = certificate(net, x, y.to(dtype), eps)
    assert held.all()
    check(text)
    written = numbers(text)["points"]
    assert [point["label"] for point in written] == y.tolist()
    given = [Decimal(radius) for radius in np.broadcast_to(np.asarray(eps, dtype="float64"), 2).tolist()]
    for point, radius in zip(written, given, strict=True):
        assert radius <= point["eps"] <= radius * (1 + Decimal(2) ** -52)  # never of a smaller ball


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
