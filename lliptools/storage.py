"""Files on disk: written whole or not at all, and changed by one process at a time."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lliptools.errors import InvalidInput


def check_writable(path: Path) -> None:
    """Raise InvalidInput where no file of that path could be written, its folders made where they are missing."""
    there = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir():
        got = "a folder in its place"
    elif not there.is_dir():
        got = f"{there}, which is a file"
    elif not os.access(there, os.W_OK):
        got = f"{there}, which may not be written to"
    else:
        return
    why = "a path that differs from the one meant, or a folder of another user", "name another path"
    raise InvalidInput(f"{path} as a file that can be written", got, *why)


@contextmanager
def locked(path: Path, wait: float) -> Iterator[None]:
    """Hold a path's advisory lock, waiting so many seconds, while the context lasts. Raises InvalidInput, OSError."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        got, expected = f"another process that holds {path}", f"{path.parent} for this process alone"
        why = "a second run in the same folder", "wait until the other run has ended, or name another folder"
        raise InvalidInput(expected, got, *why) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; its file takes the place of that at `path` when the context ends, unless that raises."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        put(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def put(unfinished: Path, place: Path) -> None:
    """Give a file its name, in one step, after its content has reached the disk."""
    with unfinished.open("rb+") as content:
        os.fsync(content.fileno())  # a name must not reach the disk before its content
    os.replace(unfinished, place)


def write_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """Write a .safetensors file; about: its metadata. Raises OSError for what cannot be written, as of a full disk."""
    try:
        save_file(tensors, path, about)
    except SafetensorError as error:  # which is none
        raise OSError(f"{path}: {error}") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ValueError for text that is none, OSError for a file that cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("lists that are nested too deeply") from error
