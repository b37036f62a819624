"""The parts of a table: shared over the processes that torchrun started, and kept on disk so that a killed run goes on.

A part is a whole batch at one radius, however many processes there are: every number is what a single one finds.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any
from uuid import uuid4

import torch
from torch import nn

import lliptools
from lliptools.certificates.accuracy import Over, Part, Work
from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.nets.checks import is_plain
from lliptools.storage import replacing
from lliptools.training.checkpoints import digest
from lliptools.training.distributed import Team

STDOUT = Path("-")
PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, type(None))


def settings(net: nn.Module, bounds: Iterable[str]) -> str:
    """What the parts of a run depend on besides their points, in one line: network, bounds by name, versions."""
    return f"{_content(net, {})} {[*bounds]} {lliptools.__version__} {torch.__version__}"


def _content(value: Any, seen: dict[int, tuple[int, Any]]) -> str:
    """A checksum of all that an object holds; code counts by its name. What cannot be known is never the same twice.

    seen: the objects that were met, by id, with their numbers: one that comes again is its number.
    """
    if type(value) in PLAIN:
        said = repr(value)
    elif isinstance(value, type | FunctionType):
        said = f"{value.__module__}.{value.__qualname__}"
        said += f" {uuid4()}" * (isinstance(value, FunctionType) and "<" in said)  # it may hold numbers of its maker
    elif id(value) in seen:
        said = f"{seen[id(value)][0]}"
    else:
        seen[id(value)] = len(seen), value
        said = " ".join(_content(each, seen) for each in _inside(value))
    kind = type(value)
    return hashlib.sha256(f"{kind.__module__}.{kind.__qualname__} {said}".encode()).hexdigest()


def _inside(value: Any) -> list[Any]:
    """The parts of an object, as pickle would keep them; but all of a module, and sets in order."""
    if isinstance(value, nn.Module):
        return [vars(value)]
    if type(value) is dict:
        return [*value.items()]
    if type(value) in (tuple, list, torch.Size):
        return [*value]
    try:
        if is_plain(value):
            return [digest(value)]
        if isinstance(value, set | frozenset):
            return sorted(value)
        made = value.__reduce_ex__(2)
        if isinstance(made, str):
            return [getattr(value, "__module__", None), made]
        return [*made[:3], *([*each] for each in made[3:] if each is not None)]
    except Exception:  # any that the class raises
        return [str(uuid4())]


def resumable(net: nn.Module, bounds: Iterable[str], path: Path | None) -> Over:
    """in_rounds for a table that becomes a JSON file, beside which the parts that are done are kept."""
    return partial(in_rounds, settings=settings(net, bounds), file=_parts(path) if path and path != STDOUT else None)


def finish(path: Path | None, found: dict[str, Any]) -> None:
    """Write the JSON file where one is asked for; the parts it was made of are no longer needed then."""
    if path is not None:
        write_or_print(path, json.dumps(found, indent=2, allow_nan=False) + "\n")
        if path != STDOUT:
            _parts(path).unlink(missing_ok=True)


def say(text: str, beside: Path | None) -> None:
    """Print what is for a reader: to the errors where the output is taken by what STDOUT stands for."""
    print(text, file=sys.stderr if beside == STDOUT else sys.stdout)


def write_or_print(path: Path, text: str) -> None:
    """Write a file whole; print it where that fails, since nothing that was computed may be lost, and for STDOUT."""
    if path == STDOUT:
        print(text, end="")
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            unfinished.write_text(text)
    except OSError:
        print(text, end="")
        raise


def _parts(path: Path) -> Path:
    """The file of what is done already of a JSON file."""
    return path.with_name(f"{path.name}.parts")


def in_rounds(work: Work, parts: Iterable[Part], *, settings: str, file: Path | None = None) -> list[Any]:
    """What work returns for every part, in order; the same list in every process.

    In a round every process takes one part, and the process that leads keeps what all have found. A bar counts points.
    work: called with points (batch, *sample), labels (batch,) and a radius; returns what JSON can hold.
    parts: none may change after it was drawn. settings: as of settings().
    file: where the parts that are done are kept; those that it contains are not done again.
    Raises what work raises.
    """
    from tqdm.auto import tqdm

    team, parts = Team.here(), list(parts)
    asked = f"{team.gathered(settings)[0]} {work.__module__}.{work.__qualname__}"
    keys = [f"{digest(x, y)} {radius} {x.device.type}" for x, y, radius in parts]
    keys = [hashlib.sha256(f"{asked} {key}".encode()).hexdigest() for key in keys]
    found = team.gathered(_kept(file) if file and team.leads else {})[0]
    missing = [k for k, key in enumerate(keys) if key not in found]
    points = [len(x) for x, _, _ in parts]
    done = sum(points) - sum(points[k] for k in missing)
    with tqdm(total=sum(points), initial=done, unit=" points", disable=not team.leads) as bar:
        for start in range(0, len(missing), team.size):
            own, failed = {}, None
            for k in missing[start : start + team.size][team.rank :][:1]:
                try:
                    own[k] = work(*parts[k])
                except (InvalidInput, UnsupportedLayer) as error:
                    failed = (type(error), str(error))  # their constructors take no sentence: they cannot be sent
            for one, fault in team.gathered((own, failed)):
                if fault:
                    kind, sentence = fault
                    raise kind.__new__(kind, sentence)
                for k, value in one.items():
                    found[keys[k]] = value
                    if file and team.leads:
                        _keep(file, keys[k], value)
                    bar.update(points[k])
    return [found[key] for key in keys]


def _keep(file: Path, key: str, value: Any) -> None:
    """Add a part, on a line that starts with a checksum of itself: one that was cut short or changed is none."""
    text = json.dumps([key, value], allow_nan=False).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as lines:
        lines.write(b"\n%s %s\n" % (_checksum(text), text))


def _kept(file: Path) -> dict[str, Any]:
    """The parts that a file contains, by their keys."""
    lines = (line.partition(b" ") for line in (file.read_bytes().splitlines() if file.exists() else ()))
    return dict(json.loads(text) for mark, _, text in lines if text and mark == _checksum(text))


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()
