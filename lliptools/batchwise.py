"""The parts of a table: shared over the processes that torchrun started, and kept on disk so that a killed run goes on.

A part is a whole batch at one radius, however many processes there are: every number is what a single one finds.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lliptools
from lliptools.certificates.accuracy import Over, Part, Work
from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.storage import replacing
from lliptools.training.checkpoints import damaged, digest, held
from lliptools.training.distributed import Team

FILE = "parts.jsonl"
STDOUT = Path("-")
PLAIN = (bool, int, float, str, tuple, type(None))


def settings(net: nn.Module, bounds: Iterable[str]) -> dict[str, Any]:
    """What the parts of a run depend on besides their points: the network, the names of the bounds and the versions."""
    layers = [
        (name, type(layer).__qualname__, sorted((key, repr(v)) for key, v in vars(layer).items() if type(v) in PLAIN))
        for name, layer in net.named_modules()
    ]
    state = net.state_dict()
    content = hashlib.sha256(repr((layers, [*state])).encode()).hexdigest() + digest(*state.values())
    return {
        "network": hashlib.sha256(content.encode()).hexdigest(),
        "bounds": [*bounds],
        "versions": {"lliptools": lliptools.__version__, "torch": torch.__version__},
    }


def resumable(net: nn.Module, bounds: Iterable[str], path: Path | None) -> Over:
    """in_rounds for a table that becomes a JSON file, beside which the parts that are done are kept."""
    return partial(in_rounds, settings=settings(net, bounds), folder=_parts(path) if path and path != STDOUT else None)


def finish(path: Path | None, found: dict[str, Any]) -> None:
    """Write the JSON file where one is asked for; the parts it was made of are no longer needed then."""
    if path is not None:
        write_or_print(path, json.dumps(found, indent=2, allow_nan=False) + "\n")
        if path != STDOUT:
            remove(_parts(path))


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
    """The folder of what is done already of a JSON file."""
    return path.with_name(f"{path.name}.parts")


def in_rounds(work: Work, parts: Iterable[Part], *, settings: dict[str, Any], folder: Path | None = None) -> list[Any]:
    """What work returns for every part, in order; the same list in every process.

    In a round every process takes one part, and the process that leads keeps what all have found. A bar counts points.
    work: called with points (batch, *sample), labels (batch,) and a radius; returns what JSON can hold. settings: as of
    settings(). folder: where the parts that are done are kept; those that it contains are not done again.
    Raises InvalidInput for parts of another run, damaged ones, and a folder that is in use; and what work raises.
    """
    from tqdm.auto import tqdm

    team, parts = Team.here(), list(parts)
    identity = {
        **settings,
        "points": digest(*(x for x, _, _ in parts)),
        "labels": digest(*(y for _, y, _ in parts)),
        "radii": [radius for _, _, radius in parts],
        "device": sorted({x.device.type for x, _, _ in parts}),
    }
    with _kept(folder if team.leads else None, identity) as (done, keep):
        found: dict[int, Any] = team.gathered(done)[0]
        missing = [k for k in range(len(parts)) if k not in found]
        points = {k: len(x) for k, (x, _, _) in enumerate(parts)}
        bar = tqdm(
            total=sum(points.values()), initial=sum(points[k] for k in found), unit=" points", disable=not team.leads
        )
        with bar:
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
                        keep(k, value)
                        bar.update(points[k])
                    found |= one
    return [found[k] for k in range(len(parts))]


def remove(folder: Path) -> None:
    """Remove the parts in a folder, and the folder where nothing else is in it; not from under another process."""
    with suppress(InvalidInput), held(folder):
        (folder / FILE).unlink(missing_ok=True)


@contextmanager
def _kept(folder: Path | None, identity: dict[str, Any]) -> Iterator[tuple[dict[int, Any], Callable[[int, Any], None]]]:
    """The parts that a folder contains, and a function that adds one; the folder is this process's for so long.

    Without a folder there are none, and none is kept. Every line starts with a checksum of itself and of the first one,
    which says what the run is. The last one is left out where the process was killed in the middle of it.
    """
    if folder is None:
        yield {}, lambda part, value: None
        return
    path, head = folder / FILE, json.dumps(identity, sort_keys=True)
    with held(folder):
        try:
            with path.open("a+b") as file:
                file.seek(0)
                content = file.read()
                whole = content[: content.rfind(b"\n") + 1]
                file.truncate(len(whole))
                file.seek(len(whole))
                first, *lines = whole.splitlines() or [b""]
                _check_same(folder, _read(folder, first) if first else identity, identity)

                def keep(part: int, value: Any) -> None:
                    text = _line(head, json.dumps([part, value], allow_nan=False))
                    start = b"" if file.tell() else _line(head, head) + b"\n"
                    file.write(start + text + b"\n")
                    file.flush()

                yield dict(_read(folder, line, head) for line in lines), keep
        finally:
            if path.exists() and not path.stat().st_size:
                path.unlink()


def _line(head: str, text: str) -> bytes:
    return f"{hashlib.sha256((head + text).encode()).hexdigest()[:16]} {text}".encode()


def _read(folder: Path, line: bytes, head: str | None = None) -> Any:
    """What a line says; head: of the first one, which is that one's own text."""
    try:
        text = line.decode().partition(" ")[2]
        if line != _line(text if head is None else head, text):
            raise ValueError("a line with another checksum")
        return json.loads(text)
    except ValueError as error:
        raise damaged(folder, f"{FILE}: {error}") from error


def _check_same(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise InvalidInput where the parts in a folder are not those of this run."""
    differing = [key for key in here if there.get(key) != here[key]]
    if differing:
        raise InvalidInput(
            expected=f"the parts of this run in {folder}",
            got=f"those of a run that differs in {', '.join(differing)}",
            cause="a run that was killed and then changed, or a library that was",
            next_step=f"finish that run as it was begun, name another file, or remove {folder}",
        )
