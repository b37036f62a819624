"""Runs that are killed and writes that stop leave a checkpoint from which the run goes on."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from short_runs import one_epoch

import lliptools as ll
from lliptools import storage
from lliptools.training import checkpoints

ROOT = Path(__file__).parents[2]


KILLED = """
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import lliptools as ll
from lliptools.training import checkpoints, fit
from dataclasses import replace
from short_runs import RECIPE, built, moons

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
    found = checkpoints.read(checkpoint, {})  # whole at any moment, or this raises
    return len(found[0]["history"]) if found else 0

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
    reached += [done(folder / "run")] if (folder / "run").exists() else []
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


@pytest.mark.parametrize("call", range(4))
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

    for place, name in ((os, "replace"), (os, "fsync"), (storage, "save_file")):
        monkeypatch.setattr(place, name, failing(getattr(place, name)))
    if call < 3:
        with pytest.raises(KeyboardInterrupt):
            checkpoints.write(tmp_path, identity, {"history": [0, 1]}, new)
    else:
        checkpoints.write(tmp_path, identity, {"history": [0, 1]}, new)
    monkeypatch.undo()
    record, tensors = checkpoints.read(tmp_path, identity)
    assert torch.equal(tensors["w"], new["w"] if call == 3 else old["w"])
    assert len(record["history"]) == (2 if call == 3 else 1)
    checkpoints.write(tmp_path, identity, {"history": [0, 1]}, new)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_that_is_read_while_it_is_replaced_is_one_of_the_two(tmp_path):
    folder, over = tmp_path / "run", threading.Event()
    for name in ("0", "1", "run"):
        epoch = int(name == "1")
        checkpoints.write(tmp_path / name, {}, {"epoch": epoch}, {"weight": torch.full((5,), float(epoch))})

    def replacing():
        while not over.is_set():
            for name in ("1", "0"):
                os.replace(shutil.copy(tmp_path / name / checkpoints.FILE, folder / "next"), folder / checkpoints.FILE)

    writer = threading.Thread(target=replacing)
    writer.start()
    try:
        for _ in range(300):
            record, tensors = checkpoints.read(folder, {})
            assert tensors["weight"].eq(record["epoch"]).all()
    finally:
        over.set()
        writer.join()


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
