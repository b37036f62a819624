import subprocess
import sys
from importlib import metadata

import pytest

from lliptools.teach import doctor


def finding(what):
    return next(finding for finding in doctor.examine() if finding.what == what)


def test_all_is_well(capsys, monkeypatch):
    monkeypatch.delenv("LLIPTOOLS_DATA", raising=False)
    assert doctor.main() == 0
    said = capsys.readouterr().out
    assert "all is well" in said
    assert "torch" in said
    assert "device" in said
    assert "will display" in said
    assert "LLIPTOOLS_DATA is not set" in said


def test_a_missing_package(capsys, monkeypatch):
    real = metadata.version

    def version(name):
        if name == "anywidget":
            raise metadata.PackageNotFoundError(name)
        return "5.0" if name == "plotly" else real(name)

    monkeypatch.setattr(doctor, "version", version)
    assert doctor.main() == 1
    said = capsys.readouterr().out
    assert 'pip install "anywidget>=0.9"' in said
    assert "5.0, needed <8,>=6" in said
    assert "2 faults" in said


def test_widgets_that_will_not_display(monkeypatch, tmp_path):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda kind: [str(tmp_path / kind)])
    assert "@jupyter-widgets/jupyterlab-manager is missing" in finding("widgets").found
    assert 'pip install "jupyterlab_widgets"' in finding("widgets").fix
    assert "ipykernel install" in finding("kernel").fix


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["torch", "safetensors", "plotly", "sklearn"])
def test_a_machine_on_which_something_does_not_load(missing):
    """The doctor itself needs nothing of what it examines."""
    run = "runpy.run_module('lliptools.teach.doctor', run_name='__main__')"
    code = f"import sys, runpy; sys.modules['{missing}'] = None; {run}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "python" in done.stdout
    assert ("torch does not load" in done.stdout) == (missing == "torch")


def test_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LLIPTOOLS_DATA", str(tmp_path))
    assert finding("data folder").found.endswith("empty")
    (tmp_path / "mnist").mkdir()
    assert finding("data folder").found.endswith("mnist")
    monkeypatch.setenv("LLIPTOOLS_DATA", str(tmp_path / "gone"))
    assert "is not a folder" in finding("data folder").found
    assert finding("data folder").fix.startswith("mkdir -p")


@pytest.mark.slow
@pytest.mark.parametrize("command", [["-m", "lliptools.teach.doctor"], ["-m", "lliptools", "doctor"]])
def test_as_a_command(command, monkeypatch):
    monkeypatch.setenv("LLIPTOOLS_DATA", "no-such-folder")
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert "1 fault" in done.stdout
