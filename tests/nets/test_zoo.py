import errno
import importlib
import io
import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

import lliptools as ll
from lliptools.cli import app
from lliptools.nets import zoo

KINDS = ("standard", "global", "local", "clipped", "sparse")
FAMILIES = {"digits-0.1": 0.1, "digits-0.5": 0.5, "mnist-mlp-0.3": 0.3, "mnist-maxmin": 0.3, "mnist-small": 0.3}
IN_FAMILIES = [f"{family}-{kind}" for family in FAMILIES for kind in KINDS]
ALONE = ["digits-clipped", "digits-conv", "digits-relu", "moons", "mnist-mlp-0.3-centred"]
BY_DESIGN = [f"{kind}-digits" for kind in ("spectral", "aol", "cpl", "sll", "cayley", "bro", "sandwich")]


def test_shipped_networks():
    assert set(ll.nets.available()) == {*ALONE, *BY_DESIGN, *IN_FAMILIES}
    folder = zoo._shipped()
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 12_000_000
    assert all(path.stat().st_size < 3_000_000 for path in folder.glob("*.safetensors"))
    assert {path.stem for path in folder.glob("*.safetensors")} == set(ll.nets.available())


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("name", [*ALONE, *BY_DESIGN, *IN_FAMILIES])
def test_provenance_is_true(name):
    """The accuracies that are written beside the weights are those of the weights."""
    record, net = ll.nets.provenance(name), ll.nets.load(name)
    assert record["command"] == f"lliptools train {record['recipe']} --seed {record['seed']}"
    recipe = ll.training.recipe(name)
    assert repr(recipe.objective) == record["objective"]
    if recipe.data in (ll.training.mnist, ll.training.cifar10) and not os.environ.get("LLIPTOOLS_DATA"):
        pytest.skip("MNIST and CIFAR-10 are measured where LLIPTOOLS_DATA names a folder that has them")
    data, measured = recipe.data(), record["held_out"]
    x, y = data.x_test[: recipe.measured].to(recipe.dtype), data.y_test[: recipe.measured]
    for table, written in zip(ll.certified_accuracy(net, x, y, recipe.radii, centred=False), measured, strict=True):
        for what in ("eps", "clean", "attacked", "certified"):
            assert getattr(table, what) == pytest.approx(written[what], abs=1e-9), what
    assert all(p.dtype == torch.float64 for p in net.parameters())
    assert not net.training


def test_local_is_below_global_at_every_held_out_digit():
    net, data = ll.nets.load("digits-clipped"), ll.training.digits()
    eps = ll.training.recipe("digits-clipped").objective.eps
    local, everywhere = ll.local_bound(net, data.x_test, eps).value, ll.global_bound(net, data.x_test).value
    assert (local < everywhere).all()
    assert (local / everywhere).mean() < 0.5


def test_save_and_load(tmp_path, monkeypatch):
    build = partial(ll.nets.mlp, 3, 4, 2, activation="clipped_relu")
    net = build().double()
    zoo.save(net, "small", build, {"seed": 7}, tmp_path)
    monkeypatch.setattr(zoo, "_shipped", lambda: tmp_path)
    record = json.loads((tmp_path / "provenance.json").read_text())["small"]
    called = {"function": "lliptools.nets.mlp", "arguments": [3, 4, 2], "keywords": {"activation": "clipped_relu"}}
    assert record == {"seed": 7, "network": called}
    x = torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(zoo.load("small")(x), net(x))
    assert isinstance(zoo.load("small"), nn.Sequential)


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


@pytest.mark.parametrize("case", UNFIT)
def test_arguments_are_of_the_types_of_the_signature(case, tmp_path):
    with pytest.raises(ll.InvalidInput, match="arguments of their types, whole numbers to 16384"):
        ll.nets.load(described(tmp_path, *UNFIT[case]))


def test_every_recipe_can_be_loaded_again(tmp_path):
    """What `lliptools train` may write is what load reads: builders, and the types and sizes of their arguments."""
    seen = set()
    for recipe in ll.training.RECIPES.values():
        build = recipe.network
        room = build.func.__module__.rsplit(".", 1)[0]
        call = json.loads(json.dumps({"arguments": build.args, "keywords": build.keywords}))
        network = {"function": f"{room}.{build.func.__name__}", **call}
        if recipe.name.startswith("sll-") and recipe.name not in ("sll-digits", "sll-mnist", "sll-small"):
            continue  # hundreds of megabytes, and the same builder
        key = json.dumps(network)
        if key not in seen:
            seen.add(key)
            net = zoo._built(network, tmp_path)
            torch.manual_seed(0)
            assert net.state_dict().keys() == build().state_dict().keys()


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


def test_weights_come_as_they_stand_in_the_file(tmp_path):
    exact = torch.tensor([[1 / 3, 2 / 3]], dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 1))
    save_file({"0.bias": torch.zeros(1, dtype=torch.float16), "0.weight": exact}, tmp_path / "n.safetensors")
    assert torch.equal(ll.nets.load(tmp_path / "n.safetensors", net)[0].weight, exact)
    for kind in (torch.int64, torch.uint8, torch.bool, torch.complex64):
        weights = {"0.bias": torch.zeros(1, dtype=kind), "0.weight": torch.ones(1, 2, dtype=kind)}
        save_file(weights, tmp_path / "n.safetensors")
        with pytest.raises(ll.InvalidInput, match=f"of {kind}"):
            ll.nets.load(tmp_path / "n.safetensors", nn.Sequential(nn.Linear(2, 1)))


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


SAVED = """
import sys, time
from functools import partial
from pathlib import Path
import lliptools as ll
from lliptools.nets import zoo
folder, own = Path(sys.argv[1]), sys.argv[2]
build = partial(ll.nets.mlp, 2, 3, 2)
net = build()
(folder / own).touch()
while len([*folder.glob("process-*")]) < 3:
    time.sleep(0.001)
for k in range(12):
    zoo.save(net, f"{own}-{k}", build, {"seed": k}, folder)
"""


@pytest.mark.slow
@pytest.mark.slow
def test_processes_that_save_in_one_folder_lose_no_line(tmp_path):
    names = [f"process-{k}" for k in range(3)]
    running = [subprocess.Popen([sys.executable, "-c", SAVED, tmp_path, name]) for name in names]
    assert [each.wait(120) for each in running] == [0, 0, 0]
    records = json.loads((tmp_path / "provenance.json").read_text())
    assert records.keys() == {f"{name}-{k}" for name in names for k in range(12)}
    assert not [*tmp_path.glob("*.part")]
    assert isinstance(ll.nets.load(tmp_path / "process-0-11.safetensors"), nn.Sequential)


@pytest.mark.parametrize("place", ["write_tensors", "write_text", "fsync"])
def test_a_full_disk_leaves_what_was_there(place, tmp_path, monkeypatch):
    build = partial(ll.nets.mlp, 2, 3, 2)
    zoo.save(build(), "n", build, {"seed": 1}, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = {"write_tensors": zoo, "write_text": Path, "fsync": os}[place]
    monkeypatch.setattr(owner, place, full)
    with pytest.raises(OSError, match="No space left"):
        zoo.save(build(), "n", build, {"seed": 2}, tmp_path)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_place_that_cannot_be_written_is_said_beforehand(tmp_path, monkeypatch):
    zoo.check_place(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "weights"):
        with pytest.raises(ll.InvalidInput, match=r"a file\. .*name another path"):
            zoo.check_place(place)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(ll.InvalidInput, match="may not be written to"):
        zoo.check_place(tmp_path)


def test_1_lipschitz_networks_of_equal_budget():
    """The same layers, epochs and loss for every kind, and each beats the plain network at larger radii."""
    records = {name: ll.nets.provenance(name) for name in BY_DESIGN}
    assert len({record["objective"] for record in records.values()}) == 1
    plain = ll.nets.load("digits-relu")
    data = ll.training.digits()
    reached = ll.certified_accuracy(plain, data.x_test, data.y_test, 0.5).certified
    for name, record in records.items():
        assert [line["eps"] for line in record["held_out"]] == [0.1, 0.3, 0.5, 1.0]
        assert record["held_out"][2]["certified"] > reached + 0.1, name
        net = ll.nets.load(name)
        assert (ll.global_bound(net[:-1], data.x_test[:1]).value <= 1).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_families_differ_in_one_thing(family):
    """Certified <= attacked <= clean everywhere, and every kind but the standard one certifies far more than that."""
    records = {kind: ll.nets.provenance(f"{family}-{kind}") for kind in KINDS}
    eps = FAMILIES[family]
    reached = {}
    for kind, record in records.items():
        lines = {line["eps"]: line for line in record["held_out"]}
        assert all(line["certified"] <= line["attacked"] <= line["clean"] for line in lines.values())
        assert tuple(lines) == ll.training.recipe(f"{family}-{kind}").radii
        reached[kind] = lines[eps]["certified"]
    least = 0.25 if eps > 0.1 else 0.05  # in a small ball even what was trained without a bound is certified
    assert all(reached[kind] > reached["standard"] + least for kind in KINDS[1:])
    build = {kind: record["network"]["keywords"] for kind, record in records.items()}
    assert build["standard"] == build["global"] == build["local"]
    assert build["clipped"] == build["sparse"]
    activation, theta = build["sparse"]["activation"], build["sparse"]["theta"]
    assert activation == f"clipped_{build['local'].get('activation', 'relu')}"
    assert build["sparse"] == {**build["local"], "activation": activation, "theta": theta}


def test_what_cannot_be_loaded_is_told_apart(tmp_path):
    with pytest.raises(ll.InvalidInput, match=r"did you mean 'digits-clipped'\?"):
        ll.nets.load("digits-clippd")
    with pytest.raises(ll.InvalidInput, match="no such file"):
        ll.nets.load(tmp_path / "net.safetensors")
    (tmp_path / "net.h5").write_bytes(b"")
    with pytest.raises(ll.InvalidInput, match=r"a file that ends in \.onnx"):
        ll.nets.load(tmp_path / "net.h5")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".npz"])
def test_weights_of_torch_and_numpy(suffix, tmp_path):
    torch.manual_seed(0)
    net, other = (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)) for _ in range(2))
    path, state = tmp_path / f"net{suffix}", net.state_dict()
    if suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in state.items()})
    else:
        torch.save(state if suffix == ".pt" else {"state_dict": state, "epoch": 3}, path)
    again = ll.nets.load(path, other)
    assert not again.training
    assert all(torch.equal(value.double(), state[name].double()) for name, value in again.state_dict().items())


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
