import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import alone, launched
from safetensors.torch import load_file
from torch import nn

import lliptools as ll
from lliptools.training.distributed import Team

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROCESSES = 2

TRAINED = """
import json, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
import torch
torch.set_num_threads(1)
import lliptools as ll
from lliptools.training.distributed import Team, joined

found = {}
split, base, folder = ll.training.digits(), ll.training.recipe("digits-clipped"), Path(sys.argv[1])
# 257 points to train on: the last batch is a single point, and one process has nothing of it.
data = ll.training.Split(split.x_train[:298], split.y_train[:298], split.x_test, split.y_test)
with joined("cpu"):
    team = Team.here()
    for kind, dtype, steps in (("float64", "float64", None), ("float32", "float32", None), ("shared", "float64", 2)):
        network = partial(ll.nets.mlp, 64, 16, 10, activation="clipped_relu")
        recipe = replace(base, network=network, epochs=4, dtype=getattr(torch, dtype), hold_out=41, norm_steps=steps)
        torch.manual_seed(team.rank)  # the weights and the order are those of rank 0
        net = network().to(recipe.dtype)
        torch.manual_seed(0)
        calls = []
        stop = lambda history: calls.append(len(history)) or len(history) == 3
        for callback in (stop, calls.append):  # interrupted and resumed
            history = ll.training.fit(net, data, recipe, checkpoint=folder / f"{kind}-{team.size}", callback=callback)
        found[kind] = history.epochs
        assert bool(calls) == team.leads
        weights = torch.cat([p.detach().flatten() for p in net.parameters()])
        assert torch.equal(team.adopted(weights.clone()), weights)
if sys.platform == "linux":  # no thread of the group is left that could fall over when the interpreter ends
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert not any("gloo" in thread for thread in threads), threads
if team.leads:
    (folder / f"{team.size}.json").write_text(json.dumps(found))
"""


CUT_SHORT = """
import os, signal, sys
import lliptools
from lliptools.cli import app
from lliptools.errors import InvalidInput

rank, what, certify, calls = os.environ.get("RANK"), sys.argv.pop(1), lliptools.certify, []

def cut_short(*arguments, **options):
    calls.append(arguments)
    if len(calls) == 3 and rank == "1" and what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == "1" and what == "refused":
        raise InvalidInput(expected="what the second finds", got="nothing", cause="a trial", next_step="none")
    return certify(*arguments, **options)

lliptools.certify = cut_short
app()
"""


def test_two_processes_have_the_losses_of_one(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(TRAINED)
    done = launched(program, tmp_path)
    assert done.returncode == 0, done.stderr
    done = alone(program, tmp_path)
    assert done.returncode == 0, done.stderr
    single, together = (json.loads((tmp_path / f"{size}.json").read_text()) for size in (1, PROCESSES))
    for kind, close in (("float64", 1e-12), ("float32", 1e-5), ("shared", 1e-10)):
        assert len(together[kind]) == 4
        for one, other in zip(single[kind], together[kind], strict=True):
            assert other["loss"] == pytest.approx(one["loss"], abs=close)
            for name in ("clean", "validation_clean", "validation_certified"):
                assert other[name] == pytest.approx(one[name], abs=0.01 if kind == "float32" else 0)
    (one,), (other,) = ([*(tmp_path / f"shared-{size}").glob("*.safetensors")] for size in (1, PROCESSES))
    one, other = load_file(one), load_file(other)
    vectors = [name for name in one if name.startswith("norm.")]  # of SharedNorm: those of the whole batch
    assert len(vectors) == 2
    for name in vectors:
        torch.testing.assert_close(other[name], one[name], rtol=0, atol=1e-8)


def test_the_command_line_in_two_processes_speaks_and_writes_once(tmp_path):
    run = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={PROCESSES}", "--rdzv-backend=c10d"]
    run += ["--rdzv-endpoint=localhost:0", "-m", "lliptools", "train", "moons", "--epochs", "2", "--to", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(run, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to") == 1
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"moons.safetensors", "provenance.json"}


def test_a_table_by_two_processes_is_that_of_one(tmp_path):
    command = ["-m", "lliptools", "evaluate", "digits-clipped", "--eps", 0.1, "--eps", 1 / 3, "--points", 300]
    command += ["--bound", "global", "--bound", "local", "--json"]
    one, other = alone(*command, tmp_path / "one.json"), launched(*command, tmp_path / "other.json")
    assert one.returncode == 0, one.stderr
    assert other.returncode == 0, other.stderr
    assert len(one.stdout.splitlines()) == 4
    assert other.stdout == one.stdout
    assert (tmp_path / "other.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    assert "600/600" in one.stderr  # points at each radius
    assert other.stderr.count("600/600") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"one.json", "other.json"}


def test_a_killed_run_of_two_processes_goes_on_in_one(tmp_path):
    x, to = ll.training.digits().x_test[:300].numpy(), tmp_path / "killed.json"
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "program.py").write_text(CUT_SHORT)
    options = ["digits-clipped", "--input", tmp_path / "x.npy", "--eps", 0.1, "--eps", 1 / 3, "--bound", "local"]
    whole = alone("-m", "lliptools", "bounds", *options, "--json", tmp_path / "whole.json")
    assert whole.returncode == 0, whole.stderr
    killed = launched(tmp_path / "program.py", "killed", "bounds", *options, "--json", to)
    assert killed.returncode != 0
    assert not killed.stdout
    assert not to.exists()
    parts = (tmp_path / "killed.json.parts").read_bytes()
    kept = [line for line in parts.splitlines() if line]
    assert 2 <= len(kept) <= 2 * 2  # a round of two parts, what was kept of a second
    np.save(tmp_path / "x.npy", x[:, ::-1])
    (tmp_path / "other.json.parts").write_bytes(parts)
    for name in ("other.json", "fresh.json"):  # nothing of the killed run is taken for other points
        other = alone("-m", "lliptools", "bounds", *options, "--json", tmp_path / name)
        assert other.returncode == 0, other.stderr
        assert " 0/600 " in other.stderr
    assert (tmp_path / "other.json").read_bytes() == (tmp_path / "fresh.json").read_bytes()
    np.save(tmp_path / "x.npy", x)
    rest = alone("-m", "lliptools", "bounds", *options, "--json", to)
    assert rest.returncode == 0, rest.stderr
    assert " 0/600 " not in rest.stderr  # it goes on
    assert rest.stdout == whole.stdout
    assert to.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not (tmp_path / "killed.json.parts").exists()


def test_what_one_process_refuses_is_said_once(tmp_path):
    np.save(tmp_path / "x.npy", ll.training.digits().x_test[:100].numpy())
    (tmp_path / "program.py").write_text(CUT_SHORT)
    done = launched(
        *(tmp_path / "program.py", "refused", "bounds", "digits-clipped", "--input", tmp_path / "x.npy", "--eps", 0.1)
    )
    assert done.returncode != 0
    assert done.stderr.count("InvalidInput: expected what the second finds") == 1
    assert not done.stdout


def test_a_team_of_one_changes_nothing():
    team, x = Team.here(), torch.arange(3.0)
    assert team == Team(0, 1)
    assert team.leads
    assert torch.equal(team.share(x), x)
    assert team.total(x) is x
    assert team.adopted(x) is x
    assert team.gathered(x) == [x]
    weight = nn.Parameter(x)
    weight.grad = gradient = x.clone()
    team.total_gradients([weight], 0.5)
    assert weight.grad is gradient


def test_shares_of_a_batch_are_all_of_it_and_of_like_size():
    x = torch.arange(10)
    shares = [Team(rank, 4).share(x) for rank in range(4)]
    assert [len(share) for share in shares] == [3, 3, 2, 2]
    assert torch.equal(torch.cat(shares).sort().values, x)


def test_batch_norm_is_refused_where_each_process_has_a_part_of_the_batch(monkeypatch):
    recipe = replace(ll.training.recipe("moons"), epochs=1)
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    assert len(ll.training.fit(net, ll.training.moons(), recipe)) == 1
    monkeypatch.setattr(Team, "here", classmethod(lambda cls: cls(0, 2)))
    with pytest.raises(ll.UnsupportedLayer, match=r"layer 1 \(BatchNorm1d\)"):
        ll.training.fit(net, ll.training.moons(), recipe)
