"""Networks are saved whole or not at all, and loaded as they were saved."""

import errno
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lliptools as ll
from lliptools.nets import zoo


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


def test_every_recipe_can_be_loaded_again(tmp_path):
    """What `lliptools train` may write is what load reads: builders, and the types and sizes of their arguments."""
    seen = set()
    for recipe in ll.training.RECIPES.values():
        build = recipe.network
        room = build.func.__module__.rsplit(".", 1)[0]
        call = json.loads(json.dumps({"arguments": build.args, "keywords": build.keywords}))
        network = {"function": f"{room}.{build.func.__name__}", **call}
        if recipe.name.startswith("sll-") and recipe.name not in ("sll-digits", "sll-mnist", "sll-small"):
            continue  # hundreds of megabytes, and the same builder
        key = json.dumps(network)
        if key not in seen:
            seen.add(key)
            net = zoo._built(network, tmp_path)
            torch.manual_seed(0)
            assert net.state_dict().keys() == build().state_dict().keys()


def test_weights_come_as_they_stand_in_the_file(tmp_path):
    exact = torch.tensor([[1 / 3, 2 / 3]], dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 1))
    save_file({"0.bias": torch.zeros(1, dtype=torch.float16), "0.weight": exact}, tmp_path / "n.safetensors")
    assert torch.equal(ll.nets.load(tmp_path / "n.safetensors", net)[0].weight, exact)
    for kind in (torch.int64, torch.uint8, torch.bool, torch.complex64):
        weights = {"0.bias": torch.zeros(1, dtype=kind), "0.weight": torch.ones(1, 2, dtype=kind)}
        save_file(weights, tmp_path / "n.safetensors")
        with pytest.raises(ll.InvalidInput, match=f"of {kind}"):
            ll.nets.load(tmp_path / "n.safetensors", nn.Sequential(nn.Linear(2, 1)))


SAVED = """
import sys, time
from functools import partial
from pathlib import Path
import lliptools as ll
from lliptools.nets import zoo
folder, own = Path(sys.argv[1]), sys.argv[2]
build = partial(ll.nets.mlp, 2, 3, 2)
net = build()
(folder / own).touch()
while len([*folder.glob("process-*")]) < 3:
    time.sleep(0.001)
for k in range(12):
    zoo.save(net, f"{own}-{k}", build, {"seed": k}, folder)
"""


@pytest.mark.slow
@pytest.mark.slow
def test_processes_that_save_in_one_folder_lose_no_line(tmp_path):
    names = [f"process-{k}" for k in range(3)]
    running = [subprocess.Popen([sys.executable, "-c", SAVED, tmp_path, name]) for name in names]
    assert [each.wait(120) for each in running] == [0, 0, 0]
    records = json.loads((tmp_path / "provenance.json").read_text())
    assert records.keys() == {f"{name}-{k}" for name in names for k in range(12)}
    assert not [*tmp_path.glob("*.part")]
    assert isinstance(ll.nets.load(tmp_path / "process-0-11.safetensors"), nn.Sequential)


@pytest.mark.parametrize("place", ["write_tensors", "write_text", "fsync"])
def test_a_full_disk_leaves_what_was_there(place, tmp_path, monkeypatch):
    build = partial(ll.nets.mlp, 2, 3, 2)
    zoo.save(build(), "n", build, {"seed": 1}, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = {"write_tensors": zoo, "write_text": Path, "fsync": os}[place]
    monkeypatch.setattr(owner, place, full)
    with pytest.raises(OSError, match="No space left"):
        zoo.save(build(), "n", build, {"seed": 2}, tmp_path)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_synced_is_open_for_writing(tmp_path, monkeypatch):
    """Windows refuses to sync anything else."""
    fcntl, modes = pytest.importorskip("fcntl"), []
    monkeypatch.setattr(os, "fsync", lambda file: modes.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE))
    build = partial(ll.nets.mlp, 2, 3, 2)
    zoo.save(build(), "n", build, {"seed": 1}, tmp_path)
    assert modes
    assert os.O_RDONLY not in modes


def test_a_place_that_cannot_be_written_is_said_beforehand(tmp_path, monkeypatch):
    zoo.check_place(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "weights"):
        with pytest.raises(ll.InvalidInput, match=r"a file\. .*name another path"):
            zoo.check_place(place)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(ll.InvalidInput, match="may not be written to"):
        zoo.check_place(tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".npz"])
def test_weights_of_torch_and_numpy(suffix, tmp_path):
    torch.manual_seed(0)
    net, other = (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)) for _ in range(2))
    path, state = tmp_path / f"net{suffix}", net.state_dict()
    if suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in state.items()})
    else:
        torch.save(state if suffix == ".pt" else {"state_dict": state, "epoch": 3}, path)
    again = ll.nets.load(path, other)
    assert not again.training
    assert all(torch.equal(value.double(), state[name].double()) for name, value in again.state_dict().items())
