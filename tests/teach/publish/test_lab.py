"""lliptools lab: the course in a folder of one's own."""

import os
import re
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import lliptools as ll
from lliptools.cli import app
from lliptools.teach import doctor
from lliptools.teach.publish import lab


def test_the_course_comes_with_all_that_it_links(tmp_path):
    copies = lab.bring(tmp_path / "course")
    names = {path.relative_to(tmp_path / "course").as_posix() for path in copies}
    assert {"notebooks/00_start.ipynb", "notebooks/solutions/08_lattice_and_capstone.ipynb"} <= names
    assert "docs/glossary.md" in names
    for path in copies:
        if path.suffix == ".ipynb":
            links = re.findall(r"\]\(([^):#]+\.(?:md|ipynb|png))", path.read_text())
            assert all((path.parent / link).exists() for link in links), path
    assert lab.bring(tmp_path / "course") == []


def test_what_a_student_wrote_stays(tmp_path):
    own = tmp_path / "notebooks" / "00_start.ipynb"
    own.parent.mkdir()
    own.write_text("my work")
    assert own not in lab.bring(tmp_path)
    assert own.read_text() == "my work"


@pytest.mark.parametrize("place", ["course", "course/inside", "."])
def test_a_file_is_no_folder(place, tmp_path):
    (tmp_path / "course").write_text("")
    (tmp_path / "notebooks").write_text("")
    with pytest.raises(ll.InvalidInput, match="folder"):
        lab.bring(tmp_path / place)


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "mine" / "notebooks").mkdir(parents=True)
    link = tmp_path / "mine" / "notebooks" / "00_start.ipynb"
    link.symlink_to(tmp_path / "elsewhere.ipynb")
    lab.bring(tmp_path / "mine")
    assert link.is_symlink()
    assert not (tmp_path / "elsewhere.ipynb").exists()
    assert not list((tmp_path / "mine").rglob("*.unfinished"))


def test_an_interrupted_server_ends_by_itself():
    """It is asked by the interrupt, and has the time that it needs."""
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may have shut it off
    child = heed + (
        "import time\ntry: print('ready', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt: time.sleep(1.5); raise SystemExit(5)"
    )
    serve = f"from lliptools.teach.publish import lab; sys.exit(lab.serve([sys.executable, '-c', {child!r}]))"
    code = f"{heed}import sys; {serve}"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"ready\n"
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.wait(timeout=30) == 5


def test_the_server_shows_the_whole_folder(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(lab, "serve", lambda command: called.append(command) or 7)
    assert lab.lab(tmp_path, 8899, browser=False) == 7
    (command,) = called
    assert command[:4] == [sys.executable, "-m", "jupyterlab", str(tmp_path / "notebooks" / "00_start.ipynb")]
    assert {f"--ServerApp.root_dir={tmp_path}", "--port=8899", "--no-browser"} <= {*command}
    assert "--no-browser" not in lab.command(tmp_path, 8888, browser=True)
    monkeypatch.setattr(lab.os, "geteuid", lambda: 1000)
    assert "--allow-root" not in lab.command(tmp_path, 8888, browser=True)


@pytest.mark.parametrize("faults", [0, 1])
def test_the_machine_is_examined_first(faults, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(doctor, "main", lambda: faults)
    monkeypatch.setattr(lab, "lab", lambda *how, **more: opened.append((*how, more)) or 0)
    done = CliRunner().invoke(app, ["lab", str(tmp_path), "--port", "9000", "--no-browser"])
    assert done.exit_code == faults
    assert opened == ([] if faults else [(tmp_path, 9000, {"browser": False})])
