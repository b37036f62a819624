"""The command line, but for what it measures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lliptools as ll
from lliptools.cli import app

ROOT = Path(__file__).parents[1]


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_train_and_evaluate_what_it_wrote(tmp_path):
    done = run("train", "moons", "--epochs", 2, "--seed", 5, "--hold-out", 40, "--to", tmp_path)
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {"moons.safetensors", "provenance.json"}
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
    assert (tmp_path / "twice" / "moons.checkpoint" / "checkpoint.json").exists()
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
        (["evaluate", "nothing.safetensors"], "keep the two files"),
        (["evaluate", "moons", "--eps", "-1"], "eps"),
    ],
)
def test_errors_are_one_message_and_exit_code_2(arguments, said, tmp_path):
    done = run(*arguments, *(["--to", tmp_path] if arguments[0] == "train" else []))
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert not done.stdout


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
