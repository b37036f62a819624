import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.training import checkpoints, fit

ROOT = Path(__file__).parents[2]
RECIPE = replace(
    ll.training.recipe("moons"),
    network=partial(ll.nets.mlp, 2, 8, 2, activation="clipped_relu"),
    objective=ll.training.Certified(eps=0.1, sparsity=0.1),
    epochs=6,
    hold_out=50,
)
DROPPING = replace(RECIPE, objective=ll.training.Clean())


def moons():
    split = ll.training.moons()
    return replace(split, x_train=split.x_train[:300], y_train=split.y_train[:300])


def built(recipe):
    torch.manual_seed(0)
    return recipe.network().to(recipe.dtype)


def without_seconds(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history.epochs]


def same(one, other):
    states = one.net.state_dict(), other.net.state_dict()
    return all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("kind", ["exact norms", "estimated norms", "dropout"])
def test_a_run_in_pieces_is_the_whole_run_bit_by_bit(tmp_path, seed, kind):
    recipe = replace(RECIPE, norm_steps=2 if kind == "estimated norms" else None)
    if kind == "dropout":  # draws from torch's random numbers in every step
        layers = partial(nn.Sequential, nn.Linear(2, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2))
        recipe = replace(RECIPE, objective=ll.training.Clean(), network=layers)
    start = {name: value.clone() for name, value in built(recipe).state_dict().items()}

    def run(**options):
        net = built(recipe)
        net.load_state_dict(start)
        torch.manual_seed(0)
        return fit(net, moons(), recipe, seed=seed, **options)

    whole, then = run(), torch.rand(1)
    for stop in (1, 2, 5):
        assert len(run(checkpoint=tmp_path, callback=lambda history, stop=stop: len(history) == stop)) == stop
    resumed = run(checkpoint=tmp_path)
    assert torch.equal(torch.rand(1), then) or seed is not None
    assert same(resumed, whole)
    assert without_seconds(resumed) == without_seconds(whole)
    again = run(checkpoint=tmp_path)  # nothing is left to do
    assert again.epochs == resumed.epochs
    assert same(again, whole)


KILLED = """
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import lliptools as ll
from lliptools.training import checkpoints, fit
from test_checkpoints import RECIPE, built, moons, replace

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
recipe, data = replace(RECIPE, epochs=100, hold_out=0, batch_size=300), moons()

# What is loaded at the first step is loaded here, or every process would spend its time on that.
import tqdm.auto
weight = torch.nn.Parameter(torch.ones(1))
weight.grad = torch.ones(1)
torch.optim.AdamW([weight]).step()

def train(checkpoint):
    return fit(built(recipe), data, recipe, checkpoint=checkpoint)

def forked(work):
    child = os.fork()  # a fresh process at every attempt, without the seconds that importing torch takes
    if child == 0:
        work()
        os._exit(0)
    return child

def finish(checkpoint, out):
    history = train(checkpoint)
    content = b"".join(value.numpy().tobytes() for value in history.net.state_dict().values())
    losses = hashlib.sha256(repr(history["loss"]).encode()).hexdigest()
    out.write_text(json.dumps([hashlib.sha256(content).hexdigest(), losses, len(history)]))

def done(checkpoint):
    path = checkpoint / "checkpoint.json"
    return len(json.loads(path.read_text())["history"]) if path.exists() else 0

killed, reached = 0, []
while killed < kills:
    (folder / "run" / "checkpoint.part").unlink(missing_ok=True)  # its coming is what is waited for
    child = forked(lambda: train(folder / "run"))
    if killed % 2:  # while a file is written
        while not (folder / "run" / "checkpoint.part").exists():
            pass
        time.sleep(random.uniform(0, 0.003))
    else:  # somewhere in one of the next epochs
        wanted = sum(reached[-1:]) + random.randint(0, 4)
        while done(folder / "run") < wanted:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    killed += 1
    path = folder / "run" / "checkpoint.json"
    if path.exists():
        record = json.loads(path.read_text())
        assert checkpoints._checksum(folder / "run" / record["tensors"]) == record["sha256"]
        reached.append(len(record["history"]))
for checkpoint, name in ((folder / "run", "resumed"), (None, "whole")):
    child = forked(lambda: finish(checkpoint, folder / name))
    assert os.waitpid(child, 0)[1] == 0
print(json.dumps([killed, reached, json.loads((folder / "resumed").read_text()),
                  json.loads((folder / "whole").read_text())]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_again_and_again_ends_as_one_that_was_not(tmp_path):
    places = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path), "12"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stderr
    killed, reached, resumed, whole = json.loads(done.stdout)
    assert killed == 12
    assert reached == sorted(reached)
    assert 0 < reached[-1] < 100
    assert resumed == whole
    assert resumed[2] == 100


@pytest.mark.parametrize("call", range(8))
def test_a_write_that_stops_anywhere_leaves_the_old_or_the_new(tmp_path, monkeypatch, call):
    identity, old, new = {"recipe": "one"}, {"w": torch.zeros(3)}, {"w": torch.ones(3)}
    checkpoints.write(tmp_path, identity, {"history": [0]}, old)
    calls = []

    def failing(function):
        def counted(*arguments, **options):
            calls.append(function)
            if len(calls) == call + 1:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return counted

    for place, name in ((os, "replace"), (os, "fsync"), (checkpoints, "save_file"), (Path, "write_text")):
        monkeypatch.setattr(place, name, failing(getattr(place, name)))
    monkeypatch.setattr(Path, "unlink", failing(Path.unlink))
    if call < 7:
        with pytest.raises(KeyboardInterrupt):
            checkpoints.write(tmp_path, identity, {"history": [0, 1]}, new)
    else:
        checkpoints.write(tmp_path, identity, {"history": [0, 1]}, new)
    monkeypatch.undo()
    record, tensors = checkpoints.read(tmp_path, identity)
    assert torch.equal(tensors["w"], new["w"] if call > 5 else old["w"])
    assert len(record["history"]) == (2 if call > 5 else 1)
    checkpoints.write(tmp_path, identity, {"history": [0, 1]}, new)
    assert len(list(tmp_path.iterdir())) == 2


def test_files_of_others_stay(tmp_path):
    (tmp_path / "moons.safetensors").write_bytes(b"mine")
    for epoch in range(2):
        checkpoints.write(tmp_path, {}, {}, {"w": torch.full((1,), epoch)})
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors", ".safetensors"]
    checkpoints.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["moons.safetensors"]
    assert (tmp_path / "moons.safetensors").read_bytes() == b"mine"
    checkpoints.write(tmp_path / "own", {}, {}, {"w": torch.zeros(1)})
    checkpoints.remove(tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_the_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    def run(recipe=RECIPE, seed=0, data=None, net=None):
        stop = lambda history: True  # noqa: E731
        return fit(net or built(recipe), data or moons(), recipe, seed=seed, checkpoint=tmp_path, callback=stop)

    run()
    other = ll.nets.mlp(2, 9, 2, activation="clipped_relu").double()
    wider = replace(ll.training.moons())
    for options, said in (
        ({"recipe": replace(RECIPE, epochs=7)}, r"recipe\.epochs 6 there and 7 here"),
        (
            {"recipe": replace(RECIPE, objective=ll.training.Clean())},
            r"recipe\.objective\.type \S+Certified there and \S+Clean here\. ",
        ),
        (
            {"recipe": replace(RECIPE, objective=replace(RECIPE.objective, eps=0.2))},
            r"objective\.eps 0\.1 .* 0\.2 here",
        ),
        ({"recipe": replace(RECIPE, schedule=ll.training.Triangle())}, r"schedule"),
        ({"recipe": replace(RECIPE, dtype=torch.float32)}, r"torch\.float64 there and torch\.float32 here"),
        ({"seed": 1}, r"seed 0 there and 1 here"),
        ({"seed": None}, r"seed 0 there and 0 \(torch's\) here"),
        ({"net": other}, r"weights\.0\.bias \[8\] there and \[9\] here"),
        ({"data": wider}, r"data\.train \[250, 2\] there and \[750, 2\] here"),
    ):
        with pytest.raises(ll.InvalidInput, match=said) as error:
            run(**options)
        assert f"remove {tmp_path}" in str(error.value)
    monkeypatch.setattr(ll, "__version__", "9.9")
    with pytest.raises(ll.InvalidInput, match=r"versions\.lliptools 0\.\S+ there and 9\.9 here"):
        run()
    monkeypatch.undo()
    assert len(run()) == 2
    file = next(tmp_path.glob("*.safetensors"))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\0" if content[-1] else content[:-1] + b"\1")
    with pytest.raises(ll.InvalidInput, match="another checksum"):
        run()
    file.unlink()
    with pytest.raises(ll.InvalidInput, match="missing"):
        run()
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(ll.InvalidInput, match="not JSON"):
        run()


def test_every_recipe_is_described_by_its_settings():
    for name, recipe in ll.training.RECIPES.items():
        found = checkpoints.described(recipe)
        assert found["name"] == name
        assert json.loads(json.dumps(found)) == found
        assert " at 0x" not in json.dumps(found)
    found = checkpoints.described(ll.training.recipe("sll-small"))
    assert found["augment"] == "lliptools.training.augmentation.crop_and_flip"
    assert found["network"]["function"] == "lliptools.layers.networks.sll_network"
    assert found["network"]["arguments"] == ["small"]
    assert found["schedule"]["top"] == 0.4
    assert checkpoints.described({"a": (torch.device("cpu"), nn.Identity())}) == {
        "a": ["cpu", "torch.nn.modules.linear.Identity"]
    }


def test_whatever_else_learns_is_kept():
    class Remembering:
        def __init__(self, value):
            self.value = value

        def state_dict(self):
            return {"layer.0": torch.tensor([self.value])}

        def load_state_dict(self, state_dict):
            self.value = state_dict["layer.0"].item()

    net, memory = nn.Linear(2, 2), Remembering(3.0)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = (optimizer, torch.Generator().manual_seed(4), torch.device("cpu"))
    tensors = checkpoints.packed({"weights": net, "norm": memory}, *state)
    other, forgetful = nn.Linear(2, 2), Remembering(0.0)
    fresh = (torch.optim.AdamW(other.parameters()), torch.Generator(), torch.device("cpu"))
    checkpoints.unpack(tensors, {"weights": other, "norm": forgetful}, *fresh)
    assert forgetful.value == 3.0
    assert torch.equal(other.weight, net.weight)
    again = checkpoints.packed({"weights": other, "norm": forgetful}, *fresh)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
