"""A browser test that fails is run once more, and the last line of that run says so."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOUD = "RUN ONCE MORE AFTER A FAILURE"
TESTS = """
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


def times(name):
    with Path(__file__).with_name(name).open("a+") as file:
        file.write("x")
        return file.tell()


def test_sound():
    assert times("sound")


def test_flaky():
    assert times("flaky") > 1


def test_broken():
    assert times("broken") > 2
"""


@pytest.fixture
def gate(tmp_path):
    """Runs one of the tests as the gate runs its last ones; exit status and lines."""
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ("reruns",)')
    (command,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "/pytest -m browser" in line]
    options = shlex.split(command)[1:]

    def run(test):
        command = [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider"]
        command += ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={tmp_path}", f"{tmp_path}/test_some.py::{test}"]
        own = {key: kept for key, kept in os.environ.items() if not key.startswith("PYTEST")}
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    return run


@pytest.mark.slow
def test_the_last_line_is_loud_where_a_test_passed_only_the_second_time(gate, tmp_path):
    status, lines = gate("test_flaky")
    assert status == 0, lines
    assert lines[-1] == f"1 {LOUD}: test_some.py::test_flaky"
    assert any(line.startswith("RERUN ") for line in lines)
    assert (tmp_path / "flaky").read_text() == "xx"


@pytest.mark.slow
def test_nothing_is_said_where_all_passed(gate, tmp_path):
    status, lines = gate("test_sound")
    assert status == 0, lines
    assert LOUD not in "".join(lines)
    assert (tmp_path / "sound").read_text() == "x"


@pytest.mark.slow
def test_what_fails_twice_fails(gate, tmp_path):
    status, lines = gate("test_broken")
    assert status == 1, lines
    assert (tmp_path / "broken").read_text() == "xx"
