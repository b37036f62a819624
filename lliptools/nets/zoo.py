"""Trained networks, shipped or of one's own: weights, and the command and seed that made each."""

import inspect
import json
import math
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from pickle import UnpicklingError
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints, overload

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lliptools.errors import InvalidInput, in_words
from lliptools.nets.onnx_files import load_onnx
from lliptools.nets.programs import load_program
from lliptools.storage import check_writable, locked, read_json, replacing, write_tensors

Net = TypeVar("Net", bound=nn.Module)
# What a provenance.json may call, and the largest whole number that it may pass.
BUILDERS = (
    *("lliptools.nets.mlp", "lliptools.nets.cnn"),
    *("lliptools.layers.lipschitz_mlp", "lliptools.layers.lipschitz_cnn", "lliptools.layers.sll_network"),
)
LARGEST = 2**14
NETWORKS = (".onnx", ".pt2")  # files of a whole network
STATES = (".safetensors", ".pth", ".pt", ".npz")  # files of the weights of one
OWN = (
    'net = lliptools.nets.load("{}", MyNet()), of your own class; '
    'lliptools.export(net, x.shape[1:], to="net.onnx") writes a file that needs no class'
)
PATIENCE = 60.0  # seconds that save waits for another process, which needs far less


def available() -> list[str]:
    """Names that load() takes."""
    return sorted(_records(_shipped()))


def provenance(name: str | Path) -> dict[str, Any]:
    """How a network was made: function and arguments, data, command, seed, versions, measured accuracies.

    * name: of a shipped network, or a .safetensors file of `lliptools train`, with provenance.json beside it.
    * Raises InvalidInput for a name that is not shipped, and for a file that has no line there.
    """
    folder, name = _place(name)
    records = _records(folder)
    if name not in records or not (folder / f"{name}.safetensors").exists():
        if Path(name).suffix.lower() in (*NETWORKS, *STATES) and folder == _shipped():
            wanted, cause = (
                "a network that ships, or a .safetensors file of `lliptools train`",
                "a file without a recipe",
            )
            step = f"lliptools bounds {name} --input x.npy --eps 0.1, at points of your own"
            raise InvalidInput(wanted, repr(name), cause, step)
        if folder == _shipped():
            near = get_close_matches(name, records, 1)
            said = f"did you mean {near[0]!r}?" if near else f"no such name, of {', '.join(available())}"
            why = said, "lliptools.nets.available() lists the names; give a file's ending"
            raise InvalidInput("the name of a network that ships, or a file", repr(name), *why)
        step = f"keep both in one folder, or {OWN.format(folder / f'{name}.safetensors')}"
        why = "weights that were moved, or made without it", step
        raise InvalidInput("a .safetensors file, its line in provenance.json", f"{name!r} of {sorted(records)}", *why)
    return records[name]


@overload
def load(name: str | Path, architecture: None = None, *, trust: bool = False) -> nn.Sequential: ...


@overload
def load(name: str | Path, architecture: Net, *, trust: bool = False) -> Net: ...


def load(name: str | Path, architecture: nn.Module | None = None, *, trust: bool = False) -> nn.Module:
    """A trained network in float64, in evaluation mode.

    * name: as of provenance; an ONNX file (`.onnx`, with the extra `onnx`); with trust=True a file of torch.export.save
      (`.pt2`); with an architecture a file of that network's state: `.safetensors`, `.pth` or `.pt` of torch.save of
      net.state_dict(), or `.npz` of arrays by name. No pickle is run: only numbers are read of these.
    * trust: a .pt2 file can run any command while torch reads it.
    * Raises InvalidInput as provenance does, for weights that do not fit, and for a provenance.json that names other
      functions than those of lliptools.nets and lliptools.layers that build networks.
    """
    with in_words("a name of available(), or the path of a file", "a network in its place", "load('digits-relu')"):
        path = Path(name)
    suffix = path.suffix.lower()
    _check_file(path, suffix)
    if architecture is None and suffix in NETWORKS:
        return load_onnx(path) if suffix == ".onnx" else load_program(path, trust=trust)
    net = architecture
    if not isinstance(net, nn.Module) and (net is not None or suffix in STATES[1:]):
        got = f"{path} with {'no network' if net is None else repr(net)[:80]}"
        raise InvalidInput("the network that these weights are of", got, "a file of numbers alone", OWN.format(path))
    if net is None:
        folder, stem = _place(name)
        net = _built(provenance(name).get("network"), folder)
        path = folder / f"{stem}.safetensors"
    try:
        weights = _weights(path)
        _check_kinds(net.state_dict(), weights)
        net.double().load_state_dict(weights)  # double first: every weight as it stands in the file
    except InvalidInput:
        raise
    except Exception as error:  # whatever a reader finds in a file that is none of its own
        why = "another kind of file, or another architecture", "pass the one that was trained"
        raise InvalidInput("a file with the weights of this architecture", f"{path}: {error}", *why) from error
    return net.double().eval()


def _check_file(path: Path, suffix: str) -> None:
    """Refuse a file that is missing, and one whose kind is not known."""
    known = suffix in NETWORKS or suffix in STATES
    if not known and (path.is_file() or path.parent != Path()):
        why = "another kind of file", 'lliptools.export(net, shape, to="net.onnx") writes one'
        endings = ", ".join((*NETWORKS, *STATES))
        raise InvalidInput(f"a file that ends in {endings}, or a shipped network", f"{path}", *why)
    if known and not path.exists():
        why = "a spelling that differs, or another folder", "give the whole path"
        raise InvalidInput(f"a file {path}", f"no such file, seen from {Path.cwd()}", *why)


def _weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names; no object is made but these."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    if path.suffix in (".pth", ".pt"):
        wanted, step = f"weights alone in {path}", 'torch.save(net.state_dict(), "weights.pth") writes them'
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            cause = "a whole network, as torch.save(net, path) writes"
            raise InvalidInput(wanted, "a pickle of other objects", cause, step) from error
        found = found.get("state_dict", found) if isinstance(found, dict) else found
        if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
            got = f"the keys {', '.join(map(str, found))}" if isinstance(found, dict) else type(found).__name__
            raise InvalidInput(wanted, got[:200], "a checkpoint that holds more than weights", step)
        return found
    return load_file(path)


def save(net: nn.Sequential, name: str, build: "partial[nn.Sequential]", record: dict[str, Any], folder: Path) -> None:
    """Write a network's weights and its line in the folder's provenance.json, both whole or not at all.

    * build: the partial call of one of BUILDERS that built the network, with arguments that JSON has.
    * Several processes may save in one folder.
    * Raises InvalidInput for a provenance.json that is none, OSError for a folder that cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    package = build.func.__module__.rsplit(".", 1)[0]
    network = {"function": f"{package}.{build.func.__name__}", "arguments": build.args, "keywords": build.keywords}
    with locked(folder / ".lock", PATIENCE):
        records = _records(folder) | {name: {"network": network, **record}}
        with replacing(folder / "provenance.json") as line, replacing(folder / f"{name}.safetensors") as file:
            write_tensors(weights, file)
            line.write_text(json.dumps(records, indent=2, sort_keys=True) + "\n")


def check_place(folder: Path) -> None:
    """Raise InvalidInput where save could not write into a folder: before there is anything to save."""
    check_writable(folder / "provenance.json")
    _records(folder)


def _built(network: Any, folder: Path) -> nn.Sequential:
    """The network that a line of provenance.json describes: no other function is called than those of BUILDERS."""
    try:
        function, arguments, keywords = network["function"], network["arguments"], network["keywords"]
        if function not in BUILDERS:
            raise ValueError(f"the function {function!r}")
        package, name = function.rsplit(".", 1)
        build = getattr(import_module(package), name)
        signature, kinds = inspect.signature(build), get_type_hints(build)
        for key, value in signature.bind(*arguments, **keywords).arguments.items():
            several = signature.parameters[key].kind is inspect.Parameter.VAR_POSITIONAL
            if not all(_fits(each, kinds[key]) for each in (value if several else (value,))):
                raise ValueError(f"{key}={value!r}")
        net = build(*(tuple(each) if isinstance(each, list) else each for each in arguments), **keywords)
    except Exception as error:  # whatever a record of another form ends in, or a builder that its numbers do not suit
        why = "a provenance.json that was edited", "pass the network that you expect: load(path, architecture=net)"
        got = f"{type(error).__name__}: {error} in {folder / 'provenance.json'}"[:1000]
        expected = f"a network of {', '.join(BUILDERS)} with arguments of their types, whole numbers to {LARGEST}"
        raise InvalidInput(expected, got, *why) from error
    assert isinstance(net, nn.Sequential)
    return net


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value of JSON is of the type that a function's signature names."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(_fits(value, part) for part in parts)
    if isinstance(value, list):
        parts = parts * len(value) if origin is Sequence else parts
        return len(parts) == len(value) and all(map(_fits, value, parts))
    if kind is float:
        return type(value) in (int, float) and -math.inf < value < math.inf
    return type(value) is kind and (kind is not int or abs(value) <= LARGEST)


def _check_kinds(state: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
    """Raise RuntimeError for numbers that do not fit the network: complex ones, or whole ones as weights."""
    for key in state.keys() & weights.keys():
        value = weights[key]
        if value.is_complex() or value.is_floating_point() != state[key].is_floating_point():
            raise RuntimeError(f"{key} of {value.dtype}")


def _place(name: str | Path) -> tuple[Path, str]:
    path = Path(name)
    return (path.parent, path.stem) if path.suffix == ".safetensors" else (_shipped(), str(name))


def _shipped() -> Path:
    return Path(str(files("lliptools.nets") / "weights"))


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    """The lines of the folder's provenance.json, none where there is no such file."""
    path = folder / "provenance.json"
    if not path.exists():
        return {}
    try:
        records = read_json(path)
        if not (isinstance(records, dict) and all(isinstance(each, dict) for each in records.values())):
            raise ValueError("not an object of objects")
    except ValueError as error:
        why = "a file that was edited, or cut short", "move it away, and use load(path, architecture=net)"
        raise InvalidInput(f"one JSON object for each network in {path}", str(error), *why) from error
    return records
