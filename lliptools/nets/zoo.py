"""Trained networks that ship with the package: weights, and the command and seed that made each."""

import json
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from lliptools.errors import InvalidInput

__all__ = ["available", "load", "provenance", "save"]


def available() -> list[str]:
    """Names that load() takes."""
    return sorted(_records(_shipped()))


def provenance(name: str) -> dict[str, Any]:
    """How a shipped network was made: function and arguments, data, command, seed, versions, measured accuracies.

    Raises InvalidInput for a name that is not shipped.
    """
    records = _records(_shipped())
    if name not in records:
        raise InvalidInput(
            expected=f"one of {sorted(records)}",
            got=repr(name),
            cause="a network that does not ship with the package",
            next_step="lliptools.nets.available() lists those that do",
        )
    return records[name]


def load(name: str) -> nn.Sequential:
    """A trained network in float64, in evaluation mode. Raises InvalidInput for a name that is not shipped."""
    net = _built(provenance(name)["network"])
    weights = load_file(_shipped() / f"{name}.safetensors")
    net.to(next(iter(weights.values())).dtype).load_state_dict(weights)
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


def _shipped() -> Path:
    return Path(str(files("lliptools.nets") / "weights"))


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "provenance.json"
    return json.loads(path.read_text()) if path.exists() else {}
