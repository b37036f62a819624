"""Parts of a table: kept as they are done, taken up again, and refused where they are not those of this run."""

import json

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.batchwise import in_rounds, remove, settings
from lliptools.storage import locked

POINTS = torch.arange(14.0).view(7, 2)
PARTS = [(x, x[:, 0].long(), eps) for eps in (0.1, 1 / 3) for x in POINTS.split(3)]


def work(x, y, eps):
    return {"sum": x.sum().item() * eps, "labels": y.tolist(), "nothing": None}


WHOLE = [work(*part) for part in PARTS]


def rounds(folder, parts=PARTS, made=None, stop=None, **changed):
    """All parts, of which made are those that were worked on; the run ends before that many."""

    def counted(*part):
        if made is not None:
            made.append(part)
        if stop is not None and len(made) > stop:
            raise KeyboardInterrupt
        return work(*part)

    return in_rounds(counted, parts, settings={"network": "a", "bounds": ["local"]} | changed, folder=folder)


def test_without_a_folder_all_is_done_and_nothing_written(capsys):
    assert rounds(None) == WHOLE
    assert "14/14" in capsys.readouterr().err  # points, at each radius


def test_a_run_that_was_interrupted_goes_on(tmp_path):
    folder, made = tmp_path / "rows.json.parts", []
    with pytest.raises(KeyboardInterrupt):
        rounds(folder, made=made, stop=4)
    again = []
    assert rounds(folder, made=again) == WHOLE
    assert [part[2] for part in again] == [1 / 3, 1 / 3]
    assert rounds(folder, made=(last := [])) == WHOLE
    assert not last
    remove(folder)
    assert not folder.exists()


def test_what_does_nothing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        rounds(tmp_path / "parts", made=[], stop=0)
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_cut_short_is_done_again(tmp_path, cut):
    rounds(tmp_path)
    file = tmp_path / "parts.jsonl"
    content = file.read_bytes()
    for kept in (content[:-cut], content[: content.index(b"\n") + 1 - cut]):  # in the last line, and in the first
        file.write_bytes(kept)
        again = []
        assert rounds(tmp_path, made=again) == WHOLE
        assert len(again) == (1 if kept.count(b"\n") else len(PARTS))
        assert file.read_bytes() == content


def test_the_parts_of_another_run_are_refused(tmp_path):
    rounds(tmp_path)
    moved = [(x + 1e-9, y, eps) for x, y, eps in PARTS]
    renamed = [(x, y + 1, eps) for x, y, eps in PARTS]
    wider = [(x, y, eps + 0.1) for x, y, eps in PARTS]
    for arguments, said in (
        ({"parts": moved}, "differs in points"),
        ({"parts": renamed}, "differs in labels"),
        ({"parts": wider}, "differs in radii"),
        ({"parts": PARTS[:-1]}, "differs in points, labels, radii"),
        ({"network": "b"}, "differs in network"),
        ({"bounds": ["global"]}, "differs in bounds"),
    ):
        with pytest.raises(ll.InvalidInput, match=rf"{said}.*remove"):
            rounds(tmp_path, **arguments)
    assert rounds(tmp_path, made=(made := [])) == WHOLE
    assert not made


def test_a_number_that_was_changed_is_refused(tmp_path):
    rounds(tmp_path)
    file = tmp_path / "parts.jsonl"
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    for wrong in (
        content.replace(b'"labels": [0', b'"labels": [1'),
        lines[0] + b"no line\n",
        lines[0] + b"\xff\n",
        b"{}\n" + lines[1],
        b"[1]\n",
        content.replace(b'"network": "a"', b'"network": "b"'),
    ):
        assert wrong != content
        file.write_bytes(wrong)
        with pytest.raises(ll.InvalidInput, match="a whole checkpoint"):
            rounds(tmp_path)
    rounds(tmp_path / "other", network="b")
    other = (tmp_path / "other" / "parts.jsonl").read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + other[1])  # a line of another run
    with pytest.raises(ll.InvalidInput, match="another checksum"):
        rounds(tmp_path)


def test_two_runs_at_once_are_refused(tmp_path):
    with locked(tmp_path / ".lock", 0), pytest.raises(ll.InvalidInput, match="a second run"):
        rounds(tmp_path)


def test_numbers_that_json_does_not_have_are_not_kept(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        in_rounds(lambda *part: float("nan"), PARTS, settings={}, folder=tmp_path)


def test_the_settings_tell_networks_apart():
    def said(net, bounds=("local",)):
        return json.dumps(settings(net, bounds))

    def net(*layers):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 3), *layers, nn.Linear(3, 2)).double()

    first = net(nn.ReLU())
    assert said(first) == said(net(nn.ReLU()))
    others = [net(nn.LeakyReLU(0.1)), net(nn.LeakyReLU(0.2)), net(nn.Hardtanh(0, 1)), net(nn.Hardtanh(0, 2))]
    moved = net(nn.ReLU())
    with torch.no_grad():
        moved[0].bias[0] += 1e-15
    first.register_buffer("seen", torch.tensor(0))  # a number without an axis
    assert len({said(first), said(moved), said(first, ("global",)), *map(said, others)}) == 7
