"""Parts of a table: kept as they are done, taken up again, and done again where they are not those of this run."""

from collections import deque
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.batchwise import in_rounds, resumable, settings
from lliptools.certificates.accuracy import accuracy_by_bound

POINTS = torch.arange(14.0).view(7, 2)
PARTS = [(x, x[:, 0].long(), eps) for eps in (0.1, 1 / 3) for x in POINTS.split(3)]


def work(x, y, eps):
    return {"sum": x.sum().item() * eps, "labels": y.tolist(), "nothing": None}


WHOLE = [work(*part) for part in PARTS]


def rounds(file, parts=PARTS, made=None, stop=None, settings="a"):
    """All parts, of which made are those that were worked on; the run ends before that many."""

    def counted(*part):
        if made is not None:
            made.append(part)
        if stop is not None and len(made) > stop:
            raise KeyboardInterrupt
        return work(*part)

    return in_rounds(counted, parts, settings=settings, file=file)


def test_without_a_file_all_is_done_and_nothing_written(capsys):
    assert rounds(None) == WHOLE
    assert "14/14" in capsys.readouterr().err  # points, at each radius


def test_a_run_that_was_interrupted_goes_on(tmp_path, capsys):
    file, made = tmp_path / "new" / "rows.json.parts", []
    with pytest.raises(KeyboardInterrupt):
        rounds(file, made=made, stop=4)
    again = []
    assert rounds(file, made=again) == WHOLE
    assert "14/14" in capsys.readouterr().err
    assert [part[2] for part in again] == [1 / 3, 1 / 3]
    assert rounds(file, made=(last := [])) == WHOLE
    assert not last


def test_what_does_nothing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        rounds(tmp_path / "parts", made=[], stop=0)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("cut", [1, 2, 5, 40])
def test_a_line_that_was_cut_short_is_done_again(tmp_path, cut):
    file = tmp_path / "parts"
    rounds(file)
    content = file.read_bytes()
    file.write_bytes(content[:-cut])
    for lost in (cut > 1, 0):  # what was added behind the torn line is whole
        assert rounds(file, made=(again := [])) == WHOLE
        assert len(again) == lost


def test_the_parts_of_another_run_are_not_taken(tmp_path):
    file = tmp_path / "parts"
    rounds(file)
    moved = [(x + 1e-6, y, eps) for x, y, eps in PARTS]
    renamed = [(x, y + 1, eps) for x, y, eps in PARTS]
    wider = [(x, y, eps + 1e-12) for x, y, eps in PARTS]
    for arguments in ({"parts": moved}, {"parts": renamed}, {"parts": wider}, {"settings": "b"}):
        assert rounds(file, **arguments, made=(made := [])) == rounds(None, **arguments)
        assert len(made) == len(PARTS)
    in_rounds(lambda *part: 0, PARTS, settings="a", file=file)  # other work on the same points
    assert rounds(file, made=(made := [])) == WHOLE
    assert not made
    turned = [*reversed(PARTS), *PARTS[:2]]
    assert rounds(file, parts=turned, made=made) == [*reversed(WHOLE), *WHOLE[:2]]
    assert not made


def test_a_number_that_was_changed_is_not_taken(tmp_path):
    file = tmp_path / "parts"
    rounds(file)
    content = file.read_bytes()
    for changed, lost in (
        (content.replace(b'"labels": [0', b'"labels": [1'), 2),
        (content.replace(b"1", b"2"), len(PARTS)),
        (content.replace(b" ", b"  "), len(PARTS)),
        (b"no line\n\xff\n{}\n[1]\n" + content, 0),
        (b"", len(PARTS)),
    ):
        file.write_bytes(changed)
        assert rounds(file, made=(made := [])) == WHOLE
        assert len(made) == lost


def test_two_runs_at_once_find_the_same(tmp_path):
    file, other = tmp_path / "parts", []

    def meanwhile(*part):
        if not other:
            other.extend(rounds(file))
            file.unlink()  # it has ended
        return work(*part)

    assert in_rounds(meanwhile, PARTS, settings="a", file=file) == WHOLE == other


def test_numbers_that_json_does_not_have_are_not_kept(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        in_rounds(lambda *part: float("nan"), PARTS, settings="", file=tmp_path / "parts")


def test_the_settings_tell_networks_apart():
    def said(net, bounds=("local",)):
        return settings(net, bounds)

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


class Holds(nn.Module):
    """Multiplies by a number, which it holds in one way or another."""

    def __init__(self, held):
        super().__init__()
        self.held = held

    def get_extra_state(self):
        raise RuntimeError("no state")


class Numbers(list):
    """A list by another name."""


def buffer(by):
    layer = Holds(None)
    layer.register_buffer("by", torch.tensor(by), persistent=False)
    return layer


HELD = {
    "tensor": torch.tensor,
    "list": lambda by: [by],
    "list of another type": lambda by: Numbers([by]),
    "nested": lambda by: {"of": ([by], {by})},
    "array": np.array,
    "object": lambda by: SimpleNamespace(by=by),
    "partial call": lambda by: partial(torch.mul, other=by),
    "queue": lambda by: deque([by]),
    "function": lambda by: torch.relu if by == 1 else torch.tanh,
    "module": lambda by: [nn.Hardtanh(0, by)],
    "type": lambda by: torch.float32 if by == 1 else torch.float64,
}


@pytest.mark.parametrize("made", [buffer, *(lambda by, how=how: Holds(how(by)) for how in HELD.values())])
def test_the_settings_tell_numbers_apart_that_are_no_weights(made):
    one, again, other = (settings(nn.Sequential(made(by)), ()) for by in (1.0, 1.0, 100.0))
    assert one == again != other


def test_settings_of_what_nobody_can_look_into_are_never_the_same_twice():
    for held in (lambda z: z, (each for each in (1, 2)), torch.empty(2, device="meta")):
        net = nn.Sequential(Holds(held))
        assert settings(net, ()) != settings(net, ())


def test_a_network_that_contains_itself_has_settings():
    net = nn.Sequential(nn.Linear(1, 1))
    net[0].whole = [net]
    assert settings(net, ()) == settings(net, ())


def test_the_settings_of_classes_of_one_name_in_two_modules():
    twin = type("ReLU", (nn.ReLU,), {"__module__": "elsewhere", "__qualname__": nn.ReLU.__qualname__})
    assert settings(nn.Sequential(nn.ReLU()), ()) != settings(nn.Sequential(twin()), ())


def test_a_loader_that_fills_one_tensor_again_and_again(tmp_path):
    net = nn.Sequential(nn.Linear(1, 2, bias=False)).double()
    net[0].weight.data = torch.tensor([[1.0], [0.0]]).double()

    def loader():
        x, y = torch.empty(1, 1).double(), torch.empty(1).long()
        for value, label in ((-5.0, 0), (-5.0, 0), (-5.0, 1), (5.0, 0)):
            yield x.fill_(value), y.fill_(label)

    over = resumable(net, ["local"], tmp_path / "table.json")
    found = accuracy_by_bound(net, loader(), None, [0.1, 10.0], {"local": ll.local_bound}, over=over)["local"]
    assert found == ll.certified_accuracy(net, loader(), [0.1, 10.0])
    assert [table.certified for table in found] == [0.5, 0.0]
