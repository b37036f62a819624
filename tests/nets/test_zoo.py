import json
import os
from functools import partial

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets import zoo

KINDS = ("standard", "global", "local", "clipped", "sparse")
FAMILIES = {"digits-0.5": 0.5, "mnist-mlp-0.3": 0.3, "mnist-maxmin": 0.3, "mnist-small": 0.3, "cifar10-small": 36 / 255}
IN_FAMILIES = [f"{family}-{kind}" for family in FAMILIES for kind in KINDS]
BY_DESIGN = [f"{kind}-digits" for kind in ("spectral", "aol", "cpl", "sll", "cayley", "bro", "sandwich")]


def test_shipped_networks():
    assert set(ll.nets.available()) == {
        "digits-clipped",
        "digits-conv",
        "digits-relu",
        "moons",
        *BY_DESIGN,
        *IN_FAMILIES,
    }
    folder = zoo._shipped()
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 12_000_000
    assert all(path.stat().st_size < 3_000_000 for path in folder.glob("*.safetensors"))
    assert {path.stem for path in folder.glob("*.safetensors")} == set(ll.nets.available())


@pytest.mark.parametrize("name", ["digits-clipped", "digits-conv", "digits-relu", "moons", *BY_DESIGN, *IN_FAMILIES])
def test_provenance_is_true(name):
    """The accuracies that are written beside the weights are those of the weights."""
    record, net = ll.nets.provenance(name), ll.nets.load(name)
    assert record["command"] == f"lliptools train {record['recipe']} --seed {record['seed']}"
    recipe = ll.training.recipe(name)
    assert repr(recipe.objective) == record["objective"]
    if recipe.data in (ll.training.mnist, ll.training.cifar10) and not os.environ.get("LLIPTOOLS_DATA"):
        pytest.skip("MNIST and CIFAR-10 are measured where LLIPTOOLS_DATA names a folder that has them")
    data, measured = recipe.data(), record["held_out"]
    x, y = ll.training.as_float(data.x_test[: recipe.measured]), data.y_test[: recipe.measured]
    for table, written in zip(ll.certified_accuracy(net, x, y, recipe.radii), measured, strict=True):
        for what in ("eps", "clean", "attacked", "certified"):
            assert getattr(table, what) == pytest.approx(written[what], abs=1e-9), what
    assert all(p.dtype == torch.float64 for p in net.parameters())
    assert not net.training


def test_local_is_below_global_at_every_held_out_digit():
    net, data = ll.nets.load("digits-clipped"), ll.training.digits()
    eps = ll.training.recipe("digits-clipped").objective.eps
    local, everywhere = ll.local_bound(net, data.x_test, eps).value, ll.global_bound(net, data.x_test).value
    assert (local < everywhere).all()
    assert (local / everywhere).mean() < 0.5


def test_save_and_load(tmp_path, monkeypatch):
    build = partial(ll.nets.mlp, 3, 4, 2, activation="clipped_relu")
    net = build().double()
    zoo.save(net, "small", build, {"seed": 7}, tmp_path)
    monkeypatch.setattr(zoo, "_shipped", lambda: tmp_path)
    record = json.loads((tmp_path / "provenance.json").read_text())["small"]
    called = {"function": "lliptools.nets.mlp", "arguments": [3, 4, 2], "keywords": {"activation": "clipped_relu"}}
    assert record == {"seed": 7, "network": called}
    x = torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(zoo.load("small")(x), net(x))
    assert isinstance(zoo.load("small"), nn.Sequential)


def test_the_network_is_built_by_functions_of_the_package_only():
    with pytest.raises(AssertionError):
        zoo._built({"function": "os.system", "arguments": ["true"], "keywords": {}})


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
    assert all(reached[kind] > reached["standard"] + 0.25 for kind in KINDS[1:])
    build = {kind: record["network"]["keywords"] for kind, record in records.items()}
    assert build["standard"] == build["global"] == build["local"]
    assert build["clipped"] == build["sparse"]
    activation, theta = build["sparse"]["activation"], build["sparse"]["theta"]
    assert activation == f"clipped_{build['local'].get('activation', 'relu')}"
    assert build["sparse"] == {**build["local"], "activation": activation, "theta": theta}
