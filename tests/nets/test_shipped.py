"""The trained networks that ship: which they are, and that what is written beside them is true."""

import os

import pytest
import torch

import lliptools as ll
from lliptools.nets import zoo

KINDS = ("standard", "global", "local", "clipped", "sparse")
FAMILIES = {"digits-0.1": 0.1, "digits-0.5": 0.5, "mnist-mlp-0.3": 0.3, "mnist-maxmin": 0.3, "mnist-small": 0.3}
IN_FAMILIES = [f"{family}-{kind}" for family in FAMILIES for kind in KINDS]
ALONE = ["digits-clipped", "digits-conv", "digits-relu", "moons", "mnist-mlp-0.3-centred"]
BY_DESIGN = [f"{kind}-digits" for kind in ("spectral", "aol", "cpl", "sll", "cayley", "bro", "sandwich")]


def test_shipped_networks():
    assert set(ll.nets.available()) == {*ALONE, *BY_DESIGN, *IN_FAMILIES}
    folder = zoo._shipped()
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 12_000_000
    assert all(path.stat().st_size < 3_000_000 for path in folder.glob("*.safetensors"))
    assert {path.stem for path in folder.glob("*.safetensors")} == set(ll.nets.available())


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("name", [*ALONE, *BY_DESIGN, *IN_FAMILIES])
def test_provenance_is_true(name):
    """The accuracies that are written beside the weights are those of the weights."""
    record, net = ll.nets.provenance(name), ll.nets.load(name)
    assert record["command"] == f"lliptools train {record['recipe']} --seed {record['seed']}"
    recipe = ll.training.recipe(name)
    assert repr(recipe.objective) == record["objective"]
    if recipe.data in (ll.training.mnist, ll.training.cifar10) and not os.environ.get("LLIPTOOLS_DATA"):
        pytest.skip("MNIST and CIFAR-10 are measured where LLIPTOOLS_DATA names a folder that has them")
    data, measured = recipe.data(), record["held_out"]
    x, y = data.x_test[: recipe.measured].to(recipe.dtype), data.y_test[: recipe.measured]
    once = len(name) % len(measured)  # an attack costs most: one radius has to do
    table = ll.certified_accuracy(net, x, y, recipe.radii[once], centred=False)
    for what in ("eps", "clean", "attacked", "certified"):
        assert getattr(table, what) == pytest.approx(measured[once][what], abs=1e-9), what
    for eps, written in zip(recipe.radii, measured, strict=True):
        assert written["eps"] == pytest.approx(eps, abs=1e-9)
        assert written["clean"] == pytest.approx(table.clean, abs=1e-9)
        certified = ll.certify(net, x, y, eps, centred=False).holds.double().mean().item()
        assert certified == pytest.approx(written["certified"], abs=1e-9)
    assert all(p.dtype == torch.float64 for p in net.parameters())
    assert not net.training


def test_local_is_below_global_at_every_held_out_digit():
    net, data = ll.nets.load("digits-clipped"), ll.training.digits()
    eps = ll.training.recipe("digits-clipped").objective.eps
    local, everywhere = ll.local_bound(net, data.x_test, eps).value, ll.global_bound(net, data.x_test).value
    assert (local < everywhere).all()
    assert (local / everywhere).mean() < 0.5


def test_1_lipschitz_networks_of_equal_budget():
    """The same layers, epochs and loss for every kind, and each beats the plain network at larger radii."""
    records = {name: ll.nets.provenance(name) for name in BY_DESIGN}
    assert len({record["objective"] for record in records.values()}) == 1
    plain = ll.nets.load("digits-relu")
    data = ll.training.digits()
    reached = ll.certified_accuracy(plain, data.x_test, data.y_test, 0.5).certified
    for name, record in records.items():
        assert [line["eps"] for line in record["held_out"]] == [0.1, 0.3, 0.5, 1.0]
        assert record["held_out"][2]["certified"] > reached + 0.1, name
        net = ll.nets.load(name)
        assert (ll.global_bound(net[:-1], data.x_test[:1]).value <= 1).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_families_differ_in_one_thing(family):
    """Certified <= attacked <= clean everywhere, and every kind but the standard one certifies far more than that."""
    records = {kind: ll.nets.provenance(f"{family}-{kind}") for kind in KINDS}
    eps = FAMILIES[family]
    reached = {}
    for kind, record in records.items():
        lines = {line["eps"]: line for line in record["held_out"]}
        assert all(line["certified"] <= line["attacked"] <= line["clean"] for line in lines.values())
        assert tuple(lines) == ll.training.recipe(f"{family}-{kind}").radii
        reached[kind] = lines[eps]["certified"]
    least = 0.25 if eps > 0.1 else 0.05  # in a small ball even what was trained without a bound is certified
    assert all(reached[kind] > reached["standard"] + least for kind in KINDS[1:])
    build = {kind: record["network"]["keywords"] for kind, record in records.items()}
    assert build["standard"] == build["global"] == build["local"]
    assert build["clipped"] == build["sparse"]
    activation, theta = build["sparse"]["activation"], build["sparse"]["theta"]
    assert activation == f"clipped_{build['local'].get('activation', 'relu')}"
    assert build["sparse"] == {**build["local"], "activation": activation, "theta": theta}
