import json

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets import zoo


def test_shipped_networks():
    assert ll.nets.available() == ["digits-clipped", "digits-relu", "moons"]
    folder = zoo._shipped()
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 1_000_000
    assert {path.stem for path in folder.glob("*.safetensors")} == set(ll.nets.available())


@pytest.mark.parametrize("name", ["digits-clipped", "digits-relu", "moons"])
def test_provenance_is_true(name):
    """The accuracies that are written beside the weights are those of the weights."""
    record, net = ll.nets.provenance(name), ll.nets.load(name)
    assert record["command"] == f"lliptools train {record['recipe']} --seed {record['seed']}"
    assert ll.training.recipe(name).eps == record["trained_for_eps"]
    data, measured = ll.training.recipe(name).data(), record["held_out"]
    table = ll.certified_accuracy(net, data.x_test, data.y_test, measured["eps"])
    for what in ("clean", "attacked", "certified"):
        assert getattr(table, what) == pytest.approx(measured[what], abs=1e-9), what
    assert all(p.dtype == torch.float64 for p in net.parameters())
    assert not net.training


def test_local_is_below_global_at_every_held_out_digit():
    net, data = ll.nets.load("digits-clipped"), ll.training.digits()
    eps = ll.nets.provenance("digits-clipped")["trained_for_eps"]
    local, everywhere = ll.local_bound(net, data.x_test, eps).value, ll.global_bound(net, data.x_test).value
    assert (local < everywhere).all()
    assert (local / everywhere).mean() < 0.5


def test_save_and_load(tmp_path, monkeypatch):
    net = ll.nets.mlp(3, 4, 2, activation="clipped_relu").double()
    zoo.save(net, "small", {"seed": 7}, tmp_path)
    monkeypatch.setattr(zoo, "_shipped", lambda: tmp_path)
    record = json.loads((tmp_path / "provenance.json").read_text())["small"]
    assert record == {"seed": 7, "sizes": [3, 4, 2], "activation": "clipped_relu"}
    x = torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(zoo.load("small")(x), net(x))
    assert isinstance(zoo.load("small"), nn.Sequential)
