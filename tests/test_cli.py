"""The command line, but for what it measures."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from forked import beside
from typer.testing import CliRunner

import lliptools as ll
from lliptools.cli import app, networks
from lliptools.nets import zoo
from lliptools.training.objectives import BOUNDS, LOSSES

ROOT = Path(__file__).parents[1]


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_train_and_evaluate_what_it_wrote(tmp_path):
    done = run("train", "moons", "--epochs", 2, "--seed", 5, "--hold-out", 40, "--to", tmp_path)
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"moons.safetensors", "provenance.json"}
    record = json.loads((tmp_path / "provenance.json").read_text())["moons"]
    assert record["command"] == "lliptools train moons --seed 5 --epochs 2 --hold-out 40"
    assert record["validation"]["last"]["epoch"] == 1
    weights, numbers = tmp_path / "moons.safetensors", tmp_path / "numbers.json"
    done = run("evaluate", weights, "--eps", 0.1, "--eps", 0.02, "--json", numbers)
    assert done.exit_code == 0, done.output
    found = json.loads(numbers.read_text())
    assert found["network"] == str(weights)
    assert [row["eps"] for row in found["radii"]] == [0.1, 0.02]
    (held_out,) = record["held_out"]
    first = found["radii"][0]
    assert {**held_out, "certified": held_out["certified"], "points": 200} == {
        **first,
        "certified": first["certified"]["local"],
    }
    for row in found["radii"]:
        certified = row["certified"]
        assert certified["global"] <= certified["local"] <= certified["tightest"] <= row["attacked"] <= row["clean"]
        assert all(f"{number:.4f}" in done.output for number in certified.values())


def test_evaluate_by_the_bounds_that_are_named():
    done = run("evaluate", "moons", "--points", 30, "--bound", "global", "--bound", "tightest")
    assert done.exit_code == 0, done.output
    head, row = done.stdout.splitlines()[-2:]
    assert head.split() == ["eps", "clean", "attacked", "global", "tightest"]
    assert len(row.split()) == 5
    assert run("evaluate", "moons", "--bound", "sampled").exit_code == 2


def test_bounds_are_those_of_the_registry(monkeypatch):
    asked = ["evaluate", "moons", "--points", 5, "--bound", "own"]
    done = run(*asked)
    assert done.exit_code == 2
    assert all(name in done.stderr for name in ll.BOUNDS)
    monkeypatch.setitem(ll.BOUNDS, "own", ll.local_bound)
    assert run(*asked).stdout.splitlines()[-2].split()[-1] == "own"


def test_an_interrupted_run_is_resumed_by_the_same_command(tmp_path, monkeypatch):
    epoch = ll.training.loop._Run.epoch

    def interrupted(self, number):
        if number == 2:
            raise KeyboardInterrupt
        return epoch(self, number)

    command = ["train", "moons", "--epochs", 4, "--to"]
    assert run(*command, tmp_path / "whole").exit_code == 0
    monkeypatch.setattr(ll.training.loop._Run, "epoch", interrupted)
    assert run(*command, tmp_path / "twice").exit_code != 0
    assert (tmp_path / "twice" / "moons.checkpoint" / "checkpoint.safetensors").exists()
    assert run(*command, tmp_path / "without", "--no-checkpoint").exit_code != 0
    assert not (tmp_path / "without").exists()
    monkeypatch.undo()
    other = run(*command, tmp_path / "twice", "--seed", 1)
    assert other.exit_code == 2
    assert "seed 0 (torch's) there and 1 (torch's) here" in other.stderr
    numbers = []
    monkeypatch.setattr(
        ll.training.loop._Run, "epoch", lambda self, number: numbers.append(number) or epoch(self, number)
    )
    assert run(*command, tmp_path / "twice").exit_code == 0
    assert numbers == [2, 3]
    files = [(tmp_path / name / "moons.safetensors").read_bytes() for name in ("whole", "twice")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "cifar"], "InvalidInput: expected one of"),
        (["train", "moons", "--device", "gpu"], "a device of this machine"),
        (["train", "moons", "--hold-out", "800"], "from 1 to 799"),
        (["evaluate", "nothing"], "lliptools.nets.available"),
        (["evaluate", "nothing.safetensors"], "keep both in one folder"),
        (["evaluate", "moons", "--eps", "-1"], "eps"),
    ],
)
def test_errors_are_one_message_and_exit_code_2(arguments, said, tmp_path):
    done = run(*arguments, *(["--to", tmp_path] if arguments[0] == "train" else []))
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert not done.stdout


def test_of_several_processes_another_speaks_where_the_first_goes_on(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("lliptools.cli.application.PATIENCE", 0.0)
    done = run("evaluate", "nothing")
    assert done.exit_code == 2
    assert "lliptools.nets.available" in done.stderr


@pytest.mark.slow
def test_two_trainings_at_once_in_one_folder(tmp_path):
    """The same recipe is trained once, another one beside it: no traceback, no lost line of provenance.json."""
    names = ("moons", "moons", "digits-relu")
    done = beside(*(["-m", "lliptools", "train", "--epochs", 3, "--to", tmp_path, name] for name in names))
    codes = [each.returncode for each in done]
    assert codes[2] == 0, done[2]
    assert sorted(codes[:2]) in ([0, 0], [0, 2]), done  # where one had ended before the other began, both go through
    assert not any("Traceback" in each.stderr for each in done)
    if 2 in codes:
        assert "a second run in the same folder" in done[codes.index(2)].stderr
    assert json.loads((tmp_path / "provenance.json").read_text()).keys() == {"moons", "digits-relu"}
    for name in ("moons", "digits-relu"):
        assert run("evaluate", tmp_path / f"{name}.safetensors", "--points", 3, "--eps", 0.1).exit_code == 0


def test_a_folder_that_cannot_be_written_is_said_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(ll.training, "fit", lambda *given, **options: pytest.fail("trained"))
    (tmp_path / "file").write_text("")
    (tmp_path / "provenance.json").write_text("[1]")
    for place, said in ((tmp_path / "file", "which is a file"), (tmp_path, "one JSON object for each network")):
        for more in ([], ["--no-checkpoint"]):
            done = run("train", "moons", "--to", place, *more)
            assert done.exit_code == 2, done.output
            assert said in done.stderr
            assert not done.stdout


def test_a_disk_that_is_full_at_the_end_loses_no_weights(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    command = ["train", "moons", "--epochs", 2, "--to"]
    assert run(*command, tmp_path / "whole").exit_code == 0
    monkeypatch.setattr(zoo, "write_tensors", full)
    done = run(*command, tmp_path / "full")
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert "No space left on device" in done.stderr
    assert "moons.checkpoint holds the trained weights" in done.stderr
    assert "certified" in done.stdout  # what was measured
    monkeypatch.undo()
    monkeypatch.setattr(ll.training.loop._Run, "epoch", lambda *given: pytest.fail("trained again"))
    assert run(*command, tmp_path / "full").exit_code == 0
    files = [(tmp_path / name / "moons.safetensors").read_bytes() for name in ("whole", "full")]
    assert files[0] == files[1]
    assert not (tmp_path / "full" / "moons.checkpoint").exists()


def test_a_provenance_without_a_recipe_is_one_message(tmp_path):
    assert run("train", "moons", "--epochs", 1, "--to", tmp_path).exit_code == 0
    path = tmp_path / "provenance.json"
    for recipe in (None, 3, ["moons"], "__class__"):
        record = json.loads(path.read_text())
        record["moons"]["recipe"] = recipe
        path.write_text(json.dumps(record))
        done = run("evaluate", tmp_path / "moons.safetensors")
        assert done.exit_code == 2
        assert "lliptools recipes" in done.stderr


@pytest.mark.slow
def test_a_pipe_that_closes_is_no_error_of_files():
    command = f"{sys.executable} -m lliptools recipes | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert "Traceback" not in done.stderr
    assert "full disk" not in done.stderr


def test_what_the_disk_refuses_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("gallery", tmp_path / "file" / "pages")
    assert done.exit_code == 2
    assert "NotADirectoryError: expected files and folders" in done.stderr
    assert "a file where a folder should be" in done.stderr


def test_a_loss_that_is_not_finite_is_one_message(tmp_path, monkeypatch):
    def diverged(*arguments):
        raise FloatingPointError("the loss of moons is nan")

    monkeypatch.setattr(ll.training.loop._Run, "epoch", diverged)
    done = run("train", "moons", "--to", tmp_path)
    assert done.exit_code == 2
    assert "FloatingPointError: the loss of moons is nan" in done.stderr


def test_recipes_are_listed():
    done = run("recipes")
    assert done.exit_code == 0
    assert all(name in done.output for name in ll.training.RECIPES)


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "lliptools", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("doctor", "recipes", "train", "evaluate"))


def test_version_and_completion():
    assert run("--version").stdout == f"lliptools {ll.__version__}\n"
    assert "--install-completion" in run("--help").output


def test_json_alone_on_the_output(tmp_path, monkeypatch):
    """No table before it, and no file: not where the folder is read-only, and no parts beside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda *given: False)
    done = run("evaluate", "moons", "--points", 5, "--bound", "global", "--eps", 0.1, "--json", "-")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["radii"]
    assert f"{row['clean']:.4f}" in done.stderr
    assert not [*tmp_path.iterdir()]


def test_train_offers_every_loss_and_bound():
    assert {each.value for each in networks.Loss} == {*LOSSES}
    assert {each.value for each in networks.TrainedBy} == {*BOUNDS}
