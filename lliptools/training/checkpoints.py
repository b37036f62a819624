"""Where a run stands, on disk: one file of tensors, with a JSON record of the run and a checksum in its metadata.

It is put in place at once: at any moment it is whole, that of before or the new one.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.optim import Optimizer

from lliptools.errors import InvalidInput
from lliptools.storage import check_writable, locked, put, write_tensors
from lliptools.training.norms import SharedNorm

FILE, UNFINISHED, LOCK = "checkpoint.safetensors", "checkpoint.part", ".lock"
Kept = nn.Module | SharedNorm  # what a checkpoint keeps: whatever learns along the way
Drawn = torch.Generator | None  # of order and augmentation; None: torch's own


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, and remove it if it is empty then. Raises InvalidInput if it cannot be used."""
    check_writable(folder / FILE)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, wait=0):
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [LOCK]:
                shutil.rmtree(folder, ignore_errors=True)


def digest(*tensors: Tensor | None) -> str:
    """SHA-256 of the numbers of tensors, with their types and shapes, the same on every device."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(b"none" if tensor is None else f"{tensor.dtype} {[*tensor.shape]}".encode())
        if tensor is not None:
            # A single number counts as contiguous whatever its stride, which only a copy takes away.
            copy = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            total.update(copy.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def packed(kept: dict[str, Kept], optimizer: Optimizer, generator: Drawn, device: torch.device) -> dict[str, Tensor]:
    """All that the next step depends on: what is kept, the optimizer, torch's random numbers and one's own."""
    parts = {part: it.state_dict() for part, it in kept.items()}
    steps = optimizer.state_dict()["state"].items()
    parts["optimizer"] = {f"{index}.{name}": value for index, state in steps for name, value in state.items()}
    parts["random"] = {"torch": torch.get_rng_state()}
    if generator is not None:
        parts["random"]["own"] = generator.get_state()
    if device.type == "cuda":
        parts["random"]["cuda"] = torch.cuda.get_rng_state(device)
    return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


def unpack(
    tensors: dict[str, Tensor], kept: dict[str, Kept], optimizer: Optimizer, generator: Drawn, device: torch.device
) -> None:
    """Put back what packed() took, in place. A run that moved to or from a GPU draws that device's numbers afresh."""
    parts = _by_part(tensors)
    for part, it in kept.items():
        it.load_state_dict(parts.get(part, {}))
    state = {int(index): values for index, values in _by_part(parts.get("optimizer", {})).items()}
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    torch.set_rng_state(parts["random"]["torch"])
    if generator is not None:
        generator.set_state(parts["random"]["own"])
    if device.type == "cuda" and "cuda" in parts["random"]:
        torch.cuda.set_rng_state(parts["random"]["cuda"], device)


def described(value: Any) -> Any:
    """Settings as JSON has them: dataclasses and partial calls by their parts, functions and classes by their names."""
    return json.loads(json.dumps(value, default=_parts))


def _parts(value: Any) -> Any:
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    if is_dataclass(value):
        return {"type": type(value)} | {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, partial):
        return {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    return str(value) if isinstance(value, torch.dtype | torch.device | Path) else type(value)


def write(folder: Path, identity: dict[str, Any], progress: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Replace a folder's checkpoint. identity: what the run is, as read compares it; progress: how far it has come."""
    folder.mkdir(parents=True, exist_ok=True)
    # On the CPU a tensor and its neighbour can share memory, which the format refuses: copies do not.
    copies = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    record = json.dumps({**identity, **progress}, allow_nan=False)
    write_tensors(copies, folder / UNFINISHED, {"record": record, "checksum": _checksum(record, copies)})
    put(folder / UNFINISHED, folder / FILE)


def read(folder: Path, identity: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Record and tensors of a folder's checkpoint, or None. Raises InvalidInput for another run's or a damaged one."""
    if not (folder / FILE).exists():
        return None
    content = (folder / FILE).read_bytes()  # opened once: the run may put another file in its place meanwhile
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise damaged(folder, f"{FILE}: {error}") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = {"record": "", **header.get("__metadata__", {})}
    if about.get("checksum") != _checksum(about["record"], tensors):
        raise damaged(folder, f"{FILE} with another checksum")
    record = json.loads(about["record"])
    differing = list(_differences(identity, {key: record.get(key) for key in identity}))
    if differing:
        more = f" and {len(differing) - 4} more" if len(differing) > 4 else ""
        got = f"one of another: {', '.join(differing[:4])}{more}"
        cause = "a run that was interrupted and then changed, or a library that was"
        step = f"finish that run as it was begun, name another folder, or remove {folder}"
        raise InvalidInput(f"the checkpoint of this run in {folder}", got, cause, step)
    return record, tensors


def remove(folder: Path) -> None:
    """Remove the checkpoint in a folder, and the folder where nothing else is in it; not from under another process."""
    with suppress(InvalidInput), held(folder):
        for name in (FILE, UNFINISHED):
            (folder / name).unlink(missing_ok=True)


def _by_part(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Sorted by what stands before the first dot of a name."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = value
    return parts


def _checksum(record: str, tensors: dict[str, Tensor]) -> str:
    names = sorted(tensors)
    return hashlib.sha256(f"{record}{names}{digest(*map(tensors.__getitem__, names))}".encode()).hexdigest()


def _differences(here: Any, there: Any, name: str = "") -> Iterator[str]:
    """What differs, as "recipe.epochs 40 there and 20 here"."""
    if isinstance(here, dict) and isinstance(there, dict):
        kinds = [key for key in ("type", "function") if here.get(key) != there.get(key)]
        for key in kinds or sorted({*here, *there}):  # the settings of another kind of thing say nothing more
            yield from _differences(here.get(key), there.get(key), f"{name}.{key}" if name else key)
    elif here != there:
        yield f"{name} {there} there and {here} here"


def damaged(folder: Path, got: str) -> InvalidInput:
    """The error for a checkpoint from which no run can go on."""
    why = "files that were moved or edited", f"remove {folder} and begin anew"
    return InvalidInput(f"a whole checkpoint in {folder}", got, *why)
