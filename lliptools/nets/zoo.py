"""Trained networks, shipped or of one's own: weights, and the command and seed that made each."""

import json
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lliptools.errors import InvalidInput
from lliptools.nets.programs import load_program

__all__ = ["available", "load", "provenance", "save"]


def available() -> list[str]:
    """Names that load() takes."""
    return sorted(_records(_shipped()))


def provenance(name: str | Path) -> dict[str, Any]:
    """How a network was made: function and arguments, data, command, seed, versions, measured accuracies.

    name: of a shipped network, or the path of a .safetensors file that `lliptools train` wrote, provenance.json beside
    it. Raises InvalidInput for a name that is not shipped, and for a file that has no line there.
    """
    folder, name = _place(name)
    records = _records(folder)
    if folder != _shipped() and not (name in records and (folder / f"{name}.safetensors").exists()):
        raise InvalidInput(
            expected=f"{name}.safetensors and its line in provenance.json in {folder}",
            got="no such file" if name in records else f"lines for {sorted(records)}",
            cause="weights that were moved without their provenance.json",
            next_step="keep the two files that `lliptools train` writes in one folder",
        )
    if name not in records:
        raise InvalidInput(
            expected=f"one of {sorted(records)}, or a path that ends in .safetensors",
            got=repr(name),
            cause="a network that does not ship with the package",
            next_step="lliptools.nets.available() lists those that do",
        )
    return records[name]


def load(name: str | Path, architecture: nn.Sequential | None = None) -> nn.Sequential:
    """A trained network in float64, in evaluation mode.

    name, and what is raised: as of provenance. Two other files are read: one that torch.export.save wrote, .pt2, as
    read_program says; and with an architecture, any .safetensors file whose tensors are that network's state. The
    architecture takes the weights on. Raises InvalidInput for weights that do not fit it.
    """
    if architecture is None and Path(name).suffix.lower() == ".pt2":
        return load_program(name)
    net = architecture
    if net is None:
        net = _built(provenance(name)["network"])
        folder, stem = _place(name)
        name = folder / f"{stem}.safetensors"
    try:
        weights = load_file(name)
        net.to(next((tensor.dtype for tensor in weights.values()), torch.float64)).load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InvalidInput(
            expected="a .safetensors file with the weights of this architecture",
            got=f"{name}: {error}",
            cause="a path that does not exist, another kind of file, or weights of another architecture",
            next_step="name the architecture that these weights were trained in",
        ) from error
    return net.double().eval()


def save(net: nn.Sequential, name: str, build: "partial[nn.Sequential]", record: dict[str, Any], folder: Path) -> None:
    """Write a network's weights and its line in the folder's provenance.json.

    build: the partial call of a function of lliptools that built the network, with arguments that JSON has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    save_file(weights, folder / f"{name}.safetensors")
    room = build.func.__module__.rsplit(".", 1)[0]
    network = {"function": f"{room}.{build.func.__name__}", "arguments": build.args, "keywords": build.keywords}
    records = _records(folder) | {name: {"network": network, **record}}
    (folder / "provenance.json").write_text(json.dumps(records, indent=2, sort_keys=True) + "\n")


def _built(network: dict[str, Any]) -> nn.Sequential:
    room, function = network["function"].rsplit(".", 1)
    assert room.split(".")[0] == "lliptools"
    arguments = [tuple(value) if isinstance(value, list) else value for value in network["arguments"]]
    net = getattr(import_module(room), function)(*arguments, **network["keywords"])
    assert isinstance(net, nn.Sequential)
    return net


def _place(name: str | Path) -> tuple[Path, str]:
    """Folder and name of a network."""
    path = Path(name)
    return (path.parent, path.stem) if path.suffix == ".safetensors" else (_shipped(), str(name))


def _shipped() -> Path:
    return Path(str(files("lliptools.nets") / "weights"))


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "provenance.json"
    return json.loads(path.read_text()) if path.exists() else {}
