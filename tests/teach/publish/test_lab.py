"""lliptools lab: the course in a folder of one's own."""

import re
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

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
def test_a_file_is_no_folder(place, tmp_path, monkeypatch):
    (tmp_path / "course").write_text("")
    (tmp_path / "notebooks").write_text("")
    monkeypatch.setattr(doctor, "main", lambda: 0)
    done = CliRunner().invoke(app, ["lab", str(tmp_path / place)])
    assert done.exit_code == 2
    assert str(tmp_path) in done.stderr
    assert "a file where a folder should be. Next step: make room or name another path" in done.stderr


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "mine" / "notebooks").mkdir(parents=True)
    link = tmp_path / "mine" / "notebooks" / "00_start.ipynb"
    link.symlink_to(tmp_path / "elsewhere.ipynb")
    lab.bring(tmp_path / "mine")
    assert link.is_symlink()
    assert not (tmp_path / "elsewhere.ipynb").exists()
    assert not list((tmp_path / "mine").rglob("*.part"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_server(sent):
    """It reaches the server itself, which has the time that it needs."""
    child = (
        "import signal, sys, time\ndef end(*given): time.sleep(0.5); sys.exit(5)\n"
        f"signal.signal({int(sent)}, end); print('ready', flush=True); time.sleep(60)"
    )
    serve = f"lab.serve([sys.executable, '-c', {child!r}])"
    code = f"import sys; from lliptools.teach.publish import lab; print('checked'); {serve}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as server:
        assert [server.stdout.readline() for _ in range(2)] == [b"checked\n", b"ready\n"]
        server.send_signal(sent)
        assert server.wait(timeout=30) == 5


@pytest.mark.slow
def test_the_address_of_notebook_00_is_printed(tmp_path):
    command = lab.command(tmp_path, 8950, browser=False)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        said = next(line for line in server.stderr if "/lab/tree/" in line)
        server.terminate()
        server.stderr.read()
    assert "/lab/tree/notebooks/00_start.ipynb?token=" in said


def test_the_server_shows_the_whole_folder(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(lab, "serve", lambda command: called.append(command) or 7)
    assert lab.lab(tmp_path, 8899, browser=False) == 7
    (command,) = called
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start.ipynb" in command
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
