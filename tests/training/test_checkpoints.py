import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

import lliptools as ll
from lliptools import storage
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


@pytest.mark.slow
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

    for place, name in ((os, "replace"), (os, "fsync"), (storage, "save_file"), (Path, "write_text")):
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
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"moons.safetensors"}
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


def one_epoch(folder, data=None, recipe=RECIPE):
    return fit(built(recipe), data or moons(), recipe, seed=0, checkpoint=folder, callback=lambda history: True)


def changed(data, part):
    """The same data with one number that differs."""
    other = getattr(data, part).clone()
    other[-1] = other[-1] + 1e-9 if part == "x_train" else 1 - other[-1]
    return replace(data, **{part: other})


@pytest.mark.parametrize("part", ["x_train", "y_train"])
def test_a_run_on_other_data_of_the_same_shape_is_another_run(tmp_path, part):
    recipe = replace(RECIPE, hold_out=0)
    one_epoch(tmp_path, recipe=recipe)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = changed(moons(), part)
    with pytest.raises(ll.InvalidInput, match=r"content\.train \w{64} there and \w{64} here"):
        one_epoch(tmp_path, other, recipe)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(one_epoch(tmp_path, recipe=recipe)) == 2


def test_a_run_with_another_validation_part_is_another_run(tmp_path):
    recipe, data = replace(RECIPE, hold_out=0), moons().hold_out(50)
    one_epoch(tmp_path, data, recipe)
    swapped = replace(data, x_validation=data.x_validation.flip(0))
    with pytest.raises(ll.InvalidInput, match=r"content\.validation \w{64} there and \w{64} here"):
        one_epoch(tmp_path, swapped, recipe)
    assert len(one_epoch(tmp_path, data, recipe)) == 2


def test_a_checkpoint_that_does_not_say_its_data_is_refused(tmp_path):
    one_epoch(tmp_path)
    path = tmp_path / "checkpoint.json"
    record = json.loads(path.read_text())
    del record["content"]
    path.write_text(json.dumps(record))
    with pytest.raises(ll.InvalidInput, match=r"content None there.*remove"):
        one_epoch(tmp_path)


def test_a_digest_is_of_numbers_types_and_shapes():
    x = torch.arange(6.0)
    different = [
        *((x,), (x.double(),), (x.view(2, 3),), (x, None), (None, x), (x[:3], x[3:]), (x.flip(0),), (), (x[:0],)),
        *((x.bfloat16(),), (x.to(torch.uint8),), (x > 2,), (-x,)),
    ]
    assert len({checkpoints.digest(*each) for each in different}) == len(different)
    assert checkpoints.digest(x.view(2, 3).T) == checkpoints.digest(x.view(2, 3).T.contiguous())


def spoilt(change):
    """The text of a checkpoint.json after a change of its record."""

    def text(record):
        change(record)
        return json.dumps(record)

    return text


def first_epoch(**numbers):
    return spoilt(lambda record: record["history"][0].update(numbers))


BROKEN = {
    "empty": lambda record: "",
    "cut short": lambda record: json.dumps(record)[:-1],
    "a list": lambda record: "[1]",
    "a list of objects": lambda record: "[{}]",
    "text": lambda record: '"history"',
    "nothing": lambda record: "null",
    "nested too deeply": lambda record: "[" * 10**5,
    "not text": lambda record: "\xff",
    "no tensors": spoilt(lambda record: record.pop("tensors")),
    "a number for tensors": spoilt(lambda record: record.update(tensors=3)),
    "another folder": spoilt(lambda record: record.update(tensors="../checkpoint-0123456789abcdef.safetensors")),
    "no checksum": spoilt(lambda record: record.pop("sha256")),
    "a list for a checksum": spoilt(lambda record: record.update(sha256=[1])),
    "no history": spoilt(lambda record: record.pop("history")),
    "a number for a history": spoilt(lambda record: record.update(history=1)),
    "epochs that are numbers": spoilt(lambda record: record.update(history=[1])),
    "an epoch without numbers": spoilt(lambda record: record.update(history=[{}])),
    "epochs that differ": spoilt(lambda record: record["history"].append({"epoch": 1})),
    "an epoch that is missing": first_epoch(epoch=1),
    "a loss that is NaN": first_epoch(loss=float("nan")),
    "a loss that is infinite": first_epoch(loss=float("inf")),
    "a loss in words": first_epoch(loss="small"),
    "an accuracy that is true": first_epoch(clean=True),
    "no recipe": spoilt(lambda record: record.pop("recipe")),
    "a list for a recipe": spoilt(lambda record: record.update(recipe=[])),
    "text for the data": spoilt(lambda record: record.update(data="moons")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_record_that_is_broken_is_one_message(tmp_path, case):
    one_epoch(tmp_path)
    path = tmp_path / "checkpoint.json"
    path.write_bytes(BROKEN[case](json.loads(path.read_text())).encode("latin-1"))
    with pytest.raises(ll.InvalidInput, match=f"remove {tmp_path}") as error:
        one_epoch(tmp_path)
    assert "checkpoint" in str(error.value)
    checkpoints.remove(tmp_path)  # the next step that the message names
    assert len(one_epoch(tmp_path)) == 1


def test_tensors_of_another_run_are_refused(tmp_path):
    one_epoch(tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    whole = checkpoints.load_file(tmp_path / record["tensors"])
    progress = {"history": record["history"]}
    for name in ("weights.0.bias", "random.torch", "optimizer.0.step"):
        less = {key: value for key, value in whole.items() if key != name}
        checkpoints.write(tmp_path, {key: record[key] for key in record.keys() - progress.keys()}, progress, less)
        if name == "optimizer.0.step":  # which torch would begin anew
            continue
        with pytest.raises(ll.InvalidInput, match="tensors of another run"):
            one_epoch(tmp_path)


@pytest.mark.slow
def test_two_runs_in_one_folder_are_refused(tmp_path):
    refused = []

    def second(history):
        try:
            one_epoch(tmp_path)
        except ll.InvalidInput as error:
            refused.append(str(error))

    whole = fit(built(RECIPE), moons(), RECIPE, seed=0)
    torch.manual_seed(0)
    held = fit(built(RECIPE), moons(), RECIPE, seed=0, checkpoint=tmp_path, callback=second)
    assert len(refused) == RECIPE.epochs
    assert all("a second run in the same folder" in said and "wait until" in said for said in refused)
    assert same(held, whole)
    with checkpoints.held(tmp_path):
        checkpoints.remove(tmp_path)  # leaves what another holds
        assert (tmp_path / "checkpoint.json").exists()
    checkpoints.remove(tmp_path)
    assert not tmp_path.exists()
    checkpoints.remove(tmp_path)


HOLDS = """
import sys, time
from pathlib import Path
from lliptools.training import checkpoints
with checkpoints.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_that_was_killed_holds_nothing(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ll.InvalidInput, match="another process that holds"):
            one_epoch(tmp_path)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert len(one_epoch(tmp_path)) == 1


def test_a_folder_that_is_a_file_is_said_before_the_run(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ll.InvalidInput, match="which is a file"):
            one_epoch(place)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path, monkeypatch):
    def diverged(*arguments):
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr(ll.training.loop._Run, "epoch", diverged)
    with pytest.raises(FloatingPointError):
        one_epoch(tmp_path / "run")
    assert [*tmp_path.iterdir()] == []


def test_a_full_disk_leaves_the_checkpoint_of_before(tmp_path, monkeypatch):
    one_epoch(tmp_path)

    def full(*arguments):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(storage, "save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        one_epoch(tmp_path)
    monkeypatch.undo()
    assert len(one_epoch(tmp_path)) == 2


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
