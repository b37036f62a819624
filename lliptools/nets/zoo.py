"""Trained networks that ship with the package: float64 weights, and the command and seed that made each."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from lliptools.errors import InvalidInput
from lliptools.nets.activations import ClippedReLU
from lliptools.nets.architectures import mlp

__all__ = ["available", "load", "provenance", "save"]


def available() -> list[str]:
    """Names that load() takes."""
    return sorted(_records(_shipped()))


def provenance(name: str) -> dict[str, Any]:
    """How a shipped network was made: architecture, data, command, seed, versions, and its measured accuracies.

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
    record = provenance(name)
    net = mlp(*record["sizes"], activation=record["activation"]).double()
    net.load_state_dict(load_file(_shipped() / f"{name}.safetensors"))
    return net.eval()


def save(net: nn.Sequential, name: str, record: dict[str, Any], folder: Path) -> None:
    """Write a network's weights and its line in the folder's provenance.json."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().double().contiguous() for key, value in net.state_dict().items()}
    save_file(weights, folder / f"{name}.safetensors")
    activation = "clipped_relu" if any(isinstance(layer, ClippedReLU) for layer in net) else "relu"
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    sizes = [linear[0].in_features, *(layer.out_features for layer in linear)]
    records = _records(folder) | {name: {"sizes": sizes, "activation": activation, **record}}
    (folder / "provenance.json").write_text(json.dumps(records, indent=2, sort_keys=True) + "\n")


def _shipped() -> Path:
    return Path(str(files("lliptools.nets") / "weights"))


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "provenance.json"
    return json.loads(path.read_text()) if path.exists() else {}
