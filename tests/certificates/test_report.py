"""A saved network bounded and certified at points of a file."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import lliptools as ll
from lliptools.certificates.report import read_array, report
from lliptools.cli import app

NET, DIGITS = ll.nets.load("digits-clipped"), ll.training.digits()


def run(*arguments):
    return CliRunner().invoke(app, ["bounds", *map(str, arguments)])


@pytest.fixture
def points(tmp_path):
    np.save(tmp_path / "x.npy", DIGITS.x_test[:70].numpy())
    np.save(tmp_path / "y.npy", DIGITS.y_test[:70].numpy())
    return tmp_path / "x.npy"


def test_rows_are_what_certify_says(points, tmp_path):
    to = tmp_path / "rows.json"
    labels = tmp_path / "y.npy"
    done = run("digits-clipped", "--input", points, "--eps", 0.1, "--eps", 0.3, "--labels", labels, "--json", to)
    assert done.exit_code == 0, done.output
    rows = json.loads(to.read_text())["rows"]
    assert [(row["eps"], row["point"]) for row in rows] == [(eps, k) for eps in (0.1, 0.3) for k in range(70)]
    x, y = DIGITS.x_test[:70], DIGITS.y_test[:70]
    for name, bound in (("global", ll.global_bound), ("local", ll.local_bound)):
        for part, eps in ((rows[:70], 0.1), (rows[70:], 0.3)):
            found = ll.certify(NET, x, y, eps, bound=bound)
            assert [row["bounds"][name]["certified"] for row in part] == found.holds.tolist()
            wanted = pytest.approx(found.bound.value.tolist(), rel=1e-3)
            assert [row["bounds"][name]["lipschitz"] for row in part] == wanted
            assert f"{found.holds.sum().item()} by {name}" in done.stdout
    assert all(each["kind"] == "upper" for row in rows for each in row["bounds"].values())
    assert "… and 120 more rows" in done.stdout
    first = done.stdout.splitlines()[1].split()
    assert first[:4] == ["0.1", "0", str(y[0].item()), str(NET(x[:1]).argmax().item())]


def test_a_wrong_label_certifies_nothing_and_no_label_is_the_predicted_one(points, tmp_path):
    wrong = 14 + torch.arange(2)  # number 15 is misclassified
    np.save(points, DIGITS.x_test[wrong].numpy())
    np.save(tmp_path / "y.npy", DIGITS.y_test[wrong].numpy())
    to = tmp_path / "rows.json"
    for more, certified in ((("--labels", tmp_path / "y.npy"), [True, False]), ((), [True, True])):
        assert run("digits-clipped", "--input", points, "--eps", 1e-3, "--json", to, *more).exit_code == 0
        rows = json.loads(to.read_text())["rows"]
        assert [row["bounds"]["local"]["certified"] for row in rows] == certified


def test_a_radius_is_printed_in_full(points):
    shown = run("digits-clipped", "--input", points, "--eps", 0.12345678).stdout
    assert "0.12345678" in shown
    assert "0.123457" not in shown


@pytest.mark.slow
def test_a_console_without_these_signs(points, tmp_path):
    to = tmp_path / "new" / "rows.json"
    command = [sys.executable, "-m", "lliptools", "bounds", "digits-clipped", "--input", points, "--eps", "0.01"]
    done = subprocess.run(
        [*command, "--json", to], env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"certified (?) at eps = 0.01" in done.stdout
    assert to.exists()


@pytest.mark.parametrize("eps", [1e6, 1e300])
def test_a_huge_radius_is_json_too(points, tmp_path, eps):
    to = tmp_path / "rows.json"
    assert run("digits-relu", "--input", points, "--eps", eps, "--bound", "local", "--json", to).exit_code == 0
    rows = json.loads(to.read_text())["rows"]
    assert not any(row["bounds"]["local"]["certified"] for row in rows)


def test_a_program_and_weights_with_an_architecture(points, tmp_path):
    ll.export(NET, (64,), to=tmp_path / "net.pt2")
    weights = {name: tensor.contiguous() for name, tensor in NET.state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    one = ("--input", points, "--eps", 0.1, "--bound", "global")
    shown = run("digits-clipped", *one).stdout
    refused(run(tmp_path / "net.pt2", *one), "InvalidInput", "--trust")
    assert run(tmp_path / "net.pt2", "--trust", *one).stdout == shown
    assert run(tmp_path / "weights.safetensors", "--architecture", "digits-clipped", *one).stdout == shown


def test_each_bound_that_is_named(points):
    done = run("moons", "--input", points, "--eps", 0.1)
    assert done.exit_code == 2  # 64 features
    np.save(points, ll.training.moons().x_test[:3].numpy())
    done = run("moons", "--input", points, "--eps", 0.1, "--bound", "tightest", "--bound", "global")
    assert done.stdout.splitlines()[0].split() == ["eps", "point", "label", "predicted", "margin", "tightest", "global"]
    assert run("moons", "--input", points, "--eps", 0.1, "--bound", "sampled").exit_code == 2


def refused(done, *words):
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert all(word in done.output for word in words), done.output


def test_no_points_at_all(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 64)))
    refused(run("digits-clipped", "--input", tmp_path / "x.npy", "--eps", 0.1), "InvalidInput")


def test_what_cannot_be_read(points, tmp_path):
    one = ("--input", points, "--eps", 0.1)
    refused(run("digits-clipped", "--input", tmp_path / "none.npy", "--eps", 0.1), "InvalidInput", "numpy.save")
    np.savez(tmp_path / "archive.npz", x=np.zeros(3))
    refused(run("digits-clipped", "--input", tmp_path / "archive.npz", "--eps", 0.1), "numpy.save")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    refused(run("digits-clipped", "--input", tmp_path / "objects.npy", "--eps", 0.1), "InvalidInput")
    np.save(tmp_path / "words.npy", np.array(["a"]))
    refused(run("digits-clipped", "--input", tmp_path / "words.npy", "--eps", 0.1), "InvalidInput")
    np.save(tmp_path / "nan.npy", np.full((1, 64), np.nan))
    refused(run("digits-clipped", "--input", tmp_path / "nan.npy", "--eps", 0.1), "InvalidInput")
    np.save(tmp_path / "single.npy", np.zeros(64))
    refused(run("digits-clipped", "--input", tmp_path / "single.npy", "--eps", 0.1), "x[None]")
    refused(run("digits-clipped", "--input", points, "--eps", -1), "InvalidInput")
    refused(run("digits-clipped", *one, "--labels", points), "InvalidInput", "(70, 64)")
    refused(run("digits-clipped", "--input", points, "--eps", "inf"), "InvalidInput", "finite radius")
    for wrong in (np.zeros(100, dtype=int), np.array(3)):
        np.save(tmp_path / "labels.npy", wrong)
        refused(run("digits-clipped", *one, "--labels", tmp_path / "labels.npy"), "labels of other points")
    (tmp_path / "damaged.npy").write_bytes(points.read_bytes()[:40].replace(b"{", b"("))
    refused(run("digits-clipped", "--input", tmp_path / "damaged.npy", "--eps", 0.1), "InvalidInput")
    refused(run(tmp_path / "none.PT2", *one), "InvalidInput", "no such file")
    refused(run(tmp_path / "y.npy", *one), "InvalidInput")
    (tmp_path / "text.pt2").write_text("none")
    refused(run(tmp_path / "text.pt2", *one), "InvalidInput", "not an archive")
    refused(run("nobody", *one), "InvalidInput")
    refused(run(tmp_path / "none.safetensors", "--architecture", "digits-clipped", *one), "InvalidInput")
    save_file({"0.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    refused(run(tmp_path / "other.safetensors", "--architecture", "digits-clipped", *one), "another architecture")
    (tmp_path / "text.safetensors").write_text("none")
    refused(run(tmp_path / "text.safetensors", "--architecture", "digits-clipped", *one), "InvalidInput")
    save_file({}, tmp_path / "empty.safetensors")
    refused(run(tmp_path / "empty.safetensors", "--architecture", "digits-clipped", *one), "InvalidInput")


WHOLE = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize(
    "kind", [*WHOLE, "bool", "complex64", "complex128", "longdouble", "S3", "M8[s]", "m8[s]", "V8"]
)
def test_points_are_floats(kind, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 64), kind))
    done = run("digits-clipped", "--input", tmp_path / "x.npy", "--eps", 0.1)
    refused(done, "InvalidInput", "(2, 64)", "x = pixels / 255", "numpy.save")
    if kind in WHOLE:
        with pytest.raises(ll.InvalidInput, match="255"):
            report(NET, torch.from_numpy(np.load(tmp_path / "x.npy")), None, (0.1,), ("global",))


@pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_floats_are_read_exactly(kind, tmp_path):
    tiny = np.finfo(kind).smallest_subnormal
    given = np.array([[1 / 3, -2.0, tiny, np.finfo(kind).max]], kind)
    np.save(tmp_path / "x.npy", given)
    found = read_array(tmp_path / "x.npy", "points")
    assert found.dtype == torch.float64
    assert [found.tolist()] == [given.tolist()]
    with pytest.raises(ll.InvalidInput, match="integers"):
        read_array(tmp_path / "x.npy", "labels")


@pytest.mark.parametrize("kind", [*WHOLE, ">i8", ">u2"])
def test_labels_are_integers_that_are_kept(kind, tmp_path):
    given = np.array([0, np.iinfo(kind).max, np.iinfo(kind).min], kind)
    np.save(tmp_path / "y.npy", given)
    if given.max() > np.iinfo("int64").max:
        with pytest.raises(ll.InvalidInput, match=r"labels up to 18446744073709551615.*astype\(numpy.int64\)"):
            read_array(tmp_path / "y.npy", "labels")
    else:
        assert read_array(tmp_path / "y.npy", "labels").tolist() == given.tolist()
    np.save(tmp_path / "y.npy", np.array([7, 1], kind))
    assert read_array(tmp_path / "y.npy", "labels").tolist() == [7, 1]


@pytest.mark.parametrize("kind", ["bool", "complex64", "float64", "O"])
def test_labels_of_another_kind(kind, tmp_path):
    np.save(tmp_path / "y.npy", np.ones(2, kind), allow_pickle=True)
    with pytest.raises(ll.InvalidInput, match=r"labels as an \.npy file of integers"):
        read_array(tmp_path / "y.npy", "labels")


def test_an_array_that_unpickles_runs_nothing(tmp_path):
    made = tmp_path / "made"

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(made),)

    np.save(tmp_path / "x.npy", np.array([Harmful()], dtype=object), allow_pickle=True)
    refused(run("digits-clipped", "--input", tmp_path / "x.npy", "--eps", 0.1), "InvalidInput")
    assert not made.exists()


def test_a_result_that_cannot_be_written_is_printed(points, tmp_path, monkeypatch):
    one = ("digits-clipped", "--input", points, "--eps", 0.1, "--bound", "global")
    shown, to = run(*one).stdout, tmp_path / "rows.json"
    to.write_text("before")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = run(*one, "--json", to)
    refused(done, "OSError", "No space left on device", "a full disk")
    assert done.stdout.startswith(shown)
    assert len(json.loads(done.stdout[len(shown) :])["rows"]) == 70
    assert to.read_text() == "before"
    assert not [*tmp_path.glob("*.part")]
    assert [path.name for path in tmp_path.glob("*.parts")] == ["rows.json.parts"]
    monkeypatch.undo()
    monkeypatch.setattr(
        "lliptools.certificates.report.certify", lambda *given, **options: pytest.fail("computed again")
    )
    assert run(*one, "--json", to).stdout == shown
    assert len(json.loads(to.read_text())["rows"]) == 70
    assert not [*tmp_path.glob("*.parts")]


def test_a_certificate_that_cannot_be_written_is_printed(points, tmp_path, monkeypatch):
    np.save(points, DIGITS.x_test[:1].numpy())
    to = tmp_path / "proofs.json"
    command = ["certify", "digits-clipped", "--input", str(points), "--eps", "0.1", "--certificate", str(to)]
    assert CliRunner().invoke(app, command).exit_code == 0
    written = to.read_text()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = CliRunner().invoke(app, command)
    refused(done, "OSError", "No space left on device")
    assert done.stdout.endswith(written)
    assert to.read_text() == written


@pytest.mark.parametrize(
    ("command", "to"),
    [
        (["bounds", "digits-clipped", "--eps", "0.1"], "--json"),
        (["evaluate", "moons"], "--json"),
        (["certify", "digits-clipped", "--eps", "0.1"], "--certificate"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_the_work(command, to, points, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    given = [] if command[0] == "evaluate" else ["--input", str(points)]
    for place, said in ((tmp_path / "file" / "rows.json", "which is a file"), (tmp_path / "folder", "a folder in its")):
        done = CliRunner().invoke(app, [*command, *given, to, str(place)])
        refused(done, "InvalidInput", said)
        assert not done.stdout
