"""Files of networks that ask for anything but a network are refused, and nothing of them is run."""

import importlib
import io
import json
import math
import os
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import lliptools as ll
from lliptools.cli import app
from lliptools.nets import zoo


def described(folder, function, arguments=(), keywords=None):
    """A folder whose provenance.json makes a network "n" of this call."""
    network = {"function": function, "arguments": [*arguments], "keywords": keywords or {}}
    (folder / "provenance.json").write_text(json.dumps({"n": {"network": network, "recipe": "moons"}}))
    save_file({}, folder / "n.safetensors")
    return folder / "n.safetensors"


HARM = {
    "a function of the package that writes": ("lliptools.teach.publish.gallery.write", ["TO"]),
    "any module": ("lliptools.nets.zoo.import_module", ["harmful"]),
    "a command": ("lliptools.cli.course.gallery", ["TO", ["moons"]]),
    "the package's own saving": ("lliptools.training.checkpoints.remove", ["TO"]),
    "a module within a module": ("lliptools.nets.zoo.os.mkdir", ["TO"]),
    "the same by another module": ("lliptools.nets.zoo.os.path.os.mkdir", ["TO"]),
    "another package": ("os.mkdir", ["TO"]),
    "a name with underscores": ("lliptools.nets.__builtins__.open", ["TO", "w"]),
    "a builder at another place": ("lliptools.nets.architectures.mlp", [2, 2]),
    "a builder of no record": ("lliptools.nets.fold", [2, 3]),
    "a loader": ("lliptools.nets.load", ["moons"]),
    "a prefix": ("lliptools.nets.mlp.__call__", [2, 2]),
    "a space": (" lliptools.nets.mlp", [2, 2]),
    "no name": ("", []),
    "a number": (3, []),
    "a list": (["lliptools.nets.mlp"], [2, 2]),
}


@pytest.mark.parametrize("case", HARM)
def test_only_the_builders_of_networks_are_called(case, tmp_path, monkeypatch):
    function, arguments = HARM[case]
    made = tmp_path / "made"
    called = []
    (tmp_path / "harmful.py").write_text(f"import os; os.mkdir({str(made)!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(os, "mkdir", lambda *given, **options: called.append(given))
    monkeypatch.setattr(zoo, "import_module", lambda room: called.append(room) or importlib.import_module(room))
    path = described(tmp_path, function, [str(made) if each == "TO" else each for each in arguments])
    with pytest.raises(ll.InvalidInput, match=r"lliptools\.nets\.mlp, .*load\(path, architecture=net\)"):
        ll.nets.load(path)
    monkeypatch.undo()
    assert not made.exists()
    assert not called


CLIPPED = {"activation": "clipped_relu"}
UNFIT = {
    "too few": ("lliptools.nets.mlp", [2], {}),
    "a fraction": ("lliptools.nets.mlp", [2.0, 3], {}),
    "a truth value": ("lliptools.nets.mlp", [2, True], {}),
    "text": ("lliptools.nets.mlp", [2, "3"], {}),
    "a list": ("lliptools.nets.mlp", [[2, 3]], {}),
    "terabytes": ("lliptools.nets.mlp", [10**6, 10**6], {}),
    "a number too large for floats": (
        "lliptools.nets.mlp",
        [2, 2, 2],
        {"activation": "clipped_relu", "theta": 10**400},
    ),
    "infinite": ("lliptools.nets.mlp", [2, 2, 2], {"activation": "clipped_relu", "theta": math.inf}),
    "not a number": ("lliptools.nets.mlp", [2, 2, 2], {"activation": "clipped_relu", "theta": math.nan}),
    "another keyword": ("lliptools.nets.mlp", [2, 2], {"depth": 3}),
    "an activation that is none": ("lliptools.nets.mlp", [2, 2], {"activation": "__class__"}),
    "nothing": ("lliptools.nets.mlp", [2, 2], {"activation": None}),
    "a shape of two": ("lliptools.nets.cnn", ["2C1F", [1, 8]], {}),
    "pairs of three": ("lliptools.nets.cnn", ["2C1F", [1, 8, 8]], {"theta": [[1, 2, 3]] * 3}),
    "an object": ("lliptools.nets.cnn", ["2C1F", {"a": 1}], {}),
    "an image without pixels": ("lliptools.nets.cnn", ["2C1F", [1, 0, 0]], {}),
    "a window of width 0": (
        "lliptools.layers.lipschitz_cnn",
        ["aol", [1, 8, 8], 2],
        {"channels": 2, "convolutions": 1, "dense": 1, "pool": 0},
    ),
    "a depth without end": ("lliptools.layers.lipschitz_mlp", ["aol", 2, 2], {"depth": 10**9}),
    "no arguments": ("lliptools.layers.sll_network", [], {}),
}


@pytest.mark.filterwarnings("error")  # torch warns of layers without entries
@pytest.mark.parametrize("case", UNFIT)
def test_arguments_are_of_the_types_of_the_signature(case, tmp_path):
    with pytest.raises(ll.InvalidInput, match="arguments of their types, whole numbers to 16384"):
        ll.nets.load(described(tmp_path, *UNFIT[case]))


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "null", '"n"', '{"n": 1}', "[" * 10**5, "\xff\xfe", '{"n": {}}'])
def test_a_provenance_that_is_none(text, tmp_path):
    path = described(tmp_path, "lliptools.nets.mlp", [2, 2])
    (tmp_path / "provenance.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ll.InvalidInput, match=r"provenance\.json.*load\(path, architecture=net\)"):
        ll.nets.load(path)
    with pytest.raises(ll.InvalidInput, match=r"load\(path, architecture=net\)"):
        ll.nets.load(path)
    if text != '{"n": {}}':  # one that lines can be added to
        with pytest.raises(ll.InvalidInput, match=r"provenance\.json"):
            zoo.check_place(tmp_path)


class Harmful:
    """Whoever unpickles it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def hostile_program(path, made):
    """A file of torch.export whose example inputs are a pickle that makes a folder."""
    ll.export(ll.nets.mlp(2, 3, 2).double(), (2,), to=path)
    with ZipFile(path) as whole:
        entries = {entry: whole.read(entry) for entry in whole.namelist()}
    (inputs,) = (name for name in entries if name.endswith("sample_inputs/model.pt"))
    pickled = io.BytesIO()
    torch.save(Harmful(made), pickled)
    with ZipFile(path, "w") as whole:
        for name, content in entries.items():
            whole.writestr(name, pickled.getvalue() if name == inputs else content)


@pytest.mark.filterwarnings("default")  # torch warns of what it unpickles
def test_a_program_is_opened_where_it_is_trusted_only(tmp_path):
    made = tmp_path / "made"
    hostile_program(tmp_path / "net.pt2", made)
    (tmp_path / "NET.PT2").write_bytes((tmp_path / "net.pt2").read_bytes())
    points = tmp_path / "x.npy"
    np.save(points, np.zeros((1, 2)))
    for name in ("net.pt2", "NET.PT2"):
        with pytest.raises(ll.InvalidInput, match=r"run any command as you.*if you trust whoever made the file"):
            ll.nets.load(tmp_path / name)
        command = ["bounds", tmp_path / name, "--input", points, "--eps", "0.1"]
        done = CliRunner().invoke(app, list(map(str, command)))
        assert done.exit_code == 2
        assert "--trust" in done.stderr
        assert not made.exists()
    with pytest.raises(ll.InvalidInput):  # torch has no reader without harm: this one makes the folder
        ll.nets.load(tmp_path / "net.pt2", trust=True)
    assert made.exists()


def test_what_cannot_be_loaded_is_told_apart(tmp_path):
    with pytest.raises(ll.InvalidInput, match=r"did you mean 'digits-clipped'\?"):
        ll.nets.load("digits-clippd")
    with pytest.raises(ll.InvalidInput, match="no such file"):
        ll.nets.load(tmp_path / "net.safetensors")
    (tmp_path / "net.h5").write_bytes(b"")
    with pytest.raises(ll.InvalidInput, match=r"a file that ends in \.onnx"):
        ll.nets.load(tmp_path / "net.h5")
    for name in ("net.onnx", "own.pth"):  # as `lliptools evaluate` asks, which needs the recipe's data
        with pytest.raises(ll.InvalidInput, match=rf"Next step: lliptools bounds {name} --input"):
            ll.nets.provenance(name)


@pytest.mark.parametrize("suffix", [".pth", ".npz"])
def test_no_pickle_is_run(suffix, tmp_path):
    class Harm:
        def __reduce__(self):
            return (tmp_path / "harm").mkdir, ()

    path = tmp_path / f"net{suffix}"
    if suffix == ".npz":
        np.savez(path, weight=np.array([Harm()], dtype=object))
    else:
        torch.save({"weight": Harm()}, path)
    with pytest.raises(ll.InvalidInput):
        ll.nets.load(path, torch.nn.Sequential(torch.nn.Linear(1, 1)))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("architecture", [None, torch.nn.Linear])
def test_weights_of_an_own_class_ask_for_the_network(architecture, tmp_path):
    """The call in the next step is the one that works."""
    net, path = torch.nn.Linear(2, 3), tmp_path / "own.pth"
    torch.save(net.state_dict(), path)
    with pytest.raises(ll.InvalidInput, match=r'Next step: net = lliptools\.nets\.load\(".*own\.pth", MyNet\(\)\)'):
        ll.nets.load(path, architecture)
    assert torch.equal(ll.nets.load(path, torch.nn.Linear(2, 3)).weight, net.double().weight)


def test_a_checkpoint_and_a_whole_network_are_told_from_weights(tmp_path):
    net, path = torch.nn.Linear(2, 3), tmp_path / "own.pth"
    for saved, said in ((net, "torch.save"), ({"epoch": 3, "model": net.state_dict()}, "the keys epoch, model")):
        torch.save(saved, path)
        with pytest.raises(ll.InvalidInput, match=said) as error:
            ll.nets.load(path, net)
        assert 'torch.save(net.state_dict(), "weights.pth")' in str(error.value)
