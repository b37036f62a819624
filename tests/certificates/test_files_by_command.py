"""The checker of certificate files stands alone, and the commands say what they found."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from file_checks import as_text, numbers
from small_file import TEXT, WRONG, changed
from typer.testing import CliRunner

import lliptools as ll
from lliptools import checker
from lliptools.checker import check
from lliptools.cli import app


def test_the_checker_is_short_and_needs_nothing_but_python(tmp_path):
    source = Path(checker.__file__)
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 150
    (tmp_path / "checker.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "c.json").write_text(TEXT, encoding="utf-8")
    (tmp_path / "forged.json").write_text(as_text(changed(*WRONG["eps"])), encoding="utf-8")
    command = [sys.executable, "-I", "-S", "checker.py"]
    done = subprocess.run([*command, "c.json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("certified: ")
    done = subprocess.run([*command, "forged.json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Refused: point 0: unit 0: lower" in done.stderr
    assert not done.stdout


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def digits(tmp_path):
    """Three test points and their labels, of which the last is wrong."""
    data = ll.training.digits()
    np.save(tmp_path / "x.npy", data.x_test[:3].double().numpy())
    np.save(tmp_path / "y.npy", ((data.y_test[:3] + torch.tensor([0, 0, 1])) % 10).numpy())
    return tmp_path


@pytest.mark.slow
def test_certify_then_check(digits):
    to = digits / "new" / "c.json"
    options = ("--input", digits / "x.npy", "--eps", 0.1, "--labels", digits / "y.npy")
    done = run("certify", "digits-clipped", *options, "--certificate", to)
    assert done.exit_code == 0, done.output
    assert "of 3 points 2 by local" in done.stdout
    assert f"2 of 2 certified points are in {to}" in done.stdout
    done = run("check", to)
    assert done.exit_code == 0, done.output
    assert done.stdout == check(to.read_text()) + "\n"
    assert len(done.stdout.splitlines()) == 4
    assert run("check", to, "--model", "digits-clipped").exit_code == 0
    other = run("check", to, "--model", "digits-0.5-clipped")
    assert other.exit_code == 1
    assert "refused: the network in the file is not digits-0.5-clipped" in other.stderr
    assert not other.stdout
    assert run("check", to, "--model", "digits-conv").exit_code == 2
    file = numbers(to.read_text())
    file["points"][0]["hidden"][0]["norm"] *= Decimal("0.999")
    to.write_text(as_text(file))
    forged = run("check", to)
    assert forged.exit_code == 1
    assert forged.stderr == "refused: point 0: norm\n"
    assert run("check", digits / "none.json").exit_code == 2
    to.write_bytes(b"\xff\xfe\x00")
    assert run("check", to).exit_code == 1


def test_certify_without_a_file_and_where_nothing_can_be_written(digits):
    options = ("--input", digits / "x.npy", "--eps", 0.05)
    done = run("certify", "sll-digits", *options)
    assert done.exit_code == 0, done.output
    assert "of 3 points 3 by local" in done.stdout
    to = digits / "c.json"
    done = run("certify", "sll-digits", *options, "--certificate", to)
    assert done.exit_code == 2
    assert "UnsupportedLayer" in done.stderr
    done = run("certify", "digits-clipped", "--input", digits / "x.npy", "--eps", 50, "--certificate", to)
    assert done.exit_code == 2
    assert "none of 3" in done.stderr
    assert not to.exists()
    done = run("certify", "digits-clipped", *options, "--certificate", digits)
    assert done.exit_code == 2
    assert "a folder in its place" in done.stderr
